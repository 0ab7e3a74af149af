#include "e2e/bench/agent_in_guest.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataplane/model/testing/fake_backend.h"
#include "kube/api/decode.h"
#include "kube/api/encode.h"
#include "kube/json.h"
#include "kube/store.h"
#include "node-agent/loop/agent.h"

namespace kube_lvs::bench {
namespace {

class NoLog final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

class GivenFacts final : public FactsReader {
 public:
  absl::StatusOr<NodeFacts> Read() override {
    NodeFacts facts;
    facts.node_name = "director";
    facts.node_address = *IpAddress::Parse("192.0.2.1");
    InterfaceFacts eth0;
    eth0.name = "eth0";
    eth0.mtu = 1500;
    eth0.addresses = {{*IpAddress::Parse("192.0.2.1"), 24}};
    facts.interfaces["eth0"] = eth0;
    facts.routes = {{*Cidr::Parse("0.0.0.0/0"), 0, "eth0", *IpAddress::Parse("192.0.2.254")}};
    return facts;
  }
};

// A director alone.
class NoPeers final : public Peers {
 public:
  void Adopt(const std::set<IpAddress>&) override {}
  void Update(const PeerGroup&, const std::set<IpAddress>& vips, const Readiness&) override {
    vips_ = vips;
  }
  std::set<IpAddress> Claims() override { return vips_; }
  std::set<IpAddress> TakeDoubtful() override { return {}; }
  std::map<std::string, PeerState> States() override { return {}; }

 private:
  std::set<IpAddress> vips_;
};

// The store that a reflector writes, with all that a changed object costs there.
class Objects final : public DesiredSource {
 public:
  explicit Objects(const ObjectMap<api::LvsService>& services) {
    std::map<std::string, kube::ObjectSink::Object> all;
    for (const auto& [key, service] : services) all.emplace(key, service);
    store_.Replace(std::move(all));
  }
  SnapshotPtr Get() override {
    auto services = store_.Snapshot();
    if (last_ != nullptr && services == last_->services) return last_;
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->services = std::move(services);
    snapshot->complete = true;
    last_ = std::move(snapshot);
    return last_;
  }
  absl::Status Run(std::stop_token, std::function<void()>) override { return absl::OkStatus(); }

  kube::Store<api::LvsService>& store() { return store_; }

 private:
  kube::Store<api::LvsService> store_;
  SnapshotPtr last_;
};

std::string NameOf(size_t index) { return "service-" + std::to_string(index); }

std::shared_ptr<const api::LvsService> ObjectOf(const std::string& name, const ServiceKey& key,
                                                const VirtualService& wanted) {
  auto out = std::make_shared<api::LvsService>();
  const auto& vip = std::get<Endpoint>(key.match);
  out->meta.name = name;
  out->meta.name_space = "bench";
  out->spec.dataplane =
      key.dataplane == Dataplane::kIpvs ? api::DataplaneChoice::kIpvs : api::DataplaneChoice::kEbpf;
  out->spec.source_nat = api::SourceNatChoice::kDisabled;
  out->spec.scheduler = wanted.config.scheduler;
  api::AddressRequest address;
  address.type = api::AddressRequest::Type::kIp;
  address.value = vip.ip.ToString();
  out->spec.addresses = {address};
  api::ServicePort port;
  port.name = "port";
  port.port = vip.port;
  out->spec.ports = {port};
  api::BackendSource source;
  source.name = "servers";
  source.is_static = true;
  for (const RealServer& real : wanted.reals) {
    api::StaticBackend entry;
    entry.address = real.at.ip.ToString();
    entry.port = real.at.port;
    entry.weight = real.weight;
    source.static_reals.push_back(entry);
  }
  out->spec.backends = {source};
  return out;
}

ObjectMap<api::LvsService> ObjectsOf(const State& wanted) {
  ObjectMap<api::LvsService> out;
  size_t index = 0;
  for (const auto& [key, service] : wanted.services) {
    const std::string name = NameOf(index++);
    out.emplace("bench/" + name, ObjectOf(name, key, service));
  }
  return out;
}

}  // namespace

struct AgentInGuest::Parts {
  Parts(Backend& dataplane, const State& wanted, std::set<NodeItem> items)
      : objects(ObjectsOf(wanted)),
        agent(objects, facts, {&dataplane, &host}, peers, clock, log, {}) {
    host.state().items = std::move(items);
  }

  Objects objects;
  GivenFacts facts;
  NoPeers peers;
  SystemClock clock;
  NoLog log;
  FakeBackend host{"host", TakenByHost};
  Agent agent;
};

AgentInGuest::AgentInGuest(Backend& dataplane, const State& wanted, std::set<NodeItem> items)
    : parts_(std::make_unique<Parts>(dataplane, wanted, std::move(items))) {}
AgentInGuest::~AgentInGuest() = default;

const std::set<NodeItem>& AgentInGuest::items() const { return parts_->host.state().items; }

bool AgentInGuest::Pass() { return parts_->agent.Pass().in_sync; }

std::string AgentInGuest::EventOfWeight(size_t index, uint32_t weight) const {
  auto changed = *parts_->objects.store().Get("bench/" + NameOf(index));
  changed.spec.backends[0].static_reals[0].weight = weight;
  return nlohmann::json({{"type", "MODIFIED"}, {"object", api::Encode(changed)}}).dump();
}

bool AgentInGuest::TakeEvent(std::string_view line) {
  const auto event = kube::ParseJson(line);
  if (!event.ok()) return false;
  auto service = api::DecodeLvsService(event->at("object"));
  if (!service.ok()) return false;
  const std::string key = service->meta.Key();
  parts_->objects.store().Set(key, std::make_shared<const api::LvsService>(*std::move(service)));
  const auto report = parts_->agent.TouchedPass();
  return report.has_value() && report->in_sync;
}

bool AgentInGuest::Look() { return parts_->agent.Look(); }

}  // namespace kube_lvs::bench
