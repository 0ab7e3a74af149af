#include "node-agent/sources/kube_source.h"

#include <condition_variable>
#include <nlohmann/json.hpp>
#include <thread>
#include <type_traits>

#include "base/status.h"
#include "kube/api/decode.h"
#include "kube/api/kinds.h"
#include "kube/json.h"

namespace kube_lvs {

namespace {

// Deleting a CustomResourceDefinition deletes its objects first, one by one, as if each had been
// meant. `name` is its name; empty for kinds of Kubernetes itself.
std::function<std::optional<std::string>(std::stop_token)> AskForDefinition(
    const kube::Client& client, const std::string& name) {
  if (name.empty()) return nullptr;
  return [&client, name](std::stop_token stop) -> std::optional<std::string> {
    const absl::StatusOr<nlohmann::json> found =
        client.Get(kube::kCustomResourceDefinitions, {.name = name}, std::move(stop));
    if (absl::IsNotFound(found.status())) return std::nullopt;
    if (!found.ok()) return "";
    const absl::StatusOr<kube::ObjectMeta> meta = kube::DecodeMeta(*found);
    if (!meta.ok()) return "";
    if (meta->deleting) return std::nullopt;
    return meta->uid;
  };
}

// Whether the operator has written what rules are made of. Who brings an object back brings its
// spec; until then the rules that are there are better than none.
bool IsWhole(const api::LvsService& service) { return !service.status.addresses.empty(); }
bool IsWhole(const api::LvsDirectorGroup& group) { return !group.status.members.empty(); }
bool IsWhole(const api::LvsAddressPool& pool) { return !pool.status.cidrs.empty(); }
template <typename T>
bool IsWhole(const T&) {
  return true;
}

template <typename T>
std::map<std::string, kube::ObjectSink::Object> OfKind(
    const std::map<ObjectId, api::AnyObject>& objects) {
  std::map<std::string, kube::ObjectSink::Object> out;
  for (const auto& [id, object] : objects) {
    if (const T* same_kind = std::get_if<T>(&object)) {
      out[id.second] = std::make_shared<const T>(*same_kind);
    }
  }
  return out;
}

// Who uses a Service, and what is its, must be found without a look at all.
template <typename T>
typename ObjectMap<T>::Names NamesIn() {
  if constexpr (std::is_same_v<T, api::LvsService> || std::is_same_v<T, api::EndpointSlice>) {
    return [](const T& object) { return api::ServicesOf(object); };
  }
  return nullptr;
}

std::string DefinitionOf(const kube::Resource& resource) {
  if (resource.group != api::kLvsServices.group) return "";
  return std::string(resource.plural) + "." + std::string(resource.group);
}

}  // namespace

template <typename T>
struct KubeSource::Kind {
  using DecodeFunction = absl::StatusOr<T> (*)(const nlohmann::json&, const api::DecodeOptions&);

  Kind(KubeSource& source, const kube::Client& client, const kube::Resource& resource,
       DecodeFunction decode, uint64_t seed, const Clock& clock, Logger& log)
      : name(resource.kind),
        store(
            [&source](const std::vector<std::string>&) {
              const std::lock_guard<std::mutex> lock(source.changed_mu_);
              if (source.changed_) source.changed_();
            },
            NamesIn<T>()),
        reflector(
            client,
            [&] {
              kube::ReflectorOptions options;
              options.resource = resource;
              options.seed = seed;
              options.definition = AskForDefinition(client, DefinitionOf(resource));
              options.remembered = OfKind<T>(source.cached_);
              return options;
            }(),
            [decode](const nlohmann::json& object) { return decode(object, {}); }, store, clock,
            log, [](const T& object) { return IsWhole(object); }) {}

  // What the store has, and the last good version of what could not be read from the start.
  Snapshot::Objects<T> Objects(const std::map<ObjectId, api::AnyObject>& cached) const {
    const auto stored = store.Snapshot();
    std::shared_ptr<ObjectMap<T>> more;
    for (const auto& [key, why] : reflector.Undecodable()) {
      if (stored->contains(key)) continue;
      for (const auto& [id, object] : cached) {
        const T* same_kind = std::get_if<T>(&object);
        if (same_kind == nullptr || id.second != key) continue;
        if (more == nullptr) more = std::make_shared<ObjectMap<T>>(*stored);
        more->emplace(key, std::make_shared<const T>(*same_kind));
      }
    }
    if (more != nullptr) return more;
    return stored;
  }

  // Whether the store has what exists, as far as it can be known. Networks of Services only narrow
  // what may be a real server: an API server that has no such kind, or does not show them, holds up
  // nothing.
  bool Complete() const {
    if constexpr (std::is_same_v<T, api::KubeServiceCidr>) {
      if (!reflector.LastError().ok()) return true;
    }
    return reflector.Synced();
  }

  void AddProblems(std::vector<SourceProblem>& problems) const {
    const absl::Status status = reflector.LastError();
    const bool is_older = std::is_same_v<T, api::KubeServiceCidr> && absl::IsNotFound(status);
    if (!status.ok() && !is_older) {
      problems.push_back({name, Message(status)});
    }
    for (const auto& [key, why] : reflector.Undecodable()) {
      problems.push_back({name + " " + key, why});
    }
    for (const std::string& key : reflector.Kept()) {
      problems.push_back({name + " " + key,
                          "it went with its CustomResourceDefinition, which is back: apply it "
                          "again, or its rules go within a minute"});
    }
    if (reflector.Nameless()) {
      problems.push_back({name, "the API server told of one without a name: it is left out"});
    }
  }

