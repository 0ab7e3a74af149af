// The loop against a node in memory: it arrives, it stops, it heals, and it leaves alone what it
// must.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <random>
#include <thread>

#include "base/status.h"
#include "dataplane/model/testing/fake_backend.h"
#include "dataplane/plan/text.h"
#include "node-agent/desired/vips.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

class NoLog final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

class FixedFacts final : public FactsReader {
 public:
  FixedFacts() {
    facts.node_name = "d1";
    facts.node_address = Ip("192.0.2.1");
    InterfaceFacts eth0;
    eth0.name = "eth0";
    eth0.mtu = 1500;
    eth0.addresses = {{Ip("192.0.2.1"), 24}};
    facts.interfaces["eth0"] = eth0;
    facts.routes = {{*Cidr::Parse("0.0.0.0/0"), 0, "eth0", Ip("192.0.2.254")}};
  }
  absl::StatusOr<NodeFacts> Read() override {
    if (!status.ok()) return status;
    return facts;
  }
  NodeFacts facts;
  absl::Status status;
};

// The election's answer is whatever the test says; by default all VIPs are ours.
class FixedPeers final : public Peers {
 public:
  void Adopt(const std::set<IpAddress>& vips) override { adopted = vips; }
  void Update(const PeerGroup& peer_group, const std::set<IpAddress>& vips,
              const Readiness& readiness) override {
    group = peer_group;
    all = vips;
    ready = readiness.ready;
    unable = readiness.unable;
    ever_unable.insert(unable.begin(), unable.end());
  }
  std::set<IpAddress> Claims() override { return claims.has_value() ? *claims : all; }
  std::set<IpAddress> TakeDoubtful() override { return std::exchange(doubtful, {}); }
  std::map<std::string, PeerState> States() override { return {}; }

  std::set<IpAddress> doubtful;
  std::set<IpAddress> adopted, all, unable, ever_unable;
  std::optional<std::set<IpAddress>> claims;
  PeerGroup group;
  bool ready = false;
};

// Real servers' agents say what the test says.
class FixedSetupPeers final : public SetupPeers {
 public:
  void Publish(HeldSetups held) override { published = std::move(held); }
  void Ask(const IpAddress& director, const std::set<SetupQuestion>& questions) override {
    asker = director;
    asked = questions;
  }
  Answers Heard() override { return heard; }
  uint16_t Port() const override { return 8849; }

  HeldSetups published;
  IpAddress asker;
  std::set<SetupQuestion> asked;
  Answers heard;
};

class FixedSource final : public DesiredSource {
 public:
  SnapshotPtr Get() override {
    auto snapshot = std::make_shared<Snapshot>(SnapshotOf(objects));
    snapshot->complete = complete;
    snapshot->nodes = std::make_shared<const ObjectMap<api::KubeNode>>(nodes);
    return snapshot;
  }
  absl::Status Run(std::stop_token, std::function<void()>) override { return absl::OkStatus(); }

  void Put(const api::AnyObject& object) { objects.insert_or_assign(IdOf(object), object); }
  std::map<ObjectId, api::AnyObject> objects;
  ObjectMap<api::KubeNode> nodes;
  bool complete = true;
};

api::LvsService Service(const std::string& name, const std::string& vip,
                        const std::vector<std::string>& reals, uint32_t weight = 1) {
  api::LvsService service;
  service.meta.name = name;
  service.meta.name_space = "shop";
  api::AddressRequest request;
  request.type = api::AddressRequest::Type::kIp;
  request.value = vip;
  service.spec.addresses = {request};
  api::ServicePort port;
  port.name = "http";
  port.port = 80;
  service.spec.ports = {port};
  service.spec.scheduler = "wrr";
  api::BackendSource source;
  source.name = "servers";
  source.is_static = true;
  for (const std::string& real : reals) {
    api::StaticBackend entry;
    entry.address = real;
    entry.weight = weight;
    source.static_reals.push_back(entry);
  }
  service.spec.backends = {source};
  service.spec.drain_timeout_seconds = 60;
  return service;
}

