#include "operator/controller.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <ctime>
#include <nlohmann/json.hpp>
#include <thread>
#include <tuple>
#include <utility>

#include "base/status.h"
#include "kube/api/decode.h"
#include "kube/api/encode.h"
#include "kube/api/kinds.h"
#include "kube/api/pools.h"
#include "operator/conditions.h"
#include "operator/default_group.h"
#include "operator/status.h"

namespace kube_lvs::controller {
namespace {

using nlohmann::json;

// Each write waits some 10 ms for the API server.
constexpr int kWorkers = 4;
constexpr std::chrono::milliseconds kCountsDelay{500};  // pools' and groups' counts follow so late
constexpr std::chrono::seconds kTick{10};
constexpr char kTickKey[] = "tick/";
constexpr char kDefaultGroupKey[] = "default-group/";
constexpr kube::QueueBackoff kBackoff{.first = std::chrono::milliseconds(20),
                                      .most = std::chrono::seconds(30)};

const char* PrefixOf(Kind kind) {
  switch (kind) {
    case Kind::kService:
      return "service/";
    case Kind::kPool:
      return "pool/";
    case Kind::kGroup:
      return "group/";
    case Kind::kLvsNode:
      return "lvsnode/";
    case Kind::kKubeService:
      return "kubeservice/";
    case Kind::kEndpointSlice:
      return "slice/";
    case Kind::kNode:
      return "node/";
    case Kind::kNamespace:
      return "namespace/";
    case Kind::kServiceCidr:
      return "servicecidr/";
  }
  return "";
}

std::string KeyOf(Kind kind, const std::string& name) { return PrefixOf(kind) + name; }

void Wait(Duration how_long, const std::stop_token& stop) {
  std::mutex mu;
  std::unique_lock<std::mutex> lock(mu);
  std::condition_variable_any never;
  never.wait_for(lock, stop, how_long, [] { return false; });
}

// An object as we wrote it, until the watch has told us of it: `base` is the version that the store
// had when we wrote.
template <typename T>
struct Written {
  std::string base;
  T object;
};

template <typename T>
using WrittenMap = std::map<std::string, Written<T>>;

// The newest that is known: the store's, or what we have written since.
template <typename T>
std::shared_ptr<const T> Newest(const kube::Store<T>& store, WrittenMap<T>& written,
                                const std::string& key) {
  std::shared_ptr<const T> stored = store.Get(key);
  const auto it = written.find(key);
  if (it == written.end()) return stored;
  const std::string version = stored == nullptr ? "" : stored->meta.resource_version;
  if (version == it->second.base) {
    return stored == nullptr ? nullptr : std::make_shared<const T>(it->second.object);
  }
  written.erase(it);
  return stored;
}

// Whether a service may fare differently with another state of its group.
bool Differ(const api::LvsDirectorGroup* a, const api::LvsDirectorGroup* b) {
  if (a == nullptr || b == nullptr) return a != b;
  return a->spec != b->spec || a->status.members != b->status.members ||
         a->status.dataplane != b->status.dataplane;
}

// The status of an object whose spec cannot be read.
absl::StatusOr<api::LvsService> DecodeStatusOnly(json object) {
  object["spec"] = json::object();
  return api::DecodeLvsService(object);
}

}  // namespace

struct Controller::Memory {
  AddressBook book;
  std::vector<PoolView> pools;
  std::vector<ClusterNetwork> networks;
  std::set<IpAddress> node_addresses;
  std::vector<Cidr> service_cidrs;
  Family default_family = Family::kIpv4;

  // Backends: "namespace/name" of a Service -> LVSServices, and back.
  std::map<std::string, std::set<std::string>> used_by;
  std::map<std::string, std::set<std::string>> uses;
  // EndpointSlices by their Service, and back.
  std::map<std::string, api::EndpointSliceMap> slices;
  std::map<std::string, std::string> slice_of;

  std::map<std::string, std::shared_ptr<const api::LvsNode>> reports;
  std::map<std::string, api::KubeNode> nodes;  // without versions: what matters of them
  std::map<std::string, std::string> group_of;
  std::map<std::string, int> group_sizes;
  std::map<std::string, std::shared_ptr<const api::LvsDirectorGroup>> groups;  // as last looked at

  std::map<std::string, std::string> waiting;  // for an address -> why
  std::set<std::string> unprogrammed;          // Programmed is not True
  std::set<std::string> not_ready;

