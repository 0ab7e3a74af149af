// VIPs between fellows: adopted, claimed, announced, left to others.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "node-agent/loop/agent_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(AgentTest, WhatItHadToGiveUpBeforeItStartedIsNotAdopted) {
  source_.Put(Service("a", "192.0.2.200", {"10.0.0.1"}));
  source_.Put(Service("b", "192.0.2.201", {"10.0.0.1"}));
  agent_->Pass();
  Restart();
  agent_->SetRunOutClaims([] { return std::set<IpAddress>{Ip("192.0.2.200")}; });
  agent_->Pass();
  EXPECT_EQ(peers_->adopted, std::set<IpAddress>{Ip("192.0.2.201")});
}

TEST_F(AgentTest, AVipThatAFellowMayHaveAnsweredForIsAnnouncedAgainAfterThePass) {
  source_.Put(Service("a", "192.0.2.200", {"10.0.0.1"}));
  peers_->doubtful = {Ip("192.0.2.200")};
  std::stop_source stop;
  std::set<IpAddress> announced;
  agent_->SetRenewClaims(
      [](std::optional<Duration>, std::optional<bool>) { return absl::OkStatus(); });
  agent_->SetAnnounceAgain([&](const std::set<IpAddress>& vips) {
    EXPECT_EQ(peers_->all, vips);  // it is known whom it is for
    announced = vips;
    stop.request_stop();
    return absl::OkStatus();
  });
  ASSERT_TRUE(agent_->Run(stop.get_token()).ok());
  EXPECT_EQ(announced, std::set<IpAddress>{Ip("192.0.2.200")});
}

// Where nobody answers for VIPs, routers may send to every director.
TEST_F(AgentTest, VipsAreClaimedByOneDirectorWhereTheGroupAnswersForThem) {
  for (const std::optional<bool> layer2 : {std::optional<bool>(), {true}, {false}}) {
    source_.complete = layer2.has_value();
    if (layer2) {
      api::LvsDirectorGroup group = Group();
      group.spec.layer2 = *layer2;
      source_.Put(group);
    }
    std::stop_source stop;
    std::optional<bool> claimed_by_one = true;
    agent_->SetRenewClaims([&](std::optional<Duration>, std::optional<bool> by_one) {
      claimed_by_one = by_one;
      stop.request_stop();
      return absl::OkStatus();
    });
    ASSERT_TRUE(agent_->Run(stop.get_token()).ok());
    EXPECT_EQ(claimed_by_one, layer2) << "without a group that can be read, it stays as it was";
  }
}

// What its fellows send to a real server here is not balanced again, from before the first service
// until the last one is gone.
TEST_F(AgentTest, VipsAreClaimedByOneWhileADirectorJoinsAndLeaves) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  api::LvsDirectorGroup group = Group({{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}});
  group.spec.layer2 = true;
  source_.Put(group);
  std::optional<bool> by_one;
  std::optional<State> when_told;
  std::stop_source stop;
  agent_->SetRenewClaims([&](std::optional<Duration>, std::optional<bool> told) {
    if (told == true && !when_told) when_told = Node();
    by_one = told;
    stop.request_stop();
    return absl::OkStatus();
  });
  agent_->Pass();
  EXPECT_EQ(by_one, true);
  EXPECT_EQ(when_told, State{});
  const State served = Node();
  ASSERT_FALSE(served.services.empty());

  group.status.members = {{"d2", "192.0.2.2"}};
  source_.Put(group);
  const auto pass_and_claim = [&] {
    by_one.reset();
    stop = std::stop_source();
    EXPECT_TRUE(agent_->Run(stop.get_token()).ok());
  };
  pass_and_claim();
  EXPECT_EQ(Node(), served);
  EXPECT_EQ(by_one, true);
  clock_.Advance(std::chrono::milliseconds(300));
  pass_and_claim();
  EXPECT_EQ(Node(), State{});
  EXPECT_EQ(by_one, false);
}

TEST_F(AgentTest, OneThatIsNoMemberAnyMoreLetsItsFellowsTakeOverBeforeItsRulesGo) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  api::LvsDirectorGroup group = Group({{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}});
  source_.Put(group);
  agent_->Pass();
  const State before = Node();
  ASSERT_TRUE(before.items.contains(AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  group.status.members = {{"d2", "192.0.2.2"}};
  source_.Put(group);
  agent_->Pass();
  EXPECT_EQ(peers_->group.name, "");
  EXPECT_EQ(Node(), before);
  EXPECT_EQ(agent_->NextPass(), clock_.Now() + std::chrono::milliseconds(300));
  clock_.Advance(std::chrono::milliseconds(200));
  agent_->Pass();
  EXPECT_EQ(Node(), before);
  clock_.Advance(std::chrono::milliseconds(100));
  agent_->Pass();
  EXPECT_EQ(Node(), State{});
}

TEST_F(AgentTest, WithoutProgramsOnTheUplinkItIsNotReadyAndAnswersForNothing) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ebpf_.SetFault([](const std::string& call) {
    return call.find("programs on") == std::string::npos
               ? absl::OkStatus()
               : absl::FailedPreconditionError("the kernel refuses the program");
  });
  const PassReport report = agent_->Pass();
  EXPECT_TRUE(report.answers->empty());
  EXPECT_FALSE(peers_->ready);
  EXPECT_EQ(report.node_problems.count("Attachment"), 1u);
  ebpf_.SetFault(nullptr);
  clock_.Advance(std::chrono::seconds(1));
  agent_->Pass();
  EXPECT_TRUE(peers_->ready);
}