class AgentTest : public testing::Test {
 protected:
  AgentTest() { Restart(); }
  // A new process on the same node.
  void Restart() {
    peers_ = std::make_unique<FixedPeers>();
    agent_ = std::make_unique<Agent>(source_, facts_, std::vector<Backend*>{&ebpf_, &ipvs_, &host_},
                                     *peers_, clock_, log_, AgentOptions{});
    agent_->SetSetupPeers(setup_peers_);
  }
  // What the agent at `real_server` answers about VIP 192.0.2.200 by DirectRouting.
  void Answer(const std::string& real_server, const SetupState& state) {
    setup_peers_.heard.replies[About(real_server)] = {state, clock_.Now()};
    setup_peers_.heard.agents.insert(Ip(real_server));
  }
  SetupQuestion About(const std::string& real_server) {
    return {Ip(real_server), {Ip("192.0.2.200"), ForwardingMethod::kDirectRouting}};
  }
  std::vector<std::string> RealServers() {
    std::vector<std::string> ips;
    for (const auto& [key, service] : ebpf_.state().services) {
      for (const RealServer& real : service.reals) ips.push_back(real.at.ip.ToString());
    }
    return ips;
  }
  State Node() {
    State all = ebpf_.state();
    all.services.insert(ipvs_.state().services.begin(), ipvs_.state().services.end());
    all.items.insert(host_.state().items.begin(), host_.state().items.end());
    return all;
  }
  size_t Steps() {
    return ebpf_.applied().size() + ipvs_.applied().size() + host_.applied().size();
  }
  ServiceKey Key(const std::string& vip, Dataplane dataplane = Dataplane::kEbpf) {
    return {dataplane, Endpoint{Ip(vip), 80}, Protocol::kTcp};
  }

  FakeBackend ebpf_{"eBPF", TakenByEbpf};
  FakeBackend ipvs_{"IPVS", TakenByIpvs};
  FakeBackend host_{"host", TakenByHost};
  FixedSource source_;
  FixedFacts facts_;
  FakeClock clock_;
  NoLog log_;
  std::unique_ptr<FixedPeers> peers_;
  FixedSetupPeers setup_peers_;
  std::unique_ptr<Agent> agent_;
};

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
      api::LvsDirectorGroup group;
      group.meta.name = "default";
      group.spec.layer2 = *layer2;
      group.spec.static_allowed_ranges = {"0.0.0.0/0"};
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

TEST_F(AgentTest, AKeyOfAnotherOwnerIsAConflictAndStaysAsItIs) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ebpf_.others().insert(Key("192.0.2.200"));
  const PassReport report = agent_->Pass();
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].reason, "Conflict");
  EXPECT_TRUE(ebpf_.state().services.empty());
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