  WrittenMap<api::LvsService> written_services;
  WrittenMap<api::LvsAddressPool> written_pools;
  WrittenMap<api::LvsDirectorGroup> written_groups;

  std::shared_ptr<kube::WorkQueue> queue;

  void Queue(Kind kind, const std::string& name) { queue->Add(KeyOf(kind, name)); }
  void QueueLater(Kind kind, const std::string& name, Duration delay) {
    queue->AddAfter(KeyOf(kind, name), delay);
  }
  void SetGroup(const std::string& service, const std::string& group) {
    const auto it = group_of.find(service);
    const std::string was = it == group_of.end() ? "" : it->second;
    if (was == group) return;
    if (!was.empty() && --group_sizes[was] == 0) group_sizes.erase(was);
    if (!was.empty()) QueueLater(Kind::kGroup, was, kCountsDelay);
    if (!group.empty()) {
      ++group_sizes[group];
      QueueLater(Kind::kGroup, group, kCountsDelay);
    }
    if (group.empty()) {
      group_of.erase(service);
    } else {
      group_of[service] = group;
    }
  }
  void SetUses(const std::string& service, std::set<std::string> now) {
    std::set<std::string>& was = uses[service];
    for (const std::string& name : was) {
      used_by[name].erase(service);
      if (used_by[name].empty()) used_by.erase(name);
    }
    for (const std::string& name : now) used_by[name].insert(service);
    was = std::move(now);
    if (was.empty()) uses.erase(service);
  }
  // An address was given back: it may be had after its rest.
  void QueueWaiting() {
    for (const auto& [service, why] : waiting) {
      QueueLater(Kind::kService, service, kRest + std::chrono::milliseconds(10));
    }
  }
  void QueuePoolsOf(const std::vector<api::AssignedAddress>& addresses) {
    for (const api::AssignedAddress& address : addresses) {
      QueueLater(Kind::kPool, address.pool_name, kCountsDelay);
    }
  }
};

struct Controller::Write {
  std::string base;  // the store's version
  api::LvsService service;
  api::LvsServiceStatus status;
};

Controller::Controller(const kube::Client& client, const Cluster& cluster,
                       kube::EventRecorder& events, Metrics& metrics, MayWrite may_write,
                       ControllerOptions options, const Clock& clock, Logger& log)
    : client_(client),
      cluster_(cluster),
      events_(events),
      metrics_(metrics),
      may_write_(std::move(may_write)),
      options_(options),
      clock_(clock),
      log_(log) {}

Controller::~Controller() = default;

void Controller::Changed(Kind kind, const std::vector<std::string>& keys) {
  std::shared_ptr<kube::WorkQueue> queue;
  {
    const std::lock_guard<std::mutex> lock(queue_mu_);
    queue = queue_;
  }
  if (queue == nullptr) return;
  for (const std::string& key : keys) queue->Add(KeyOf(kind, key));
}

void Controller::Lead(std::stop_token stop) {
  while (!stop.stop_requested() && !cluster_.Synced()) Wait(std::chrono::milliseconds(50), stop);
  auto queue = std::make_shared<kube::WorkQueue>(clock_, kBackoff);
  {
    // From here on changes are queued; Start looks at all that was before.
    const std::lock_guard<std::mutex> lock(queue_mu_);
    queue_ = queue;
  }
  {
    const std::lock_guard<std::mutex> lock(mu_);
    memory_ = std::make_unique<Memory>();
    memory_->queue = queue;
  }
  while (!stop.stop_requested()) {
    const absl::Status started = Start(stop);
    if (started.ok()) break;
    log_.Log(Level::kWarn, "cannot begin to lead", {{"error", Message(started)}});
    Wait(std::chrono::seconds(1), stop);
  }
  metrics_.SetLeader(true);
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < kWorkers && !stop.stop_requested(); ++i) {
      workers.emplace_back([this, queue, stop] {
        while (const std::optional<std::string> key = queue->Get(stop)) {
          const TimePoint began = clock_.Now();
          const absl::StatusOr<bool> written = Process(*key, stop);
          if (written.ok()) {
            queue->Forget(*key);
          } else if (!stop.stop_requested()) {
            const bool expected = kube::IsConflict(written.status());
            log_.Log(expected ? Level::kDebug : Level::kWarn, "will be tried again",
                     {{"key", *key}, {"error", Message(written.status())}});
            queue->AddRateLimited(*key);
          }
          queue->Done(*key);
          metrics_.Reconciled(!written.ok() ? ReconcileResult::kError
                              : *written    ? ReconcileResult::kWritten
                                            : ReconcileResult::kUnchanged,
                              clock_.Now() - began);
          metrics_.SetQueueLength(queue->Length());
        }
      });
    }
  }  // waits for the workers: no write is under way when the lease is released
  metrics_.SetLeader(false);
  const std::lock_guard<std::mutex> queue_lock(queue_mu_);
  queue_->Stop();
  queue_ = nullptr;
  const std::lock_guard<std::mutex> lock(mu_);
  memory_ = nullptr;
}

