// Real servers: set up before they are used, drained before they go.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "node-agent/loop/agent_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(AgentTest, ALeavingRealServerWithConnectionsIsDrained) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  agent_->Pass();
  const std::pair<ServiceKey, Endpoint> leaving{Key("192.0.2.200"), {Ip("10.0.0.2"), 80}};
  ebpf_.stats().reals[leaving].active_connections = 3;
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  agent_->Pass();
  const std::vector<RealServer>& reals = ebpf_.state().services.begin()->second.reals;
  ASSERT_EQ(reals.size(), 2u);
  EXPECT_EQ(reals[1].weight, 0u);
  EXPECT_LE(agent_->NextPass(), clock_.Now() + std::chrono::seconds(1));
  clock_.Advance(std::chrono::seconds(61));
  agent_->Pass();
  EXPECT_EQ(ebpf_.state().services.begin()->second.reals.size(), 1u);
}

TEST_F(AgentTest, TheInterfaceOfADrainingRealServerKeepsItsPrograms) {
  InterfaceFacts inner;
  inner.name = "eth1";
  inner.mtu = 1500;
  inner.addresses = {{Ip("10.0.1.1"), 24}};
  facts_.facts.interfaces["eth1"] = inner;
  facts_.facts.routes.push_back({*Cidr::Parse("10.0.1.0/24"), 0, "eth1", std::nullopt});
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.1.2"}));
  agent_->Pass();
  ASSERT_TRUE(Node().items.contains(Attachment{"eth1"}));
  const std::pair<ServiceKey, Endpoint> leaving{Key("192.0.2.200"), {Ip("10.0.1.2"), 80}};
  ebpf_.stats().reals[leaving].active_connections = 1;
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  agent_->Pass();
  EXPECT_TRUE(Node().items.contains(Attachment{"eth1"}));
  ebpf_.stats().reals.clear();
  agent_->Pass();
  EXPECT_FALSE(Node().items.contains(Attachment{"eth1"}));
}

TEST_F(AgentTest, AVipIsSilentBeforeItIsThere) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.1"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  source_.Put(Group({{"other", "192.0.2.9"}}));
  host_.SetFault([](const std::string& call) {
    return call.find("arp_ignore") == std::string::npos ? absl::OkStatus()
                                                        : absl::PermissionDeniedError("read-only");
  });
  for (int i = 0; i < 3; ++i) {
    agent_->Pass();
    EXPECT_FALSE(host_.state().items.contains(SilentVip{Ip("192.0.2.200")}));
    clock_.Advance(std::chrono::milliseconds(100));
  }
  host_.SetFault(nullptr);
  clock_.Advance(std::chrono::seconds(31));
  agent_->Pass();
  EXPECT_TRUE(host_.state().items.contains(SilentVip{Ip("192.0.2.200")}));
}

TEST_F(AgentTest, ARealServerThatLeavesKeepsItsVipWhileDirectorsDrainIt) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.1", "192.0.2.9"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  source_.Put(Group({{"other", "192.0.2.8"}}));
  agent_->Pass();
  const State before = Node();
  ASSERT_TRUE(before.items.contains(SilentVip{Ip("192.0.2.200")}));
  service.spec.backends[0].static_reals.erase(service.spec.backends[0].static_reals.begin());
  source_.Put(service);
  agent_->Pass();
  EXPECT_EQ(Node(), before);
  clock_.Advance(std::chrono::seconds(60));
  agent_->Pass();
  EXPECT_EQ(Node(), State{});
  // A service that is deleted goes at once.
  service.spec.backends[0].static_reals[0].address = "192.0.2.1";
  source_.Put(service);
  agent_->Pass();
  ASSERT_EQ(Node(), before);
  source_.objects.erase(IdOf(service));
  agent_->Pass();
  EXPECT_EQ(Node(), State{});
}

using Ips = std::vector<std::string>;

TEST_F(AgentTest, ANewRealServerGetsNoRequestsBeforeItsAgentSaysThatItIsReady) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.11", "192.0.2.12"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  Answer("192.0.2.11", {true, ""});
  Answer("192.0.2.12", {false, "/proc/sys is read-only"});
  PassReport report = agent_->Pass();
  EXPECT_EQ(RealServers(), Ips{"192.0.2.11"});
  EXPECT_EQ(setup_peers_.asked,
            (std::set<SetupQuestion>{About("192.0.2.11"), About("192.0.2.12")}));
  EXPECT_EQ(setup_peers_.asker, Ip("192.0.2.1"));
  report = agent_->Pass();
  // For a moment that is no problem; nor is it in sync.
  EXPECT_FALSE(report.in_sync);
  EXPECT_TRUE(report.held_back_lately);
  EXPECT_TRUE(report.service_problems.empty());
  EXPECT_EQ(agent_->NextPass(), clock_.Now() + std::chrono::seconds(1));
  clock_.Advance(std::chrono::seconds(1));
  Answer("192.0.2.12", {false, "/proc/sys is read-only"});
  report = agent_->Pass();
  EXPECT_EQ(RealServers(), Ips{"192.0.2.11"});
  EXPECT_EQ(setup_peers_.asked, std::set<SetupQuestion>{About("192.0.2.12")});
  EXPECT_FALSE(report.held_back_lately);
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].reason, kRealServerNotReady);
  EXPECT_EQ(report.service_problems[0].message,
            "192.0.2.12 gets no requests yet: not set up for 192.0.2.200 by DirectRouting: "
            "/proc/sys is read-only");
  Answer("192.0.2.12", {true, ""});
  report = agent_->Pass();
  EXPECT_EQ(RealServers(), (Ips{"192.0.2.11", "192.0.2.12"}));
  EXPECT_TRUE(report.in_sync);
  EXPECT_TRUE(report.service_problems.empty());
}

