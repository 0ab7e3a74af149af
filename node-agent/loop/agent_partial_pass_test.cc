// Changes of single services: the others are not looked at.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>

#include "node-agent/loop/agent_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(AgentTest, AChangeOfOneServiceIsProgrammedWithoutALookAtTheOthers) {
  for (int i = 0; i < 20; ++i) {
    source_.Put(Service("web" + std::to_string(i), "192.0.2." + std::to_string(200 + i),
                        {"10.0.0.1", "10.0.0.2"}));
  }
  ASSERT_TRUE(agent_->Pass().in_sync);
  size_t whole_readings = 0;
  ebpf_.SetFault([&](const std::string& call) {
    if (call == "read") ++whole_readings;
    return absl::OkStatus();
  });
  ebpf_.ForgetApplied();
  source_.Put(Service("web7", "192.0.2.207", {"10.0.0.1", "10.0.0.2"}, 5));
  const auto report = agent_->TouchedPass();
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->in_sync);
  EXPECT_EQ(report->drift_repaired, 0u);
  EXPECT_EQ(whole_readings, 0u);
  ASSERT_EQ(ebpf_.applied().size(), 2u);
  for (const Step& step : ebpf_.applied()) EXPECT_EQ(*KeyOf(step), Key("192.0.2.207"));
  EXPECT_EQ(report->origins->size(), 20u);
  ebpf_.ForgetApplied();
  EXPECT_TRUE(agent_->TouchedPass().has_value());
  EXPECT_TRUE(agent_->Pass().in_sync);
  EXPECT_EQ(ebpf_.applied().size(), 0u);
}

TEST_F(AgentTest, AChangeOfWhichServicesThereAreIsLookedAtAsAWhole) {
  EXPECT_FALSE(agent_->TouchedPass().has_value());
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ASSERT_TRUE(agent_->Pass().in_sync);
  ebpf_.ForgetApplied();
  source_.Put(Service("dns", "192.0.2.201", {"10.0.0.1"}));
  EXPECT_FALSE(agent_->TouchedPass().has_value());
  EXPECT_EQ(ebpf_.applied().size(), 0u);
  // Nor while something is not as it should be.
  ebpf_.SetFault([](const std::string& call) {
    return call.find("192.0.2.201") == std::string::npos ? absl::OkStatus()
                                                         : absl::InternalError("no");
  });
  EXPECT_FALSE(agent_->Pass().in_sync);
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}, 3));
  EXPECT_FALSE(agent_->TouchedPass().has_value());
}

TEST_F(AgentTest, AFailedChangeOfOneServiceIsFollowedByALookAtEverything) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ASSERT_TRUE(agent_->Pass().in_sync);
  clock_.Advance(std::chrono::seconds(1));
  ebpf_.SetFault([](const std::string& call) {
    return call.find("set ") == std::string::npos ? absl::OkStatus() : absl::InternalError("no");
  });
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}, 3));
  const auto report = agent_->TouchedPass();
  ASSERT_TRUE(report.has_value());
  EXPECT_FALSE(report->in_sync);
  EXPECT_LE(agent_->NextPass(), clock_.Now());
  EXPECT_FALSE(agent_->TouchedPass().has_value());
}

TEST_F(AgentTest, ARealServerThatLeavesIsDrainedWithoutALookAtTheOthers) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  agent_->Pass();
  ASSERT_TRUE(agent_->Pass().in_sync);
  const std::pair<ServiceKey, Endpoint> leaving{Key("192.0.2.200"), {Ip("10.0.0.2"), 80}};
  ebpf_.stats().reals[leaving].active_connections = 2;
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ASSERT_TRUE(agent_->TouchedPass().has_value());
  EXPECT_EQ(Node().services.at(leaving.first).reals.at(1).weight, 0u);
  EXPECT_EQ(agent_->NextPass(), clock_.Now() + std::chrono::seconds(1));
  clock_.Advance(std::chrono::seconds(1));
  ebpf_.stats().reals.clear();
  ASSERT_TRUE(agent_->TouchedPass().has_value());
  EXPECT_EQ(Node().services.at(leaving.first).reals.size(), 1u);
  EXPECT_GT(agent_->NextPass(), clock_.Now() + std::chrono::seconds(1));
}

}  // namespace
}  // namespace kube_lvs
