// Of services that are made for it, not at random: twos' shares are those that the weights give, a
// load is counted as the kernel counts it, and XDP takes what it may.
#include <cmath>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "dataplane/alike/course.h"
#include "gtest/gtest.h"

namespace kube_lvs::alike {
namespace {

// A service with real servers as they are said, not at random.
class ServiceTest : public testing::TestWithParam<History>, protected Course {
 protected:
  ServiceTest() : Course(GetParam()) {}

  void Serve(bool one_packet) {
    std::cout << "seed " << seed_ << "\n";
    ServiceConfig config;
    config.scheduler = history_.scheduler;
    config.one_packet = one_packet;
    Apply([&](const ServiceKey& key) -> Step { return AddService{key, config}; });
  }
  // Goes to the head of the list. Its number.
  int Add(uint32_t weight, uint32_t upper_threshold = 0) {
    RealServer real = Real(--lowest_);
    real.weight = weight;
    real.upper_threshold = upper_threshold;
    Apply([&](const ServiceKey& key) -> Step { return AddReal{key, real}; });
    reals_.insert(reals_.begin(), real);
    return lowest_;
  }
  void Remove(int number) {
    const Endpoint at = Real(number).at;
    Apply([&](const ServiceKey& key) -> Step { return RemoveReal{key, at}; });
    std::erase_if(reals_, [&](const RealServer& real) { return real.at == at; });
  }
  void Quiesce(int number) {
    RealServer real = Real(number);
    real.weight = 0;
    Apply([&](const ServiceKey& key) -> Step { return SetReal{key, real}; });
  }
  // Active from its SYN on. It goes where all must send it.
  void OpenAt(int number) {
    event_ = "open at " + std::to_string(number);
    EXPECT_EQ(Send(NewClient()), number) << Where();
  }

  // Each side chooses for so many new connections. A share is the probability of one choice; of a
  // binomial distribution, six standard deviations are missed once in half a billion times.
  void ExpectShares(int connections, const std::map<int, double>& shares) {
    std::vector<Packet> packets;
    for (int i = 0; i < connections; ++i) packets.push_back(NewClient());
    for (Side* side : TheSides().all) {
      std::map<int, int> chosen;
      for (Packet packet : packets) {
        const int number = side->Send(packet);
        ++chosen[number];
        if (history_.protocol != Protocol::kTcp) continue;
        packet.flags = ebpf::kFin | ebpf::kAck;  // inactive
        EXPECT_EQ(side->Send(packet), number);
      }
      for (const auto& [number, count] : chosen) {
        EXPECT_TRUE(shares.contains(number)) << side->Name() << ": " << number;
        std::cout << side->Name() << ": " << count << " of " << connections << " to " << number
                  << "\n";
      }
      for (const auto& [number, share] : shares) {
        EXPECT_NEAR(chosen[number], connections * share,
                    6 * std::sqrt(connections * share * (1 - share)))
            << side->Name() << ": " << number;
      }
    }
  }
  void TearDown() override {
    Apply([&](const ServiceKey& key) -> Step { return RemoveService{key}; });
  }
};

// Packets of which each is a connection leave no counts: of two draws the first is taken.
class TwosOnePacketTest : public ServiceTest {};
TEST_P(TwosOnePacketTest, DrawsGoByWeight) {
  Serve(true);
  const int three = Add(3);
  const int quiesced = Add(2);
  const int two = Add(2);
  const int removed = Add(5);
  const int one = Add(1);
  Quiesce(quiesced);
  Remove(removed);
  // Of a draw from 0 to 6, inclusive, the first of the list has one more; which so many tell.
  ExpectShares(2400, {{one, 2 / 7.0}, {two, 2 / 7.0}, {three, 3 / 7.0}});
}

class TwosTest : public ServiceTest {};
TEST_P(TwosTest, OfTwoDrawnTheLessLoadedIsTaken) {
  Serve(false);
  OpenAt(Add(2, 1));  // which is overloaded from now on
  const int removed = Add(5);
  OpenAt(removed);
  Remove(removed);
  const int busy = Add(2);
  OpenAt(busy);
  Add(0);
  const int idle = Add(2);
  // So many inactive ones do not come to the load of one active. The busy one is taken where both
  // draws, from 0 to 4, are its own: 3 or 4.
  ExpectShares(250, {{idle, 1 - 4 / 25.0}, {busy, 4 / 25.0}});
}

TEST_P(TwosTest, NobodyIsAvailable) {
  Serve(false);
  OpenAt(Add(3, 1));
  Add(0);
  Remove(Add(2));
  OpenAt(0);
  ExpectEqualCounts();
}

// Else nothing here would tell anything of XDP.
class StageTest : public ServiceTest {};
TEST_P(StageTest, XdpTakesItselfWhatItMay) {
  Serve(false);
  for (const bool beyond : {false, true}) {
    while (IsBeyond(lowest_ - 1) != beyond) --lowest_;
    const int real = Add(1);
    Packet packet = NewClient();
    uint64_t by_tc = 0;
    for (const uint8_t flags : {ebpf::kSyn, ebpf::kAck, ebpf::kAck}) {
      event_ = "flags " + std::to_string(flags) + " to " + std::to_string(real);
      packet.flags = flags;
      const uint64_t before = TheSides().xdp.TakenByTc();
      EXPECT_EQ(Send(packet), real) << Where();
      by_tc += TheSides().xdp.TakenByTc() - before;
    }
    EXPECT_EQ(by_tc, beyond ? 3U : 0U);
    Remove(real);
  }
  event_ = "refused";
  const uint64_t before = TheSides().xdp.TakenByTc();
  EXPECT_EQ(Send(NewClient()), 0) << Where();
  EXPECT_EQ(TheSides().xdp.TakenByTc(), before);
}

class LoadTest : public ServiceTest {};
TEST_P(LoadTest, AsManyInactiveConnectionsWeighAsAnActiveOne) {
  Serve(false);
  OpenAt(Add(1));
  const int idle = Add(1);
  int inactive = 0;  // at the idle one
  for (; inactive < 300 && !HasFailure(); ++inactive) {
    event_ = "inactive " + std::to_string(inactive);
    Packet packet = NewClient();
    if (Send(packet) != idle) break;
    packet.flags = ebpf::kFin | ebpf::kAck;
    EXPECT_EQ(Send(packet), idle) << Where();
  }
  std::cout << "more than one active: " << inactive << " inactive\n";
  EXPECT_LT(inactive, 300);
}

std::vector<History> OfBothFamilies(const std::string& scheduler, Protocol protocol) {
  std::vector<History> out(2);
  for (History& history : out) {
    history.scheduler = scheduler;
    history.protocol = protocol;
  }
  out[0].family = Family::kIpv6;
  return out;
}
std::string FamilyOfTest(const testing::TestParamInfo<History>& info) {
  return FamilyOf(info.param);
}
INSTANTIATE_TEST_SUITE_P(Draws, TwosOnePacketTest,
                         testing::ValuesIn(OfBothFamilies("twos", Protocol::kUdp)), FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Draws, TwosTest,
                         testing::ValuesIn(OfBothFamilies("twos", Protocol::kTcp)), FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Rr, StageTest, testing::ValuesIn(OfBothFamilies("rr", Protocol::kTcp)),
                         FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Lc, LoadTest, testing::ValuesIn(OfBothFamilies("lc", Protocol::kTcp)),
                         FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Wlc, LoadTest, testing::ValuesIn(OfBothFamilies("wlc", Protocol::kTcp)),
                         FamilyOfTest);

}  // namespace
}  // namespace kube_lvs::alike