absl::Status Controller::Start(std::stop_token stop) {
  // Past the cache, which may not yet know the last writes of the leader before us.
  std::vector<api::LvsService> listed;
  const absl::StatusOr<std::string> version = client_.List(
      api::kLvsServices, {},
      [&](const json& object) -> absl::Status {
        absl::StatusOr<api::LvsService> service = api::DecodeLvsService(object);
        if (!service.ok()) service = DecodeStatusOnly(object);
        if (service.ok()) listed.push_back(*std::move(service));
        return absl::OkStatus();
      },
      stop);
  if (!version.ok()) return Annotate(version.status(), "list LVSServices");
  std::ranges::sort(listed, {}, [](const api::LvsService& service) {
    return std::tuple(service.meta.creation_timestamp, service.meta.Key());
  });

  const std::lock_guard<std::mutex> lock(mu_);
  Memory& memory = *memory_;
  const TimePoint now = clock_.Now();
  for (api::LvsService& service : listed) {
    const std::string key = service.meta.Key();
    const Claim claim = ClaimOf(service);
    std::vector<api::AssignedAddress> addresses;
    for (const api::AssignedAddress& address : service.status.addresses) {
      const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address.value);
      // Of two that have the same, the older keeps it.
      if (ip.ok() && memory.book.Conflict(key, *ip, claim).empty()) addresses.push_back(address);
    }
    memory.book.Set(key, addresses, claim, now);
    const auto stored = cluster_.services().Get(key);
    const std::string base = stored == nullptr ? "" : stored->meta.resource_version;
    if (base != service.meta.resource_version && !cluster_.Unreadable(key)) {
      memory.written_services[key] = {.base = base, .object = service};
    }
    memory.queue->Add(KeyOf(Kind::kService, key));
  }
  for (const auto& [name, node] : *cluster_.lvs_nodes().Snapshot()) {
    memory.reports[name] = node;
    for (const std::string& vip : node->status.answers_for) {
      const absl::StatusOr<IpAddress> ip = IpAddress::Parse(vip);
      if (ip.ok() && !memory.book.Held(*ip)) memory.book.Rest(*ip, now);
    }
  }
  for (const auto& [key, slice] : *cluster_.slices().Snapshot()) SliceChanged(key);
  NodesChanged();
  for (const auto& [name, group] : *cluster_.groups().Snapshot()) {
    memory.Queue(Kind::kGroup, name);
  }
  memory.queue->Add(kDefaultGroupKey);
  memory.queue->AddAfter(kTickKey, kTick);
  return absl::OkStatus();
}

absl::StatusOr<bool> Controller::Process(const std::string& key, std::stop_token stop) {
  const size_t slash = key.find('/');
  const std::string kind = key.substr(0, slash + 1);
  const std::string name = key.substr(slash + 1);
  if (kind == PrefixOf(Kind::kService)) return ReconcileService(name, stop);
  if (kind == PrefixOf(Kind::kPool)) return ReconcilePool(name, stop);
  if (kind == PrefixOf(Kind::kGroup)) return ReconcileGroup(name, stop);
  if (kind == kDefaultGroupKey) return ReconcileDefaultGroup(stop);
  const std::lock_guard<std::mutex> lock(mu_);
  if (kind == PrefixOf(Kind::kEndpointSlice)) {
    SliceChanged(name);
  } else if (kind == PrefixOf(Kind::kKubeService)) {
    QueueBackendsOf(name);
  } else if (kind == PrefixOf(Kind::kLvsNode)) {
    LvsNodeChanged(name);
  } else if (kind == PrefixOf(Kind::kNode) || kind == PrefixOf(Kind::kServiceCidr)) {
    NodesChanged();
  } else if (kind == PrefixOf(Kind::kNamespace)) {
    NamespaceChanged(name);
  } else {
    Tick();
  }
  return false;
}

