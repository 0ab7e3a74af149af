// Drift, and how often and how closely the agent looks for it.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "node-agent/loop/agent_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(AgentTest, DriftIsRepairedAndCounted) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  agent_->Pass();
  const State good = Node();
  ebpf_.state().services.begin()->second.reals.pop_back();
  ebpf_.state().services.begin()->second.config.scheduler = "rr";
  const PassReport report = agent_->Pass();
  EXPECT_EQ(report.drift_repaired, 2u);
  EXPECT_EQ(Node(), good);
}

TEST_F(AgentTest, ALookPutsRightWhatDriftedAndReadsNothingElse) {
  ipvs_.has_cheap_look = true;
  for (const char* vip : {"192.0.2.200", "192.0.2.201"}) {
    api::LvsService service = Service(vip, vip, {"10.0.0.1", "10.0.0.2"});
    service.spec.dataplane = api::DataplaneChoice::kIpvs;
    source_.Put(service);
  }
  agent_->Pass();
  const State good = Node();
  PassReport report;
  agent_->AddObserver([&report](const PassReport& seen) { report = seen; });
  std::vector<std::string> calls;
  ipvs_.SetFault([&calls](const std::string& call) {
    calls.push_back(call);
    return absl::OkStatus();
  });
  EXPECT_TRUE(agent_->Look());
  EXPECT_EQ(calls, std::vector<std::string>{"look"});
  EXPECT_TRUE(report.in_sync);

  calls.clear();
  ipvs_.state().services.begin()->second.reals.pop_back();
  ipvs_.state().services.begin()->second.config.scheduler = "rr";
  clock_.Advance(std::chrono::seconds(30));
  EXPECT_TRUE(agent_->Look());
  EXPECT_EQ(Node(), good);
  EXPECT_EQ(report.drift_repaired, 2u);
  EXPECT_EQ(std::ranges::count(calls, "read"), 0);
  EXPECT_EQ(std::ranges::count(calls, "read services"), 2);
  EXPECT_EQ(agent_->NextLook(), clock_.Now() + std::chrono::seconds(30));
}

TEST_F(AgentTest, ALookLeavesToAPassWhatItCannotMend) {
  ipvs_.has_cheap_look = true;
  api::LvsService service = Service("web", "192.0.2.200", {"10.0.0.1"});
  service.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(service);
  source_.Put(Service("mail", "192.0.2.201", {"10.0.0.1"}));
  EXPECT_FALSE(agent_->Look());  // nothing is known yet
  agent_->Pass();
  const State good = Node();
  EXPECT_TRUE(agent_->Look());
  const auto needs_pass = [&](const std::string& what) {
    const size_t before = Steps();
    EXPECT_FALSE(agent_->Look()) << what;
    EXPECT_EQ(Steps(), before) << what;
    agent_->Pass();
    EXPECT_EQ(Node(), good) << what;
    EXPECT_TRUE(agent_->Look()) << what;
  };
  host_.state().items.clear();
  needs_pass("an item is gone");
  ebpf_.state().services.begin()->second.reals.clear();
  needs_pass("a backend without a cheap look has other rules");
  ipvs_.state().services[Key("192.0.2.99", Dataplane::kIpvs)] = {};
  needs_pass("a service of ours that nobody desires");
  facts_.facts.interfaces["eth9"].name = "eth9";
  needs_pass("the node is another");
  ipvs_.SetFault([](const std::string& call) {
    return call == "look" ? absl::UnavailableError("busy") : absl::OkStatus();
  });
  EXPECT_FALSE(agent_->Look());
  ipvs_.SetFault(nullptr);
  ebpf_.SetFault([](const std::string&) { return absl::UnavailableError("busy"); });
  EXPECT_FALSE(agent_->Look());
}

TEST_F(AgentTest, PassesThatTakeLongGiveWayToLooks) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  Duration takes = std::chrono::milliseconds(1);
  host_.SetFault([&](const std::string& call) {
    if (call == "read") clock_.Advance(takes);
    return absl::OkStatus();
  });
  agent_->Pass();
  TimePoint begin = clock_.Now();
  agent_->Pass();
  EXPECT_EQ(agent_->NextPass(), begin + std::chrono::seconds(30));
  takes = std::chrono::milliseconds(100);
  agent_->Pass();
  begin = clock_.Now();
  agent_->Pass();
  EXPECT_EQ(agent_->NextPass(), begin + std::chrono::seconds(100));
  EXPECT_EQ(agent_->NextLook(), begin + std::chrono::seconds(30));
  takes = std::chrono::seconds(5);
  agent_->Pass();
  begin = clock_.Now();
  agent_->Pass();
  EXPECT_EQ(agent_->NextPass(), begin + std::chrono::minutes(10));
}

}  // namespace
}  // namespace kube_lvs