TEST_F(AgentTest, AVipIsSilentBeforeItIsThere) {
  api::LvsService service = Service("web", "192.0.2.200", {"192.0.2.1"});
  service.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(service);
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.status.members = {{"other", "192.0.2.9"}};
  group.spec.static_allowed_ranges = {"0.0.0.0/0"};
  source_.Put(group);
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
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.status.members = {{"other", "192.0.2.8"}};
  group.spec.static_allowed_ranges = {"0.0.0.0/0"};
  source_.Put(group);
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
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.status.members = {{"other", "192.0.2.9"}};
  group.spec.static_allowed_ranges = {"0.0.0.0/0"};
  source_.Put(group);
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
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.spec.static_allowed_ranges = {"0.0.0.0/0"};
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

TEST_F(AgentTest, OneThatIsNoMemberAnyMoreLetsItsFellowsTakeOverBeforeItsRulesGo) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.status.members = {{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}};
  group.spec.static_allowed_ranges = {"10.0.0.0/8"};
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

// What its fellows send to a real server here is not balanced again, from before the first service
// until the last one is gone.
TEST_F(AgentTest, VipsAreClaimedByOneWhileADirectorJoinsAndLeaves) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.spec.layer2 = true;
  group.status.members = {{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}};
  group.spec.static_allowed_ranges = {"10.0.0.0/8"};
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

TEST_F(AgentTest, ARealServerWhoseRepliesGoAnotherWayIsAProblemOfTheNode) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  api::LvsService direct = Service("direct", "192.0.2.201", {"192.0.2.11"});
  direct.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(direct);
  api::LvsService with_source_nat = Service("snat", "192.0.2.202", {"10.0.0.1"});
  with_source_nat.spec.source_nat = api::SourceNatChoice::kEnabled;
  source_.Put(with_source_nat);
  agent_->Pass();
  const auto at = [&](const std::string& vip, const std::string& real) -> Counters& {
    return ebpf_.stats().reals[{Key(vip), Endpoint{Ip(real), 80}}].counters;
  };
  at("192.0.2.201", "192.0.2.11").connections = 1000;
  at("192.0.2.202", "10.0.0.1").connections = 1000;
  at("192.0.2.200", "10.0.0.1").connections = 30;
  at("192.0.2.200", "10.0.0.1").reply_packets = 1;
  at("192.0.2.200", "10.0.0.2").connections = 9;
  clock_.Advance(std::chrono::seconds(30));
  EXPECT_EQ(agent_->Pass().node_problems.count("NoReplies"), 0u);
  at("192.0.2.200", "10.0.0.2").connections = 10;
  clock_.Advance(std::chrono::seconds(30));
  PassReport report = agent_->Pass();
  ASSERT_EQ(report.node_problems.count("NoReplies"), 1u);
  EXPECT_EQ(Message(report.node_problems["NoReplies"]),
            "eBPF 192.0.2.200:80/tcp -> 10.0.0.2:80 of LVSService shop/web got 10 connections, and "
            "not one packet came back through this director");
  EXPECT_TRUE(report.in_sync);
  EXPECT_TRUE(report.service_problems.empty());
  EXPECT_EQ(agent_->Pass().node_problems.count("NoReplies"), 1u);
  at("192.0.2.200", "10.0.0.2").reply_packets = 1;
  clock_.Advance(std::chrono::seconds(30));
  EXPECT_EQ(agent_->Pass().node_problems.count("NoReplies"), 0u);
}

TEST_F(AgentTest, AServiceForWhichThereIsNoRoomSaysSo) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ebpf_.SetFault([](const std::string& call) -> absl::Status {
    if (call.find("192.0.2.200:80") == std::string::npos) return absl::OkStatus();
    return absl::ResourceExhaustedError("the table of services is full: all 4096 are taken");
  });
  const PassReport report = agent_->Pass();
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].reason, "TableFull");
  EXPECT_NE(report.service_problems[0].message.find("all 4096"), std::string::npos);
}

TEST_F(AgentTest, ConnectionsThatFoundNoRoomAreAProblemWhileThereAreMore) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  std::map<std::string, uint64_t> drops = {{"table_full", 5}, {"no_source_port", 7}, {"ttl", 3}};
  agent_->SetDrops([&] { return drops; });
  const auto look = [&] {
    clock_.Advance(std::chrono::seconds(30));
    return agent_->Pass().node_problems;
  };
  const auto text = [](const std::map<std::string, absl::Status>& problems) {
    std::string out;
    for (const auto& [check, status] : problems) out += check + ": " + Message(status) + "\n";
    return out;
  };
  EXPECT_EQ(text(look()), "");  // they were before we looked
  drops["table_full"] = 12;
  drops["ttl"] = 9;
  const std::string full =
      "ConnectionTable: 7 packets that begin connections were dropped since the last look: the "
      "connection table had no free slot for them (table_full)\n";
  EXPECT_EQ(text(look()), full);
  EXPECT_EQ(text(agent_->Pass().node_problems), full);
  EXPECT_TRUE(agent_->Pass().in_sync);
  drops["no_source_port"] = 8;
  EXPECT_EQ(text(look()),
            "SourcePorts: 1 packets that begin connections were dropped since the last look: no "
            "source port was free for their real server (no_source_port)\n");
  EXPECT_EQ(text(look()), "");
  drops = {{"table_full", 2}};  // maps that were made anew
  EXPECT_EQ(look().count("ConnectionTable"), 1u);
  EXPECT_EQ(text(look()), "");
}