// ---- LVSServices

std::optional<Controller::Write> Controller::PlanService(const std::string& key) {
  Memory& memory = *memory_;
  const auto stored = cluster_.services().Get(key);
  const auto service = Newest(cluster_.services(), memory.written_services, key);
  if (service == nullptr) {
    // Perhaps only not in the cache yet.
    if (!memory.written_services.contains(key)) ForgetService(key);
    return std::nullopt;
  }
  const api::LvsServiceSpec& spec = service->spec;
  memory.SetGroup(key, spec.director_group);
  std::set<std::string> uses;
  api::KubeServiceMap kube_services;
  api::SlicesByService slices;
  for (const api::BackendSource& backend : spec.backends) {
    if (backend.service_name.empty()) continue;
    const std::string name = service->meta.name_space + "/" + backend.service_name;
    uses.insert(name);
    if (auto kube_service = cluster_.kube_services().Get(name)) kube_services[name] = kube_service;
    if (const auto it = memory.slices.find(name); it != memory.slices.end()) {
      std::vector<std::shared_ptr<const api::EndpointSlice>>& list = slices[name];
      list.clear();
      for (const auto& [slice_key, slice] : it->second) list.push_back(slice);
    }
  }
  memory.SetUses(key, std::move(uses));

  const auto group = Newest(cluster_.groups(), memory.written_groups, spec.director_group);
  const std::optional<Dataplane> dataplane = api::EffectiveDataplane(spec, group.get());
  const std::vector<api::Problem> problems = api::Validate(*service, dataplane);

  std::optional<Allocation> allocation;
  if (problems.empty() && group != nullptr) {
    AllocationRequest request{.key = key,
                              .claim = ClaimOf(*service),
                              .requests = spec.addresses,
                              .namespace_labels = {},
                              .family = memory.default_family};
    if (const auto name_space = cluster_.namespaces().Get(service->meta.name_space)) {
      request.namespace_labels = name_space->meta.labels;
    }
    const TimePoint now = clock_.Now();
    allocation = Allocate(request, memory.pools, memory.book, now);
    const std::vector<api::AssignedAddress> had = memory.book.Of(key);
    memory.book.Set(key, allocation->addresses, request.claim, now);
    if (had != allocation->addresses) {
      memory.QueuePoolsOf(had);
      memory.QueuePoolsOf(allocation->addresses);
      if (!had.empty()) memory.QueueWaiting();
    }
    if (allocation->satisfied) {
      memory.waiting.erase(key);
    } else {
      memory.waiting[key] = allocation->reason;
      if (allocation->retry_at) {
        memory.QueueLater(Kind::kService, key, *allocation->retry_at - now);
      }
    }
  }

  Family family = memory.default_family;
  const std::vector<api::AssignedAddress> addresses = memory.book.Of(key);
  if (!addresses.empty()) {
    family = addresses.front().ip_family;
  } else if (!spec.addresses.empty() && spec.addresses.front().ip_family) {
    family = *spec.addresses.front().ip_family;
  }
  const api::Resolution resolution = api::Resolve({.service = *service,
                                                   .group = group.get(),
                                                   .services = kube_services,
                                                   .slices = slices,
                                                   .node_addresses = memory.node_addresses,
                                                   .vips = memory.book.Vips(),
                                                   .service_cidrs = memory.service_cidrs,
                                                   .family = family});
  Write write{.base = stored == nullptr ? "" : stored->meta.resource_version,
              .service = *service,
              .status = {}};
  const auto lvs_nodes = cluster_.lvs_nodes().Snapshot();
  const auto nodes = cluster_.nodes().Snapshot();
  write.status = ComputeStatus({.service = *service,
                                .group = group.get(),
                                .dataplane = dataplane,
                                .problems = problems,
                                .resolution = resolution,
                                .allocation = allocation ? &*allocation : nullptr,
                                .lvs_nodes = *lvs_nodes,
                                .nodes = *nodes,
                                .now = Now()});
  const auto is_true = [&](std::string_view type) {
    const api::Condition* condition = FindCondition(write.status.conditions, type);
    return condition != nullptr && condition->status == "True";
  };
  is_true("Programmed") ? void(memory.unprogrammed.erase(key))
                        : void(memory.unprogrammed.insert(key));
  is_true("Ready") ? void(memory.not_ready.erase(key)) : void(memory.not_ready.insert(key));
  metrics_.SetServices(memory.group_of.size(), memory.not_ready.size());
  if (write.status == service->status) return std::nullopt;
  return write;
}

