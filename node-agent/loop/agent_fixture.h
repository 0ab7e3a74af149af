// The agent's loop on a node in memory, with fellows, real servers and objects as a test has them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/model/testing/fake_backend.h"
#include "node-agent/desired/vips.h"
#include "node-agent/loop/agent.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {

inline IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

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

// shop/NAME: port 80 of the VIP by wrr and NAT, with these real servers.
inline api::LvsService Service(const std::string& name, const std::string& vip,
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

// The group "default", which may have any real server.
inline api::LvsDirectorGroup Group(std::vector<api::GroupMember> members = {}) {
  api::LvsDirectorGroup group;
  group.meta.name = "default";
  group.status.members = std::move(members);
  group.spec.static_allowed_ranges = {"0.0.0.0/0"};
  return group;
}

// The agent of director d1, 192.0.2.1, on a node in memory.
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

}  // namespace kube_lvs