TEST_F(AgentTest, ARestartedDirectorDoesNotMindSilentRealServers) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.11", "192.0.2.12"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  Answer("192.0.2.11", {true, ""});
  Answer("192.0.2.12", {true, ""});
  agent_->Pass();
  ASSERT_EQ(RealServers(), (Ips{"192.0.2.11", "192.0.2.12"}));
  const size_t before = Steps();
  setup_peers_.heard = {};
  Restart();
  for (int i = 0; i < 3; ++i) {
    const PassReport report = agent_->Pass();
    EXPECT_TRUE(report.in_sync);
    EXPECT_TRUE(setup_peers_.asked.empty());
    clock_.Advance(std::chrono::seconds(30));
  }
  EXPECT_EQ(Steps(), before);
}

TEST_F(AgentTest, AnUnknownRealServerThatIsSilentIsUsedAfterASecondAndANodeIsNot) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.11", "192.0.2.12"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  api::KubeNode node;
  node.meta.name = "r2";
  node.internal_addresses = {"192.0.2.12"};
  source_.nodes["r2"] = std::make_shared<const api::KubeNode>(node);
  agent_->Pass();
  EXPECT_EQ(RealServers(), Ips{});
  for (int i = 0; i < 40; ++i) {
    clock_.Advance(std::chrono::seconds(1));
    const PassReport report = agent_->Pass();
    EXPECT_EQ(RealServers(), Ips{"192.0.2.11"});
    ASSERT_EQ(report.service_problems.size(), 1u);
    EXPECT_NE(report.service_problems[0].message.find("UDP port 8849"), std::string::npos);
  }
}

TEST_F(AgentTest, ADirectorThatIsARealServerIsUsedOnceItsOwnSetUpIsThere) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.2"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  facts_.facts.interfaces["eth0"].addresses.push_back({Ip("192.0.2.2"), 24});
  host_.SetFault([](const std::string& call) {
    return call.find("arp_ignore") == std::string::npos ? absl::OkStatus()
                                                        : absl::PermissionDeniedError("read-only");
  });
  agent_->Pass();
  EXPECT_EQ(RealServers(), Ips{});
  EXPECT_TRUE(setup_peers_.asked.empty());
  const SetupState own = setup_peers_.published.at(About("192.0.2.2").setup).state;
  EXPECT_FALSE(own.ready);
  EXPECT_NE(own.why_not.find("read-only"), std::string::npos);
  host_.SetFault(nullptr);
  clock_.Advance(std::chrono::seconds(31));
  agent_->Pass();
  EXPECT_TRUE(setup_peers_.published.at(About("192.0.2.2").setup).state.ready);
  EXPECT_EQ(agent_->NextPass(), clock_.Now());
  const PassReport report = agent_->Pass();
  EXPECT_EQ(RealServers(), Ips{"192.0.2.2"});
  EXPECT_TRUE(report.in_sync);
}

TEST_F(AgentTest, ARealServerSaysReadyOnlyAfterItHasReadBackItsSetUp) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.1"});
  service.spec.method = ForwardingMethod::kTunnel;
  source_.Put(service);
  source_.Put(Group({{"other", "192.0.2.9"}}));
  const VipSetup setup = {Ip("192.0.2.200"), ForwardingMethod::kTunnel};
  ebpf_.SetFault([](const std::string& call) {
    return call.find("192.0.2.9") == std::string::npos ? absl::OkStatus()
                                                       : absl::UnavailableError("no room");
  });
  agent_->Pass();
  SetupState answer = StateFor(setup_peers_.published, setup, Ip("192.0.2.9"));
  EXPECT_FALSE(answer.ready);
  EXPECT_NE(answer.why_not.find("no room"), std::string::npos) << answer.why_not;
  ebpf_.SetFault(nullptr);
  clock_.Advance(std::chrono::seconds(31));
  agent_->Pass();
  EXPECT_TRUE(StateFor(setup_peers_.published, setup, Ip("192.0.2.9")).ready);
  EXPECT_FALSE(StateFor(setup_peers_.published, setup, Ip("192.0.2.8")).ready);
  // Somebody takes it away: the next answer says so.
  host_.state().items.erase(SilentVip{Ip("192.0.2.200")});
  host_.SetFault([](const std::string& call) {
    return call == "read" ? absl::OkStatus() : absl::UnavailableError("busy");
  });
  agent_->Pass();
  EXPECT_FALSE(StateFor(setup_peers_.published, setup, Ip("192.0.2.9")).ready);
}

}  // namespace
}  // namespace kube_lvs