void Controller::ForgetService(const std::string& key) {
  Memory& memory = *memory_;
  memory.QueuePoolsOf(memory.book.Of(key));
  if (!memory.book.Of(key).empty()) memory.QueueWaiting();
  memory.book.Remove(key, clock_.Now());
  memory.SetGroup(key, "");
  memory.SetUses(key, {});
  memory.waiting.erase(key);
  memory.unprogrammed.erase(key);
  memory.not_ready.erase(key);
  metrics_.SetServices(memory.group_of.size(), memory.not_ready.size());
}

absl::StatusOr<bool> Controller::ReconcileService(const std::string& key, std::stop_token stop) {
  if (const std::optional<std::string> why = cluster_.Unreadable(key)) {
    return ReconcileUnreadable(key, *why, stop);
  }
  std::optional<Write> write;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    write = PlanService(key);
  }
  if (!write) return false;
  const api::ObjectMeta& meta = write->service.meta;
  json answer;
  const absl::StatusOr<bool> written =
      Apply(api::kLvsServices, {meta.name_space, meta.name}, meta.resource_version,
            api::EncodeStatus(write->status), answer, stop);
  if (!written.ok() || !*written) return written;
  if (absl::StatusOr<api::LvsService> service = api::DecodeLvsService(answer); service.ok()) {
    const std::lock_guard<std::mutex> lock(mu_);
    memory_->written_services[key] = {.base = write->base, .object = *std::move(service)};
  }
  for (const api::Condition& condition : write->status.conditions) {
    const api::Condition* was = FindCondition(write->service.status.conditions, condition.type);
    if (was != nullptr && was->status == condition.status && was->reason == condition.reason) {
      continue;
    }
    kube::Event event{.about = {.api_version = api::kApiVersion,
                                .kind = "LVSService",
                                .object = {meta.name_space, meta.name},
                                .uid = meta.uid},
                      .type = kube::EventType::kWarning,
                      .reason = condition.reason,
                      .message = condition.message};
    const bool told = condition.type == "Accepted" || condition.type == "AddressesAssigned" ||
                      condition.type == "Programmed";
    if (condition.type == "AddressesAssigned" && condition.status == "True") {
      if (condition.reason == kAssigned) event.type = kube::EventType::kNormal;
      if (condition.reason == kAssigned) event.reason = "AddressAssigned";
      events_.Record(std::move(event));
    } else if (told && condition.status == "False") {
      events_.Record(std::move(event));
    }
  }
  log_.Log(Level::kInfo, "status written",
           {{"service", key},
            {"addresses", write->status.summary.addresses},
            {"real_servers", write->status.summary.real_servers},
            {"directors", write->status.summary.directors},
            {"ready", write->status.conditions.back().status},
            {"reason", write->status.conditions.back().reason}});
  return true;
}

absl::StatusOr<bool> Controller::ReconcileUnreadable(const std::string& key, const std::string& why,
                                                     std::stop_token stop) {
  const kube::ObjectName object = kube::ObjectName::FromKey(key);
  const absl::StatusOr<json> raw = client_.Get(api::kLvsServices, object, stop);
  if (absl::IsNotFound(raw.status())) return false;
  if (!raw.ok()) return raw.status();
  const absl::StatusOr<api::LvsService> service = DecodeStatusOnly(*raw);
  if (!service.ok()) {
    // Not even its status can be read, so nothing can be written that would keep its VIP.
    log_.Log(Level::kError, "LVSService cannot be read",
             {{"service", key}, {"error", Message(service.status())}});
    return false;
  }
  api::LvsServiceStatus status = service->status;
  const Verdict verdict{Truth::kFalse, api::kInvalidSpec, why};
  for (const char* type : {"Accepted", "Ready"}) {
    api::Condition condition =
        MakeCondition(type, verdict, service->meta.generation, service->status.conditions, Now());
    const auto it = std::ranges::find(status.conditions, type, &api::Condition::type);
    if (it == status.conditions.end()) {
      status.conditions.push_back(std::move(condition));
    } else {
      *it = std::move(condition);
    }
  }
  if (status == service->status) return false;
  json answer;
  return Apply(api::kLvsServices, object, service->meta.resource_version, api::EncodeStatus(status),
               answer, stop);
}