TEST_F(AgentTest, AnotherProgramsMarksOnPacketsForManyPortsAreAProblemWhileThereAreMore) {
  api::LvsService media = Service("media", "192.0.2.200", {"10.0.0.1"});
  media.spec.ports[0].end_port = uint16_t{89};
  media.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(media);
  const auto look = [&](uint64_t replaced) {
    ipvs_.stats().replaced_marks = replaced;
    clock_.Advance(std::chrono::seconds(30));
    return agent_->Pass();
  };
  EXPECT_TRUE(look(0).in_sync);
  EXPECT_EQ(look(0).node_problems.count("ForeignMarks"), 0u);
  PassReport report = look(7);
  ASSERT_EQ(report.node_problems.count("ForeignMarks"), 1u);
  EXPECT_EQ(Message(report.node_problems["ForeignMarks"]),
            "7 packets for port ranges, allPorts or CIDRs came with another program's mark (a "
            "firewall's, kube-proxy's, a network plugin's), which ours replaced");
  EXPECT_TRUE(report.in_sync);
  EXPECT_EQ(look(7).node_problems.count("ForeignMarks"), 0u);
  report = look(2);
  ASSERT_EQ(report.node_problems.count("ForeignMarks"), 1u);
  EXPECT_EQ(Message(report.node_problems["ForeignMarks"]).substr(0, 10), "2 packets ");
  media.spec.ports[0].end_port.reset();
  source_.Put(media);
  look(9);
  EXPECT_EQ(look(10).node_problems.count("ForeignMarks"), 0u);
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

// The loop itself, on the machine's clock.
TEST(AgentLoop, WakesForObjectsAndForOtherFactsAndEndsWhenAsked) {
  FakeBackend ebpf("eBPF", TakenByEbpf), ipvs("IPVS", TakenByIpvs), host("host", TakenByHost);
  class LockedSource final : public DesiredSource {
   public:
    SnapshotPtr Get() override {
      const std::lock_guard<std::mutex> lock(mu);
      return source.Get();
    }
    absl::Status Run(std::stop_token, std::function<void()>) override { return absl::OkStatus(); }
    std::mutex mu;
    FixedSource source;
  } source;
  class LockedFacts final : public FactsReader {
   public:
    absl::StatusOr<NodeFacts> Read() override {
      const std::lock_guard<std::mutex> lock(mu);
      return fixed.facts;
    }
    std::mutex mu;
    FixedFacts fixed;
  } facts;
  FixedPeers peers;
  SystemClock clock;
  NoLog log;
  Agent agent(source, facts, {&ebpf, &ipvs, &host}, peers, clock, log, AgentOptions{});
  std::mutex mu;
  std::condition_variable changed;
  std::vector<std::pair<size_t, size_t>> passes;  // services and interfaces that each saw
  agent.AddObserver([&](const PassReport& report) {
    const std::lock_guard<std::mutex> lock(mu);
    passes.emplace_back(report.snapshot->services->size(), report.facts.interfaces.size());
    changed.notify_all();
  });
  std::jthread thread([&agent](std::stop_token stop) { EXPECT_TRUE(agent.Run(stop).ok()); });
  const auto seen = [&](size_t services, size_t interfaces) {
    std::unique_lock<std::mutex> lock(mu);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] {
      return !passes.empty() && passes.back() == std::pair(services, interfaces);
    });
  };
  EXPECT_TRUE(seen(0, 1));
  {
    const std::lock_guard<std::mutex> lock(source.mu);
    source.source.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  }
  agent.wakeup().Wake(WakeReason::kSource);
  EXPECT_TRUE(seen(1, 1));
  {
    const std::lock_guard<std::mutex> lock(facts.mu);
    facts.fixed.facts.interfaces["eth1"] = {};
  }
  agent.wakeup().Wake(WakeReason::kNetlink);
  EXPECT_TRUE(seen(1, 2));
}