  const std::string name;
  kube::Store<T> store;
  kube::Reflector<T> reflector;
};

struct KubeSource::Kinds {
  Kinds(KubeSource& source, const kube::Client& client, uint64_t seed, const Clock& clock,
        Logger& log)
      : services(source, client, api::kLvsServices, api::DecodeLvsService, seed, clock, log),
        groups(source, client, api::kLvsDirectorGroups, api::DecodeLvsDirectorGroup, seed + 1,
               clock, log),
        pools(source, client, api::kLvsAddressPools, api::DecodeLvsAddressPool, seed + 2, clock,
              log),
        kube_services(source, client, kube::kServices, api::DecodeKubeService, seed + 3, clock,
                      log),
        slices(source, client, kube::kEndpointSlices, api::DecodeEndpointSlice, seed + 4, clock,
               log),
        nodes(source, client, kube::kNodes, api::DecodeKubeNode, seed + 5, clock, log),
        service_cidrs(source, client, kube::kServiceCidrs, api::DecodeKubeServiceCidr, seed + 6,
                      clock, log) {}

  // Calls `f` with each kind.
  template <typename F>
  void ForEach(F f) {
    f(services);
    f(groups);
    f(pools);
    f(kube_services);
    f(slices);
    f(nodes);
    f(service_cidrs);
  }

  Kind<api::LvsService> services;
  Kind<api::LvsDirectorGroup> groups;
  Kind<api::LvsAddressPool> pools;
  Kind<api::KubeService> kube_services;
  Kind<api::EndpointSlice> slices;
  Kind<api::KubeNode> nodes;
  Kind<api::KubeServiceCidr> service_cidrs;
};

KubeSource::KubeSource(const kube::Client& client, std::map<ObjectId, api::AnyObject> cached,
                       const Clock& clock, Logger& log, Duration patience)
    : clock_(clock),
      patience_(patience),
      started_(clock.Now()),
      cached_(std::move(cached)),
      kinds_(std::make_unique<Kinds>(*this, client,
                                     static_cast<uint64_t>(clock.Wall().time_since_epoch().count()),
                                     clock, log)),
      last_(std::make_shared<const Snapshot>()) {}

KubeSource::~KubeSource() = default;

bool KubeSource::Complete() const {
  bool complete = true;
  kinds_->ForEach([&complete](const auto& kind) { complete = complete && kind.Complete(); });
  return complete;
}

Snapshot KubeSource::FromStores() {
  Snapshot snapshot;
  snapshot.services = kinds_->services.Objects(cached_);
  snapshot.groups = kinds_->groups.Objects(cached_);
  snapshot.pools = kinds_->pools.Objects(cached_);
  snapshot.kube_services = kinds_->kube_services.Objects(cached_);
  snapshot.endpoint_slices = kinds_->slices.Objects(cached_);
  snapshot.nodes = kinds_->nodes.Objects(cached_);
  snapshot.service_cidrs = kinds_->service_cidrs.Objects(cached_);
  return snapshot;
}

SnapshotPtr KubeSource::Get() {
  const std::lock_guard<std::mutex> lock(mu_);
  Snapshot snapshot;
  const bool complete = Complete();
  if (complete) {
    snapshot = FromStores();
  } else if (last_->complete || clock_.Now() - started_ < patience_) {
    return last_;
  } else if (last_->kubernetes) {
    snapshot = *last_;  // the cache, which does not change
  } else {
    snapshot = SnapshotOf(cached_);
  }
  snapshot.kubernetes = true;
  snapshot.complete = complete;
  snapshot.problems.clear();
  kinds_->ForEach([&snapshot](const auto& kind) { kind.AddProblems(snapshot.problems); });
  const bool same =
      snapshot.complete == last_->complete && last_->kubernetes &&
      snapshot.services == last_->services && snapshot.groups == last_->groups &&
      snapshot.pools == last_->pools && snapshot.kube_services == last_->kube_services &&
      snapshot.endpoint_slices == last_->endpoint_slices && snapshot.nodes == last_->nodes &&
      snapshot.service_cidrs == last_->service_cidrs && snapshot.problems == last_->problems;
  if (!same) last_ = std::make_shared<const Snapshot>(std::move(snapshot));
  return last_;
}

absl::Status KubeSource::Run(std::stop_token stop, std::function<void()> changed) {
  {
    const std::lock_guard<std::mutex> lock(changed_mu_);
    changed_ = changed;
  }
  std::vector<std::jthread> threads;
  kinds_->ForEach([&](auto& kind) {
    threads.emplace_back([&kind, stop] { kind.reflector.Run(stop).IgnoreError(); });  // OK at stop
  });
  {
    // The loop must look again when patience ends, whatever the API server does.
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock<std::mutex> lock(mutex);
    never.wait_for(lock, stop, patience_, [] { return false; });
    if (!stop.stop_requested()) changed();
    never.wait(lock, stop, [] { return false; });
  }
  threads.clear();  // joins
  const std::lock_guard<std::mutex> lock(changed_mu_);
  changed_ = nullptr;
  return absl::OkStatus();
}

}  // namespace kube_lvs