// ---- Pools and groups

absl::StatusOr<bool> Controller::ReconcilePool(const std::string& name, std::stop_token stop) {
  std::shared_ptr<const api::LvsAddressPool> pool;
  api::LvsAddressPool::Status status;
  std::string base;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    Memory& memory = *memory_;
    PoolsChanged();
    pool = Newest(cluster_.pools(), memory.written_pools, name);
    const auto view = std::ranges::find(memory.pools, name, &PoolView::name);
    if (pool == nullptr || view == memory.pools.end()) {
      metrics_.RemovePool(name);
      return false;
    }
    if (const auto stored = cluster_.pools().Get(name)) base = stored->meta.resource_version;
    status = ComputePoolStatus(*pool, *view, memory.book.HeldOf(name), Now());
    metrics_.SetPool(name, status);
  }
  if (status == pool->status) return false;
  json answer;
  const absl::StatusOr<bool> written =
      Apply(api::kLvsAddressPools, {"", name}, pool->meta.resource_version,
            api::EncodeStatus(status), answer, stop);
  if (!written.ok() || !*written) return written;
  if (absl::StatusOr<api::LvsAddressPool> after = api::DecodeLvsAddressPool(answer); after.ok()) {
    const std::lock_guard<std::mutex> lock(mu_);
    memory_->written_pools[name] = {.base = base, .object = *std::move(after)};
  }
  const api::Condition* was = FindCondition(pool->status.conditions, "Ready");
  const api::Condition& is = status.conditions.front();
  if (is.status == "False" && (was == nullptr || was->reason != is.reason)) {
    events_.Record({.about = {.api_version = api::kApiVersion,
                              .kind = "LVSAddressPool",
                              .object = {"", name},
                              .uid = pool->meta.uid},
                    .type = kube::EventType::kWarning,
                    .reason = is.reason,
                    .message = is.message});
  }
  return true;
}

absl::StatusOr<bool> Controller::ReconcileGroup(const std::string& name, std::stop_token stop) {
  std::shared_ptr<const api::LvsDirectorGroup> group;
  api::LvsDirectorGroup::Status status;
  std::string base;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    Memory& memory = *memory_;
    group = Newest(cluster_.groups(), memory.written_groups, name);
    // Its services: what they may do depends on it, whether it is there or not.
    if (Differ(memory.groups[name].get(), group.get())) {
      for (const auto& [service, of] : memory.group_of) {
        if (of == name) memory.Queue(Kind::kService, service);
      }
    }
    memory.groups[name] = group;
    if (group == nullptr) memory.groups.erase(name);
    if (group == nullptr) {
      memory.queue->Add(kDefaultGroupKey);
      // Younger groups may get its nodes.
      for (const auto& [other, unused] : *cluster_.groups().Snapshot()) {
        memory.QueueLater(Kind::kGroup, other, kCountsDelay);
      }
      return false;
    }
    if (const auto stored = cluster_.groups().Get(name)) base = stored->meta.resource_version;
    const auto size = memory.group_sizes.find(name);
    const auto groups = cluster_.groups().Snapshot();
    const auto nodes = cluster_.nodes().Snapshot();
    const auto lvs_nodes = cluster_.lvs_nodes().Snapshot();
    status = ComputeGroup({.group = *group,
                           .groups = *groups,
                           .nodes = *nodes,
                           .lvs_nodes = *lvs_nodes,
                           .services = size == memory.group_sizes.end() ? 0 : size->second,
                           .now = Now()});
    // What a younger group may have depends on this one's selector.
    if (group->status.observed_generation != group->meta.generation) {
      for (const auto& [other, unused] : *groups) {
        if (other != name) memory.QueueLater(Kind::kGroup, other, kCountsDelay);
      }
    }
  }
  if (status == group->status) return false;
  json answer;
  const absl::StatusOr<bool> written =
      Apply(api::kLvsDirectorGroups, {"", name}, group->meta.resource_version,
            api::EncodeStatus(status), answer, stop);
  if (!written.ok() || !*written) return written;
  if (absl::StatusOr<api::LvsDirectorGroup> after = api::DecodeLvsDirectorGroup(answer);
      after.ok()) {
    const std::lock_guard<std::mutex> lock(mu_);
    memory_->written_groups[name] = {.base = base, .object = *std::move(after)};
  }
  log_.Log(Level::kInfo, "group written",
           {{"group", name},
            {"epoch", std::to_string(status.epoch)},
            {"members", std::to_string(status.members.size())},
            {"dataplane", status.dataplane}});
  const api::Condition* was = FindCondition(group->status.conditions, "Ready");
  const api::Condition& is = status.conditions.front();
  const bool worse = is.status == "False" && (was == nullptr || was->reason != is.reason);
  if (worse || status.epoch != group->status.epoch) {
    events_.Record({.about = {.api_version = api::kApiVersion,
                              .kind = "LVSDirectorGroup",
                              .object = {"", name},
                              .uid = group->meta.uid},
                    .type = worse ? kube::EventType::kWarning : kube::EventType::kNormal,
                    .reason = worse ? is.reason : "MembersChanged",
                    .message = worse ? is.message
                                     : std::to_string(status.members.size()) +
                                           " members in epoch " + std::to_string(status.epoch)});
  }
  return true;
}