TEST_F(AgentTest, WithoutALocalLinkItStillServesClientsElsewhere) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  host_.SetFault([](const std::string& call) {
    return call.find("local link") == std::string::npos
               ? absl::OkStatus()
               : absl::FailedPreconditionError("the kernel has no veth");
  });
  const PassReport report = agent_->Pass();
  EXPECT_EQ(report.answers->size(), 1u);
  EXPECT_TRUE(peers_->ready);
  EXPECT_TRUE(peers_->unable.empty());
  EXPECT_EQ(report.node_problems.count("LocalLink"), 1u);
  EXPECT_EQ(report.node_problems.count("Attachment"), 0u);
  EXPECT_FALSE(Node().items.contains(Attachment{kLocalLinkFar}));
  EXPECT_FALSE(Node().items.contains(LocalVip{Ip("192.0.2.200"), Ip("192.0.2.1")}));
}

TEST_F(AgentTest, ADirectorThatCanServeNoneOfItsVipsIsNotReady) {
  source_.Put(Service("web", "192.0.2.200", {"192.0.2.11"}));
  api::LvsDirectorGroup group = Group();
  group.spec.interfaces = {"uplink*"};
  source_.Put(group);
  agent_->Pass();
  EXPECT_FALSE(peers_->ready);
  group.spec.interfaces = {"eth*"};
  source_.Put(group);
  agent_->Pass();
  EXPECT_TRUE(peers_->ready);
}

TEST_F(AgentTest, AVipWhoseServiceFailsIsLeftToFellowsUntilItSucceeds) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  source_.Put(Service("other", "192.0.2.201", {"10.0.0.1"}));
  ebpf_.others().insert(Key("192.0.2.200"));
  agent_->Pass();
  EXPECT_TRUE(peers_->ready);
  EXPECT_EQ(peers_->unable, std::set<IpAddress>{Ip("192.0.2.200")});
  // Still so while it waits to be tried again, and when the fellow has the VIP.
  peers_->claims = {Ip("192.0.2.201")};
  agent_->Pass();
  EXPECT_EQ(peers_->unable, std::set<IpAddress>{Ip("192.0.2.200")});
  ebpf_.others().clear();
  clock_.Advance(std::chrono::seconds(31));
  agent_->Pass();
  EXPECT_TRUE(peers_->unable.empty());
}

TEST_F(AgentTest, AVipOfAMissingDataplaneIsLeftToFellows) {
  api::LvsService by_ipvs = Service("old", "192.0.2.200", {"10.0.0.1"});
  by_ipvs.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(by_ipvs);
  source_.Put(Service("new", "192.0.2.201", {"10.0.0.1"}));
  ipvs_.SetFault([](const std::string&) {
    return absl::FailedPreconditionError("the kernel has no ip_vs; load the module");
  });
  agent_->Pass();
  EXPECT_TRUE(peers_->ready);
  EXPECT_EQ(peers_->unable, std::set<IpAddress>{Ip("192.0.2.200")});
}

TEST_F(AgentTest, AServiceThatIsNewChangedInvalidOrRemovedIsNotLeftToFellows) {
  api::LvsService service = Service("web", "192.0.2.200", {"10.0.0.1"});
  source_.Put(service);
  agent_->Pass();
  source_.Put(Service("new", "192.0.2.201", {"10.0.0.1"}));
  agent_->Pass();
  service.spec.backends[0].static_reals[0].address = "10.0.0.2";
  source_.Put(service);
  agent_->Pass();
  service.spec.scheduler = "nonsense";
  source_.Put(service);
  agent_->Pass();
  source_.objects.erase(IdOf(service));
  ebpf_.SetFault([](const std::string& call) {
    return call.find("remove eBPF 192.0.2.200") == std::string::npos
               ? absl::OkStatus()
               : absl::InternalError("cannot remove it");
  });
  EXPECT_FALSE(agent_->Pass().in_sync);
  EXPECT_TRUE(peers_->ready);
  EXPECT_TRUE(peers_->ever_unable.empty());
}

}  // namespace
}  // namespace kube_lvs
