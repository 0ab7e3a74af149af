// Whole passes: they arrive, stop, and leave alone what they must.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "dataplane/plan/text.h"
#include "node-agent/loop/agent_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(AgentTest, OnePassProgramsAndTheNextHasNothingToDo) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  PassReport report = agent_->Pass();
  EXPECT_TRUE(report.in_sync);
  EXPECT_EQ(ToText(Node()),
            "eBPF 192.0.2.200:80/tcp wrr\n"
            "  10.0.0.1:80 NAT weight 1\n"
            "  10.0.0.2:80 NAT weight 1\n"
            "local link mtu 1500\n"
            "programs on eth0\n"
            "programs on kube-lvs1\n"
            "answered vip eBPF 192.0.2.200 on eth0\n"
            "local vip 192.0.2.200 from 192.0.2.1\n");
  EXPECT_EQ(*report.answers, std::set<Cidr>{Cidr::Host(Ip("192.0.2.200"))});
  report = agent_->Pass();
  EXPECT_TRUE(report.results.empty());
  EXPECT_EQ(report.drift_repaired, 0u);
}

TEST_F(AgentTest, ARestartChangesNothing) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  agent_->Pass();
  const size_t before = Steps();
  Restart();
  const PassReport report = agent_->Pass();
  EXPECT_TRUE(report.in_sync);
  EXPECT_EQ(Steps(), before);
  EXPECT_EQ(peers_->adopted, std::set<IpAddress>{Ip("192.0.2.200")});
}

TEST_F(AgentTest, AWantedChangeIsNoDrift) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  agent_->Pass();
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(agent_->Pass().drift_repaired, 0u);
}

TEST_F(AgentTest, ARemovedServiceGoesWithAllThatItNeeded) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  agent_->Pass();
  source_.objects.clear();
  agent_->Pass();
  EXPECT_EQ(Node(), State{});
}

TEST_F(AgentTest, AnIncompleteSourceRemovesNothing) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  agent_->Pass();
  const State before = Node();
  source_.objects.clear();
  source_.complete = false;
  Restart();
  const PassReport report = agent_->Pass();
  EXPECT_EQ(Node(), before);
  EXPECT_FALSE(report.in_sync);
}

TEST_F(AgentTest, UnreadableFactsChangeNothing) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  agent_->Pass();
  const State before = Node();
  facts_.status = absl::UnavailableError("netlink is full");
  agent_->Pass();
  EXPECT_EQ(Node(), before);
  Restart();
  agent_->Pass();
  EXPECT_EQ(Node(), before);
}

TEST_F(AgentTest, OnceAllIsThereBackendsForgetOtherKeys) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ebpf_.SetFault([](const std::string& call) {
    return call.starts_with("add") ? absl::UnavailableError("busy") : absl::OkStatus();
  });
  agent_->Pass();
  EXPECT_TRUE(ebpf_.kept().empty());
  ebpf_.SetFault(nullptr);
  clock_.Advance(std::chrono::seconds(1));
  agent_->Pass();
  EXPECT_EQ(ebpf_.kept(), std::set<ServiceKey>{Key("192.0.2.200")});
}

TEST_F(AgentTest, AFailingServiceIsLeftAloneLongerAndLongerTheOthersGoOn) {
  source_.Put(Service("bad", "192.0.2.200", {"10.0.0.1"}));
  source_.Put(Service("good", "192.0.2.201", {"10.0.0.1"}));
  int calls = 0;
  ebpf_.SetFault([&calls](const std::string& call) -> absl::Status {
    if (call.find("192.0.2.200:80") == std::string::npos) return absl::OkStatus();
    ++calls;
    return absl::FailedPreconditionError("no room; make some");
  });
  PassReport report = agent_->Pass();
  EXPECT_FALSE(report.in_sync);
  EXPECT_EQ(ebpf_.state().services.size(), 1u);
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].name, "bad");
  EXPECT_EQ(report.service_problems[0].reason, "PrerequisiteMissing");
  // A VIP without a service is not answered for.
  EXPECT_EQ(*report.answers, std::set<Cidr>{Cidr::Host(Ip("192.0.2.201"))});
  EXPECT_EQ(calls, 1);
  report = agent_->Pass();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(agent_->NextPass(), clock_.Now() + std::chrono::milliseconds(200));
  EXPECT_EQ(report.service_problems.size(), 1u);
  clock_.Advance(std::chrono::milliseconds(200));
  agent_->Pass();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(agent_->NextPass(), clock_.Now() + std::chrono::milliseconds(400));
  ebpf_.SetFault(nullptr);
  clock_.Advance(std::chrono::milliseconds(400));
  report = agent_->Pass();
  EXPECT_TRUE(report.in_sync);
  EXPECT_EQ(ebpf_.state().services.size(), 2u);
}

TEST_F(AgentTest, AMissingDataplaneIsAProblemOfItsServicesOnly) {
  api::LvsService by_ipvs = Service("old", "192.0.2.200", {"10.0.0.1"});
  by_ipvs.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(by_ipvs);
  source_.Put(Service("new", "192.0.2.201", {"10.0.0.1"}));
  ipvs_.SetFault([](const std::string&) {
    return absl::FailedPreconditionError("the kernel has no ip_vs; load the module");
  });
  const PassReport report = agent_->Pass();
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].name, "old");
  EXPECT_EQ(report.service_problems[0].reason, "PrerequisiteMissing");
  EXPECT_EQ(ebpf_.state().services.size(), 1u);
  EXPECT_EQ(report.readable, (std::vector<std::string>{"eBPF", "host"}));
}

TEST_F(AgentTest, AServiceLeavesOneDataplaneOnlyWhenTheOtherHasIt) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  agent_->Pass();
  api::LvsService moved = Service("web", "192.0.2.200", {"10.0.0.1"});
  moved.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(moved);
  ipvs_.SetFault([](const std::string& call) {
    return call == "read" ? absl::OkStatus() : absl::UnavailableError("busy");
  });
  for (int i = 0; i < 5; ++i) {
    agent_->Pass();
    EXPECT_TRUE(ebpf_.state().services.contains(Key("192.0.2.200")));
    clock_.Advance(std::chrono::milliseconds(150));
  }
  ipvs_.SetFault(nullptr);
  clock_.Advance(std::chrono::seconds(31));
  agent_->Pass();
  EXPECT_TRUE(ebpf_.state().services.empty());
  EXPECT_EQ(ipvs_.state().services.size(), 1u);
}

TEST_F(AgentTest, SettingsOfAllOfIpvsAreOursOnlyWhileNobodyElseHasServicesThere) {
  api::LvsService service = Service("web", "192.0.2.200", {"10.0.0.1"});
  service.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(service);
  SharedIpvs shared;
  agent_->SetSharedIpvs([&shared] { return shared; });
  const Sysctl setting{kExpireNodestConn, "1"};
  EXPECT_FALSE(agent_->Pass().node_problems.contains("SharedIpvs"));
  EXPECT_TRUE(Node().items.contains(setting));
  shared.other_services = 2;
  EXPECT_TRUE(agent_->Pass().node_problems.contains("SharedIpvs"));
  EXPECT_FALSE(Node().items.contains(setting));
}

TEST_F(AgentTest, AKeyOfAnotherOwnerIsAConflictAndStaysAsItIs) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ebpf_.others().insert(Key("192.0.2.200"));
  const PassReport report = agent_->Pass();
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].reason, "Conflict");
  EXPECT_TRUE(ebpf_.state().services.empty());
}

}  // namespace
}  // namespace kube_lvs