absl::StatusOr<bool> Controller::ReconcileDefaultGroup(std::stop_token stop) {
  if (!options_.create_default_group || !cluster_.groups().Snapshot()->empty()) return false;
  if (!may_write_()) return absl::UnavailableError("another replica may lead");
  const absl::StatusOr<bool> created = CreateDefaultGroup(client_, stop);
  if (created.ok() && *created) log_.Log(Level::kInfo, "group created", {{"group", "default"}});
  return created;
}

absl::StatusOr<bool> Controller::Apply(const kube::Resource& resource,
                                       const kube::ObjectName& object, const std::string& version,
                                       const json& status, json& answer, std::stop_token stop) {
  if (!may_write_()) return absl::UnavailableError("another replica may lead");
  json body = {{"status", status}};
  // Only this very version: of two leaders, or of an object deleted and made anew, none is harmed.
  body["metadata"]["resourceVersion"] = version;
  const absl::StatusOr<json> applied =
      client_.Apply(resource, object, body,
                    {.field_manager = kFieldManager, .force = true, .subresource = "status"}, stop);
  if (absl::IsNotFound(applied.status())) return false;
  if (!applied.ok()) return Annotate(applied.status(), "apply status of " + object.Key());
  answer = *applied;
  return true;
}

// ---- What changes make other objects due

void Controller::QueueAllServices() {
  for (const auto& [service, group] : memory_->group_of) memory_->Queue(Kind::kService, service);
}

void Controller::QueueBackendsOf(const std::string& service) {
  const auto it = memory_->used_by.find(service);
  if (it == memory_->used_by.end()) return;
  for (const std::string& key : it->second) memory_->Queue(Kind::kService, key);
}

void Controller::SliceChanged(const std::string& key) {
  Memory& memory = *memory_;
  if (const auto was = memory.slice_of.find(key); was != memory.slice_of.end()) {
    memory.slices[was->second].erase(key);
    if (memory.slices[was->second].empty()) memory.slices.erase(was->second);
    QueueBackendsOf(was->second);
    memory.slice_of.erase(was);
  }
  const auto slice = cluster_.slices().Get(key);
  if (slice == nullptr || slice->service_name.empty()) return;
  const std::string service = slice->meta.name_space + "/" + slice->service_name;
  memory.slice_of[key] = service;
  memory.slices[service][key] = slice;
  QueueBackendsOf(service);
}

void Controller::LvsNodeChanged(const std::string& name) {
  Memory& memory = *memory_;
  const std::shared_ptr<const api::LvsNode> is = cluster_.lvs_nodes().Get(name);
  std::shared_ptr<const api::LvsNode>& was = memory.reports[name];
  const ReportChange change = CompareReports(was.get(), is.get());
  was = is;
  if (is == nullptr) memory.reports.erase(name);
  for (const std::string& service : change.services) memory.Queue(Kind::kService, service);
  for (const std::string& vip : change.vips) {
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(vip);
    if (!ip.ok()) continue;
    for (const std::string& service : memory.book.HoldersOf(*ip)) {
      memory.Queue(Kind::kService, service);
    }
  }
  if (change.version) {
    for (const std::string& service : memory.unprogrammed) memory.Queue(Kind::kService, service);
  }
  if (change.all) QueueAllServices();
  // Groups learn from reports which dataplane their members can.
  if (!change.capabilities) return;
  for (const auto& [group, unused] : *cluster_.groups().Snapshot()) {
    memory.QueueLater(Kind::kGroup, group, std::chrono::milliseconds(50));
  }
}

