// What goes on without a change of rules: ids that rest, addresses that replies come by, ways to
// real servers.
#include <atomic>

#include "base/status.h"
#include "dataplane/ebpf/service_records.h"
#include "dataplane/ebpf/service_tables.h"
#include "dataplane/ebpf/wide_ports.h"

namespace kube_lvs::ebpf {
namespace {

// How long templates of a removed real server wait for it, as the kernel's trash does
// (IP_VS_DEST_TRASH_PERIOD).
constexpr Duration kTemplatesWait = std::chrono::seconds(120);

}  // namespace

void ServiceTables::Retire(const RealKey& key, TimePoint now) {
  const uint32_t id = real_ids_->Find(key);
  if (id == 0) return;
  real_ids_->Retire(key);
  real_rests_since_[key] = now;
  RealRecord record = Record(id);
  if (!IsValid(record.real)) return;
  record.real.flags |= KLVS_REAL_REMOVED;
  Store(id, record);
}

bool ServiceTables::IsNeeded(uint32_t id, Duration rested) {
  if (conns_[id].active != 0 || conns_[id].inactive != 0 || rested < kRest) return true;
  if (std::atomic_ref<uint32_t>(templates_[id].templates).load() == 0) return false;
  if (rested >= kTemplatesWait && IsValid(reals_[id])) {
    std::atomic_ref<uint8_t>(reals_[id].flags).fetch_or(KLVS_REAL_FORGOTTEN);
  }
  return true;
}

absl::Status ServiceTables::RemoveStaleVips() {
  for (auto vip = stale_vips_.begin(); vip != stale_vips_.end();) {
    if (!HasServices(*vip)) {
      KUBE_LVS_ASSIGN_OR_RETURN(const auto address, addresses_.Find(*vip));
      if (address && (address->flags & KLVS_ADDRESS_ANSWER_ARP) == 0) {
        KUBE_LVS_RETURN_IF_ERROR(addresses_.RemoveVip(*vip));
      }
    }
    vip = stale_vips_.erase(vip);
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::Sweep(TimePoint now) {
  KUBE_LVS_RETURN_IF_ERROR(RemoveStaleVips());
  KUBE_LVS_RETURN_IF_ERROR(addresses_.TidyFilter());
  if (stale_ports_) {
    KUBE_LVS_RETURN_IF_ERROR(TidyPorts(maps_));
    stale_ports_ = false;
  }
  std::set<uint32_t> referred;
  for (auto rest = real_rests_since_.begin(); rest != real_rests_since_.end();) {
    const auto& [key, since] = *rest;
    const uint32_t id = real_ids_->FindResting(key);
    if (id != 0 && IsNeeded(id, now - since)) {
      referred.insert(key.first);
      ++rest;
      continue;
    }
    if (id != 0 && IsValid(reals_[id])) {
      std::atomic_ref<uint8_t>(reals_[id].flags).store(0);
      reals_[id] = klvs_real{};
      ends6_[id] = klvs_real6{};
      ends_changed_ = true;
    }
    real_ids_->Release(key);  // no effect on one that is live again
    rest = real_rests_since_.erase(rest);
  }
  for (auto rest = service_rests_since_.begin(); rest != service_rests_since_.end();) {
    const auto& [key, since] = *rest;
    const uint32_t id = service_ids_->FindResting(key);
    if (id != 0 && (referred.contains(id) || now - since < kRest)) {
      ++rest;
      continue;
    }
    if (id != 0) ClearState(id);
    service_ids_->Release(key);
    rest = service_rests_since_.erase(rest);
  }
  if (!ends_changed_) return absl::OkStatus();

  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, GetServices(maps_));
  std::map<uint32_t, bool> source_nat;
  for (const auto& [key, service] : entries) {
    source_nat[service.id] = (service.flags & KLVS_SERVICE_SOURCE_NAT) != 0;
  }
  std::map<IpAddress, uint32_t> wanted;
  std::map<IpAddress, uint32_t> allowed;
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    const klvs_real& record = reals_[id];
    if (!IsValid(record)) continue;
    const IpAddress source = Record(id).Source();
    const IpAddress address = Record(id).Address();
    // Connections go on as they began, whatever the service says now.
    if (IsRemoved(record) || conns_[id].active != 0 || conns_[id].inactive != 0) {
      allowed[source] |= KLVS_ADDRESS_SNAT;
      allowed[address] |= KLVS_ADDRESS_NAT_REAL;
    }
    if (record.method == KLVS_METHOD_TUNNEL) wanted[source] |= KLVS_ADDRESS_TUNNEL;
    const auto service = source_nat.find(record.service);
    if (IsRemoved(record) || record.method != KLVS_METHOD_NAT || service == source_nat.end()) {
      continue;
    }
    if (service->second) {
      wanted[source] |= KLVS_ADDRESS_SNAT;
    } else {
      wanted[address] |= KLVS_ADDRESS_NAT_REAL;
    }
  }
  KUBE_LVS_ASSIGN_OR_RETURN(ends_changed_, addresses_.KeepEnds(wanted, allowed));
  return absl::OkStatus();
}

absl::Status ServiceTables::RefreshWays() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, GetServices(maps_));
  std::set<uint32_t> source_nat;
  for (const auto& [key, service] : entries) {
    if ((service.flags & KLVS_SERVICE_SOURCE_NAT) != 0) source_nat.insert(service.id);
  }
  std::set<IpAddress> tunnel_sources;
  std::map<uint32_t, uint32_t> local;  // by service
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    if (!IsValid(reals_[id])) continue;
    const RealRecord before = Record(id);
    RealRecord record = before;
    // Connections go on as they began, also when their service is no more.
    const bool began =
        (IsRemoved(record.real) || conns_[id].active != 0 || conns_[id].inactive != 0) &&
        before.Source() == LocalLinkSource(record.Address().family);
    const bool translated = record.real.method == KLVS_METHOD_NAT &&
                            (began || source_nat.contains(record.real.service));
    SetWay(way_to_(record.Address(), translated), record);
    if (translated && record.Source() != before.Source()) {
      KUBE_LVS_RETURN_IF_ERROR(addresses_.AddEnd(record.Source(), KLVS_ADDRESS_SNAT));
      ends_changed_ = true;
    }
    if (record.real.method == KLVS_METHOD_TUNNEL) {
      tunnel_sources.insert(record.Source());
      ends_changed_ = ends_changed_ || record.Source() != before.Source();
    }
    Store(id, record);
    if (IsDelivered(record.real)) local.emplace(record.real.service, id);
  }
  for (const auto& [key, service] : entries) {
    klvs_service next = service;
    const auto found = local.find(service.id);
    SetDelivery(service, found == local.end() ? 0 : found->second, next);
    if (next.delivers == service.delivers && next.local == service.local) continue;
    KUBE_LVS_RETURN_IF_ERROR(PutService(maps_, key, next));
  }
  for (const IpAddress& source : tunnel_sources) {
    KUBE_LVS_RETURN_IF_ERROR(addresses_.AddEnd(source, KLVS_ADDRESS_TUNNEL));
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
