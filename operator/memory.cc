#include "operator/memory.h"

#include <algorithm>
#include <string_view>
#include <tuple>

#include "operator/conditions.h"
#include "operator/status.h"

namespace kube_lvs::controller {
namespace {

// Whether a service may fare differently with another state of its group.
bool Differ(const api::LvsDirectorGroup* a, const api::LvsDirectorGroup* b) {
  if (a == nullptr || b == nullptr) return a != b;
  return a->spec != b->spec || a->status.members != b->status.members ||
         a->status.dataplane != b->status.dataplane;
}

bool IsTrue(const std::vector<api::Condition>& conditions, std::string_view type) {
  const api::Condition* condition = FindCondition(conditions, type);
  return condition != nullptr && condition->status == "True";
}

void SetMember(std::set<std::string>& set, const std::string& key, bool member) {
  if (member) {
    set.insert(key);
  } else {
    set.erase(key);
  }
}

}  // namespace

void Memory::Inherit(std::vector<api::LvsService> services, const LvsNodeMap& reports,
                     TimePoint now) {
  std::ranges::sort(services, {}, [](const api::LvsService& service) {
    return std::tuple(service.meta.creation_timestamp, service.meta.Key());
  });
  for (const api::LvsService& service : services) {
    const std::string key = service.meta.Key();
    const Claim claim = ClaimOf(service);
    std::vector<api::AssignedAddress> addresses;
    for (const api::AssignedAddress& address : service.status.addresses) {
      const absl::StatusOr<Cidr> vips = Cidr::Parse(address.value);
      if (vips.ok() && book_.Conflict(key, *vips, claim).empty()) addresses.push_back(address);
    }
    book_.Set(key, addresses, claim, now);
    Now(Kind::kService, key);
  }
  for (const auto& [name, node] : reports) {
    reports_[name] = node;
    for (const std::string& vip : node->status.answers_for) {
      const absl::StatusOr<Cidr> vips = Cidr::Parse(vip);
      if (vips.ok() && !book_.Held(*vips)) book_.Rest(*vips, now);
    }
  }
}

void Memory::Begin(const GroupMap& groups) {
  for (const auto& [name, group] : groups) Now(Kind::kGroup, name);
  Now(kDefaultGroupKey);
  due_.push_back({.key = kTickKey, .after = kTick});
}

void Memory::SliceChanged(const std::string& key, std::shared_ptr<const api::EndpointSlice> slice) {
  if (const auto was = slice_of_.find(key); was != slice_of_.end()) {
    slices_[was->second].erase(key);
    if (slices_[was->second].empty()) slices_.erase(was->second);
    KubeServiceChanged(was->second);
    slice_of_.erase(was);
  }
  if (slice == nullptr || slice->service_name.empty()) return;
  const std::string service = slice->meta.name_space + "/" + slice->service_name;
  slice_of_[key] = service;
  slices_[service][key] = std::move(slice);
  KubeServiceChanged(service);
}

void Memory::KubeServiceChanged(const std::string& key) {
  const auto it = used_by_.find(key);
  if (it == used_by_.end()) return;
  for (const std::string& service : it->second) Now(Kind::kService, service);
}

void Memory::ReportChanged(const std::string& node, std::shared_ptr<const api::LvsNode> report,
                           const GroupMap& groups) {
  std::shared_ptr<const api::LvsNode>& was = reports_[node];
  const ReportChange change = CompareReports(was.get(), report.get());
  was = report;
  if (report == nullptr) reports_.erase(node);
  for (const std::string& service : change.services) Now(Kind::kService, service);
  for (const std::string& vip : change.vips) {
    const absl::StatusOr<Cidr> vips = Cidr::Parse(vip);
    if (!vips.ok()) continue;
    for (const std::string& service : book_.HoldersOf(*vips)) Now(Kind::kService, service);
  }
  if (change.version) {
    for (const std::string& service : unprogrammed_) Now(Kind::kService, service);
  }
  if (change.all) AllServices();
  // Groups learn from reports which dataplane their members can.
  if (!change.capabilities) return;
  for (const auto& [group, unused] : groups) {
    Later(Kind::kGroup, group, std::chrono::milliseconds(50));
  }
}

void Memory::NodesChanged(const NodeMap& nodes, const ServiceCidrs& cidrs, const PoolMap& pools,
                          const GroupMap& groups) {
  std::map<std::string, api::KubeNode> matters;
  for (const auto& [name, node] : nodes) {
    api::KubeNode what_matters = *node;
    what_matters.meta = {};
    what_matters.meta.labels = node->meta.labels;
    matters.emplace(name, std::move(what_matters));
  }
  Networks networks = NetworksOf(nodes, cidrs);
  const bool networks_changed = networks.all != networks_.all;
  const bool nodes_changed = matters != nodes_;
  networks_ = std::move(networks);
  nodes_ = std::move(matters);
  PoolsChanged(pools);
  if (networks_changed) {
    for (const auto& [name, pool] : pools) Now(Kind::kPool, name);
  }
  if (nodes_changed) {
    for (const auto& [name, group] : groups) Now(Kind::kGroup, name);
  }
  if (nodes_changed || networks_changed) AllServices();
}

void Memory::PoolsChanged(const PoolMap& pools) {
  std::vector<PoolView> views = ViewPools(pools, networks_.all);
  if (views == pools_) return;
  pools_ = std::move(views);
  for (const PoolView& view : pools_) Now(Kind::kPool, view.name);
  AllServices();
}

void Memory::GroupChanged(const std::string& name,
                          std::shared_ptr<const api::LvsDirectorGroup> group,
                          const GroupMap& groups) {
  // Its services: what they may do depends on it, whether it is there or not.
  if (Differ(groups_[name].get(), group.get())) {
    for (const auto& [service, of] : group_of_) {
      if (of == name) Now(Kind::kService, service);
    }
  }
  groups_[name] = group;
  if (group == nullptr) {
    groups_.erase(name);
    Now(kDefaultGroupKey);
  }
  // Which nodes a younger group may have depends on this one's selector.
  if (group != nullptr && group->status.observed_generation == group->meta.generation) return;
  for (const auto& [other, unused] : groups) {
    if (other != name) Later(Kind::kGroup, other, kCountsDelay);
  }
}

void Memory::NamespaceChanged(const std::string& name) {
  const std::string prefix = name + "/";
  for (auto it = group_of_.lower_bound(prefix);
       it != group_of_.end() && it->first.starts_with(prefix); ++it) {
    Now(Kind::kService, it->first);
  }
}

void Memory::Tick(const Texts& unreadable) {
  for (const auto& [key, why] : unreadable) Now(Kind::kService, key);
  // Whoever was in their way may have changed its ports meanwhile. (What is given back, and pools
  // that change, make the others due.)
  for (const auto& [service, why] : waiting_) {
    if (why == kAddressConflict) Now(Kind::kService, service);
  }
  // No store tells that a group which cannot be read is gone.
  Now(kDefaultGroupKey);
  due_.push_back({.key = kTickKey, .after = kTick});
}

void Memory::ServiceUses(const std::string& key, const std::string& group,
                         std::set<std::string> services) {
  SetGroup(key, group);
  SetUses(key, std::move(services));
}

void Memory::Granted(const std::string& key, const Claim& claim, const Allocation& allocation,
                     TimePoint now) {
  const std::vector<api::AssignedAddress> had = book_.Of(key);
  book_.Set(key, allocation.addresses, claim, now);
  if (had != allocation.addresses) {
    PoolsOf(had);
    PoolsOf(allocation.addresses);
    if (!had.empty()) Waiting();
  }
  if (allocation.satisfied) {
    waiting_.erase(key);
    return;
  }
  waiting_[key] = allocation.reason;
  if (allocation.retry_at) Later(Kind::kService, key, *allocation.retry_at - now);
}

void Memory::Judged(const std::string& key, const std::vector<api::Condition>& conditions) {
  SetMember(unprogrammed_, key, !IsTrue(conditions, "Programmed"));
  SetMember(not_ready_, key, !IsTrue(conditions, "Ready"));
}

void Memory::ForgetService(const std::string& key, TimePoint now) {
  const std::vector<api::AssignedAddress> had = book_.Of(key);
  PoolsOf(had);
  if (!had.empty()) Waiting();
  book_.Remove(key, now);
  SetGroup(key, "");
  SetUses(key, {});
  waiting_.erase(key);
  unprogrammed_.erase(key);
  not_ready_.erase(key);
}

std::vector<std::shared_ptr<const api::EndpointSlice>> Memory::SlicesOf(
    const std::string& service) const {
  std::vector<std::shared_ptr<const api::EndpointSlice>> out;
  if (const auto it = slices_.find(service); it != slices_.end()) {
    for (const auto& [key, slice] : it->second) out.push_back(slice);
  }
  return out;
}

int Memory::ServicesOf(const std::string& group) const {
  const auto it = group_sizes_.find(group);
  return it == group_sizes_.end() ? 0 : it->second;
}

void Memory::AllServices() {
  for (const auto& [service, group] : group_of_) Now(Kind::kService, service);
}

// An address was given back: it may be had after its rest.
void Memory::Waiting() {
  for (const auto& [service, why] : waiting_) {
    Later(Kind::kService, service, kRest + std::chrono::milliseconds(10));
  }
}

void Memory::PoolsOf(const std::vector<api::AssignedAddress>& addresses) {
  for (const api::AssignedAddress& address : addresses) {
    Later(Kind::kPool, address.pool_name, kCountsDelay);
  }
}

void Memory::SetGroup(const std::string& service, const std::string& group) {
  const auto it = group_of_.find(service);
  const std::string was = it == group_of_.end() ? "" : it->second;
  if (was == group) return;
  if (!was.empty() && --group_sizes_[was] == 0) group_sizes_.erase(was);
  if (!was.empty()) Later(Kind::kGroup, was, kCountsDelay);
  if (group.empty()) {
    group_of_.erase(service);
    return;
  }
  ++group_sizes_[group];
  Later(Kind::kGroup, group, kCountsDelay);
  group_of_[service] = group;
}

void Memory::SetUses(const std::string& service, std::set<std::string> now) {
  std::set<std::string>& was = uses_[service];
  for (const std::string& name : was) {
    used_by_[name].erase(service);
    if (used_by_[name].empty()) used_by_.erase(name);
  }
  for (const std::string& name : now) used_by_[name].insert(service);
  was = std::move(now);
  if (was.empty()) uses_.erase(service);
}

}  // namespace kube_lvs::controller