void Controller::NodesChanged() {
  Memory& memory = *memory_;
  std::map<std::string, api::KubeNode> nodes;
  for (const auto& [name, node] : *cluster_.nodes().Snapshot()) {
    api::KubeNode what_matters = *node;
    what_matters.meta = {};
    what_matters.meta.labels = node->meta.labels;
    nodes.emplace(name, std::move(what_matters));
  }
  std::vector<ClusterNetwork> networks;
  std::set<IpAddress> addresses;
  for (const auto& [name, node] : nodes) {
    for (const std::string& text : node.internal_addresses) {
      if (const absl::StatusOr<IpAddress> ip = IpAddress::Parse(text); ip.ok()) {
        addresses.insert(*ip);
        networks.push_back({.cidr = Cidr::Host(*ip), .what = "the address of Node " + name});
      }
    }
    for (const Cidr& cidr : api::ParseCidrs(node.pod_cidrs)) {
      networks.push_back({.cidr = cidr, .what = "the pods' network of Node " + name});
    }
  }
  std::vector<Cidr> service_cidrs;
  for (const auto& [name, object] : *cluster_.service_cidrs().Snapshot()) {
    const std::vector<Cidr> cidrs = api::ParseCidrs(object->cidrs);
    if (name == "kubernetes" && !cidrs.empty()) {
      memory.default_family = cidrs.front().address.family;
    }
    for (const Cidr& cidr : cidrs) {
      service_cidrs.push_back(cidr);
      networks.push_back({.cidr = cidr, .what = "the Services' network " + name});
    }
  }
  const bool networks_changed = networks != memory.networks;
  const bool nodes_changed = nodes != memory.nodes;
  memory.networks = std::move(networks);
  memory.nodes = std::move(nodes);
  memory.node_addresses = std::move(addresses);
  memory.service_cidrs = std::move(service_cidrs);
  PoolsChanged();
  if (networks_changed) {
    for (const auto& [name, pool] : *cluster_.pools().Snapshot()) memory.Queue(Kind::kPool, name);
  }
  if (nodes_changed) {
    for (const auto& [name, group] : *cluster_.groups().Snapshot()) {
      memory.Queue(Kind::kGroup, name);
    }
  }
  if (nodes_changed || networks_changed) QueueAllServices();
}

void Controller::PoolsChanged() {
  Memory& memory = *memory_;
  std::vector<PoolView> views = ViewPools(*cluster_.pools().Snapshot(), memory.networks);
  if (views == memory.pools) return;
  memory.pools = std::move(views);
  for (const PoolView& view : memory.pools) memory.Queue(Kind::kPool, view.name);
  QueueAllServices();
}

void Controller::NamespaceChanged(const std::string& name) {
  const std::string prefix = name + "/";
  const auto& services = memory_->group_of;
  for (auto it = services.lower_bound(prefix);
       it != services.end() && it->first.starts_with(prefix); ++it) {
    memory_->Queue(Kind::kService, it->first);
  }
}

void Controller::Tick() {
  Memory& memory = *memory_;
  const std::map<std::string, std::string> unreadable = cluster_.UnreadableServices();
  for (const auto& [key, why] : unreadable) memory.Queue(Kind::kService, key);
  // Whoever was in their way may have changed its ports meanwhile. (What is given back, and pools
  // that change, make the others due.)
  for (const auto& [service, why] : memory.waiting) {
    if (why == kAddressConflict) memory.Queue(Kind::kService, service);
  }
  // Unreadable ones that are gone now: no store has told us.
  std::vector<std::string> known;
  for (const IpAddress& vip : memory.book.Vips()) {
    for (const std::string& key : memory.book.HoldersOf(vip)) known.push_back(key);
  }
  for (const std::string& key : known) {
    if (!unreadable.contains(key) && cluster_.services().Get(key) == nullptr &&
        !memory.written_services.contains(key)) {
      ForgetService(key);
    }
  }
  // No store tells that a group which cannot be read is gone.
  memory.queue->Add(kDefaultGroupKey);
  memory.queue->AddAfter(kTickKey, kTick);
}

std::string Controller::Now() const {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(clock_.Wall());
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace kube_lvs::controller
