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

template <typename T>
void Fill(const ObjectMap<T>& objects, kube::Store<T>& store) {
  std::map<std::string, kube::ObjectSink::Object> all;
  for (const auto& [key, object] : objects) all.emplace(key, object);
  store.Replace(std::move(all));
}

// The stores that reflectors write, with all that a changed object costs there.
class Objects final : public DesiredSource {
 public:
  explicit Objects(const Snapshot& objects) {
    Fill(*objects.services, services_);
    Fill(*objects.kube_services, kube_services_);
    Fill(*objects.endpoint_slices, slices_);
  }
  SnapshotPtr Get() override {
    auto services = services_.Snapshot();
    auto slices = slices_.Snapshot();
    if (last_ != nullptr && services == last_->services && slices == last_->endpoint_slices) {
      return last_;
    }
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->services = std::move(services);
    snapshot->endpoint_slices = std::move(slices);
    snapshot->kube_services = kube_services_.Snapshot();
    snapshot->complete = true;
    last_ = std::move(snapshot);
    return last_;
  }
  absl::Status Run(std::stop_token, std::function<void()>) override { return absl::OkStatus(); }

  kube::Store<api::LvsService>& services() { return services_; }
  kube::Store<api::EndpointSlice>& slices() { return slices_; }

 private:
  kube::Store<api::LvsService> services_{
      nullptr, [](const api::LvsService& service) { return api::ServicesOf(service); }};
  kube::Store<api::KubeService> kube_services_;
  kube::Store<api::EndpointSlice> slices_{
      nullptr, [](const api::EndpointSlice& slice) { return api::ServicesOf(slice); }};
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

// The same with a Service of that name behind it.
std::shared_ptr<const api::LvsService> WithService(const api::LvsService& service) {
  auto out = std::make_shared<api::LvsService>(service);
  out->spec.backends[0].is_static = false;
  out->spec.backends[0].static_reals.clear();
  out->spec.backends[0].service_name = service.meta.name;
  return out;
}

std::shared_ptr<const api::KubeService> KubeServiceOf(const api::LvsService& service) {
  auto out = std::make_shared<api::KubeService>();
  out->meta.name = service.meta.name;
  out->meta.name_space = service.meta.name_space;
  out->ports = {{.name = "port", .protocol = Protocol::kTcp, .port = service.spec.ports[0].port}};
  return out;
}

std::shared_ptr<const api::EndpointSlice> SliceOf(const api::LvsService& service) {
  auto out = std::make_shared<api::EndpointSlice>();
  const std::vector<api::StaticBackend>& reals = service.spec.backends[0].static_reals;
  out->meta.name = service.meta.name + "-1";
  out->meta.name_space = service.meta.name_space;
  out->service_name = service.meta.name;
  out->meta.labels["kubernetes.io/service-name"] = service.meta.name;
  out->managed_by = "endpointslice-controller.k8s.io";
  out->meta.labels["endpointslice.kubernetes.io/managed-by"] = out->managed_by;
  out->ports = {{.name = "port", .protocol = Protocol::kTcp, .port = *reals[0].port}};
  for (const api::StaticBackend& real : reals) {
    api::EndpointSlice::Endpoint endpoint;
    endpoint.addresses = {real.address};
    out->endpoints.push_back(endpoint);
  }
  return out;
}

Snapshot ObjectsOf(const State& wanted, AgentInGuest::Backends backends) {
  ObjectMap<api::LvsService> services;
  ObjectMap<api::KubeService> kube_services;
  ObjectMap<api::EndpointSlice> slices;
  size_t index = 0;
  for (const auto& [key, service] : wanted.services) {
    const std::string name = NameOf(index++);
    auto object = ObjectOf(name, key, service);
    if (backends == AgentInGuest::Backends::kServices) {
      kube_services.emplace("bench/" + name, KubeServiceOf(*object));
      slices.emplace("bench/" + name + "-1", SliceOf(*object));
      object = WithService(*object);
    }
    services.emplace("bench/" + name, std::move(object));
  }
  Snapshot out;
  out.services = std::make_shared<const ObjectMap<api::LvsService>>(std::move(services));
  out.kube_services = std::make_shared<const ObjectMap<api::KubeService>>(std::move(kube_services));
  out.endpoint_slices = std::make_shared<const ObjectMap<api::EndpointSlice>>(std::move(slices));
  return out;
}

}  // namespace

struct AgentInGuest::Parts {
  Parts(Backend& dataplane, const State& wanted, std::set<NodeItem> items, Backends backends)
      : objects(ObjectsOf(wanted, backends)),
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

AgentInGuest::AgentInGuest(Backend& dataplane, const State& wanted, std::set<NodeItem> items,
                           Backends backends)
    : parts_(std::make_unique<Parts>(dataplane, wanted, std::move(items), backends)) {}
AgentInGuest::~AgentInGuest() = default;

const std::set<NodeItem>& AgentInGuest::items() const { return parts_->host.state().items; }

bool AgentInGuest::Pass() { return parts_->agent.Pass().in_sync; }

std::string AgentInGuest::EventOfWeight(size_t index, uint32_t weight) const {
  auto changed = *parts_->objects.services().Get("bench/" + NameOf(index));
  changed.spec.backends[0].static_reals[0].weight = weight;
  return nlohmann::json({{"type", "MODIFIED"}, {"object", api::Encode(changed)}}).dump();
}

std::string AgentInGuest::EventOfReadiness(size_t index, bool ready) const {
  auto changed = *parts_->objects.slices().Get("bench/" + NameOf(index) + "-1");
  changed.endpoints[0].ready = ready;
  changed.endpoints[0].serving = ready;
  return nlohmann::json({{"type", "MODIFIED"}, {"object", api::Encode(changed)}}).dump();
}

bool AgentInGuest::TakeEvent(std::string_view line) {
  const auto event = kube::ParseJson(line);
  if (!event.ok()) return false;
  const nlohmann::json& object = event->at("object");
  if (object.at("kind") == "EndpointSlice") {
    auto slice = api::DecodeEndpointSlice(object);
    if (!slice.ok()) return false;
    const std::string key = slice->meta.Key();
    parts_->objects.slices().Set(key,
                                 std::make_shared<const api::EndpointSlice>(*std::move(slice)));
  } else {
    auto service = api::DecodeLvsService(object);
    if (!service.ok()) return false;
    const std::string key = service->meta.Key();
    parts_->objects.services().Set(key,
                                   std::make_shared<const api::LvsService>(*std::move(service)));
  }
  const auto report = parts_->agent.TouchedPass();
  return report.has_value() && report->in_sync;
}

bool AgentInGuest::Look() { return parts_->agent.Look(); }

}  // namespace kube_lvs::bench
