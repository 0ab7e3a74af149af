#include "node-agent/nic_watch.h"

#include <gtest/gtest.h>

#include <map>

namespace kube_lvs {
namespace {

using Advice = std::vector<api::NodeAdvice>;

class NicWatchTest : public testing::Test {
 protected:
  NicWatchTest() {
    for (const char* name : {"eth0", "eth1"}) {
      facts_.interfaces[name].up = true;
      cards_[name] = {.interface = name, .driver = "i40e", .queues = 4, .most_queues = 8};
    }
    InterfaceFacts& bond = facts_.interfaces["bond0"];
    bond.up = true;
    bond.kind = "bond";
    bond.below = {"eth1"};
  }

  Advice AdviceFor(const std::set<std::string>& interfaces, uint32_t cpus = 4) {
    return watch_.AdviceFor(facts_, interfaces, cpus);
  }

  static api::NodeAdvice Queues(const std::string& name, const std::string& queues,
                                const std::string& cpus) {
    return {name, queues + " queues for " + cpus + " CPUs: the other CPUs take no packets",
            "ethtool -L " + name + " combined " + cpus};
  }

  NodeFacts facts_;
  std::map<std::string, NicFacts> cards_;
  int reads_ = 0;
  FakeClock clock_;
  NicWatch watch_{[this](const std::string& name) -> absl::StatusOr<NicFacts> {
                    ++reads_;
                    if (!cards_.contains(name)) return absl::NotFoundError(name);
                    return cards_[name];
                  },
                  clock_};
};

TEST_F(NicWatchTest, OnlyCardsThatServeVipsAreLookedAt) {
  cards_["eth0"].queues = 2;
  cards_["eth1"].queues = 2;
  EXPECT_EQ(AdviceFor({}), Advice{});
  EXPECT_EQ(reads_, 0);
  EXPECT_EQ(AdviceFor({"eth0"}), Advice{Queues("eth0", "2", "4")});
  EXPECT_EQ(AdviceFor({"bond0"}), Advice{Queues("eth1", "2", "4")});
  EXPECT_EQ(AdviceFor({"bond0", "eth0"}),
            (Advice{Queues("eth0", "2", "4"), Queues("eth1", "2", "4")}));
}

TEST_F(NicWatchTest, CardsAreReadOnceAMinute) {
  EXPECT_EQ(AdviceFor({"eth0"}), Advice{});
  cards_["eth0"].queues = 2;
  clock_.Advance(std::chrono::seconds(59));
  EXPECT_EQ(AdviceFor({"eth0"}), Advice{});
  EXPECT_EQ(reads_, 1);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(AdviceFor({"eth0"}), Advice{Queues("eth0", "2", "4")});
  EXPECT_EQ(reads_, 2);
}

TEST_F(NicWatchTest, OtherCpusAreANewQuestion) {
  EXPECT_EQ(AdviceFor({"eth0"}), Advice{});
  EXPECT_EQ(AdviceFor({"eth0"}, 8), Advice{Queues("eth0", "4", "8")});
}

TEST_F(NicWatchTest, ACardThatTellsNothingGetsNone) {
  cards_["eth1"].queues = 2;
  cards_.erase("eth0");
  EXPECT_EQ(AdviceFor({"bond0", "eth0"}), Advice{Queues("eth1", "2", "4")});
}

}  // namespace
}  // namespace kube_lvs