// Law 6: with any share of failing calls below 1, repeated passes reach what is desired, and once
// there, no further step is taken.
TEST_F(AgentTest, ItHeals) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    uint32_t share = random() % 90;  // percent of calls that fail
    const auto fault = [&random, &share](const std::string& call) -> absl::Status {
      if (random() % 100 >= share) return absl::OkStatus();
      return random() % 2 == 0 ? absl::UnavailableError(call) : absl::InternalError(call);
    };
    for (FakeBackend* backend : {&ebpf_, &ipvs_, &host_}) backend->SetFault(fault);
    source_.objects.clear();
    for (uint32_t n = 0; n < 1 + random() % 6; ++n) {
      std::vector<std::string> reals;
      for (uint32_t r = 1; r <= 5; ++r) {
        if (random() % 2 == 0) reals.push_back("10.0.0." + std::to_string(r));
      }
      if (reals.empty()) reals.push_back("10.0.0.9");
      api::LvsService service = Service("s" + std::to_string(n),
                                        "192.0.2." + std::to_string(200 + n), reals, random() % 5);
      if (random() % 3 == 0) service.spec.dataplane = api::DataplaneChoice::kIpvs;
      if (random() % 2 == 0) service.spec.source_nat = api::SourceNatChoice::kEnabled;
      source_.Put(service);
    }
    if (random() % 3 == 0) Restart();
    for (int pass = 0; pass < 3; ++pass) {
      if (random() % 2 == 0 || !agent_->TouchedPass().has_value()) agent_->Pass();
      clock_.Advance(std::chrono::milliseconds(random() % 2000));
    }
    // From here on some still fail, but fewer.
    share /= 2;
    bool in_sync = false;
    for (int pass = 0; pass < 3000 && !in_sync; ++pass) {
      clock_.Advance(std::chrono::seconds(31));
      const PassReport report = agent_->Pass();
      // One that cannot be read, and of which nothing is wanted, may hold something all the same.
      in_sync = report.in_sync && report.readable.size() == 3;
    }
    ASSERT_TRUE(in_sync) << "share " << share;
    // Changes of single services, some of which fail.
    for (int change = 0; change < 4; ++change) {
      const auto any = std::next(source_.objects.begin(),
                                 static_cast<ptrdiff_t>(random() % source_.objects.size()));
      auto service = std::get<api::LvsService>(any->second);
      service.spec.backends[0].static_reals[0].weight = static_cast<uint32_t>(random() % 5);
      source_.Put(service);
      const auto report = agent_->TouchedPass();
      in_sync = report.has_value() && report->in_sync;
      for (int pass = 0; pass < 3000 && !in_sync; ++pass) {
        clock_.Advance(std::chrono::seconds(31));
        const PassReport whole = agent_->Pass();
        in_sync = whole.in_sync && whole.readable.size() == 3;
      }
      ASSERT_TRUE(in_sync) << "share " << share;
    }
    // In sync means so: a faultless look finds nothing to do.
    for (FakeBackend* backend : {&ebpf_, &ipvs_, &host_}) backend->SetFault(nullptr);
    const size_t steps = Steps();
    clock_.Advance(std::chrono::seconds(31));
    EXPECT_TRUE(agent_->Pass().in_sync);
    EXPECT_EQ(Steps(), steps) << ToText(Node());
  }
}

}  // namespace
}  // namespace kube_lvs
