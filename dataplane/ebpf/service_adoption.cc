// The tables at a start: taken over as they are, what a crash left half done put right.
#include "base/status.h"
#include "dataplane/ebpf/service_records.h"
#include "dataplane/ebpf/service_tables.h"
#include "dataplane/ebpf/wide_ports.h"

namespace kube_lvs::ebpf {

absl::StatusOr<std::unique_ptr<ServiceTables>> ServiceTables::Adopt(MapStore& maps,
                                                                    Addresses& addresses,
                                                                    WayTo way_to, TimePoint now) {
  std::unique_ptr<ServiceTables> out(new ServiceTables(maps, addresses, std::move(way_to)));
  KUBE_LVS_RETURN_IF_ERROR(out->Map());
  KUBE_LVS_RETURN_IF_ERROR(out->AdoptServices(now));
  return out;
}

absl::Status ServiceTables::Map() {
  KUBE_LVS_ASSIGN_OR_RETURN(states_, GetArray<klvs_service_state>(maps_, kServiceStateMap));
  KUBE_LVS_ASSIGN_OR_RETURN(wide_states_, GetArray<klvs_wide_state>(maps_, kWideStateMap));
  KUBE_LVS_ASSIGN_OR_RETURN(vips6_, GetArray<klvs_in6>(maps_, kServiceVips6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(localities_, GetArray<klvs_locality>(maps_, kLocalityMap));
  if (localities_.size() < states_.size() || vips6_.size() < states_.size() ||
      wide_states_.size() < states_.size()) {
    return absl::DataLossError(
        "klvs_locality, klvs_service_vips6 or klvs_wide_state is smaller than klvs_service_state");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(lists_, GetArray<klvs_list_entry>(maps_, kListsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(tables_, GetArray<TableCell>(maps_, kTablesMap));
  KUBE_LVS_ASSIGN_OR_RETURN(reals_, GetArray<klvs_real>(maps_, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(ends6_, GetArray<klvs_real6>(maps_, kReals6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(conns_, GetArray<klvs_real_conns>(maps_, kRealConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(templates_, GetArray<TemplateCount>(maps_, kRealTemplatesMap));
  if (conns_.size() < reals_.size() || ends6_.size() < reals_.size() ||
      templates_.size() < reals_.size()) {
    return absl::DataLossError(
        "klvs_real_conns, klvs_reals6 or klvs_real_templates is smaller than klvs_reals");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(service_capacity_, maps_.Capacity(kServicesMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets, maps_.Capacity(kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets6, maps_.Capacity(kConns6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(template_capacity_, maps_.Capacity(kTemplatesMap));
  KUBE_LVS_ASSIGN_OR_RETURN(template_capacity6_, maps_.Capacity(kTemplates6Map));
  connection_capacity_ = uint64_t{sets} * KLVS_CONN_WAYS;
  connection_capacity6_ = uint64_t{sets6} * KLVS_CONN_WAYS;
  service_ids_.emplace("services", static_cast<uint32_t>(states_.size()));
  real_ids_.emplace("real servers", static_cast<uint32_t>(reals_.size()));
  list_extents_.emplace(0, static_cast<uint32_t>(lists_.size()), kRest);
  table_extents_.emplace(0, static_cast<uint32_t>(tables_.size()), kRest);
  return absl::OkStatus();
}

absl::Status ServiceTables::AdoptServices(TimePoint now) {
  KUBE_LVS_RETURN_IF_ERROR(addresses_.FitToNetworks());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_.All());
  std::map<uint32_t, Cidr> vips;
  for (const auto& [ip, record] : addresses) {
    if ((record.flags & KLVS_ADDRESS_VIP) == 0) continue;
    vips.emplace(record.vip_id, ip);
    addresses_.SkipVipId(record.vip_id);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, GetServices(maps_));
  std::vector<std::pair<ServiceKey, klvs_service>> services;
  for (const auto& [record_key, service] : entries) {
    addresses_.SkipVipId(VipIdOf(record_key));
    const auto vip = vips.find(VipIdOf(record_key));
    if (vip == vips.end()) {
      // A removal that was cut short: nobody can reach it.
      KUBE_LVS_RETURN_IF_ERROR(EraseService(maps_, record_key));
      continue;
    }
    const ServiceKey key = DecodeRecordKey(vip->second, record_key);
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(service_ids_->Adopt(key, service.id, /*live=*/true), ToString(key)));
    if (KeyOfState(service.id) != key) SetState(service.id, key, states_[service.id].cursor);
    ++services_of_vip_[vip->second];
    services.emplace_back(key, service);
  }
  KUBE_LVS_RETURN_IF_ERROR(TidyPorts(maps_));
  KUBE_LVS_RETURN_IF_ERROR(AdoptLists(services));
  KUBE_LVS_RETURN_IF_ERROR(AdoptRemoved(now));
  for (const auto& [ip, record] : addresses) {
    // A VIP that was made just before its first service was cut short.
    if ((record.flags & KLVS_ADDRESS_VIP) != 0 && (record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0 &&
        !HasServices(ip)) {
      KUBE_LVS_RETURN_IF_ERROR(addresses_.RemoveVip(ip));
    }
  }
  ends_changed_ = true;
  return absl::OkStatus();
}

absl::Status ServiceTables::AdoptLists(
    const std::vector<std::pair<ServiceKey, klvs_service>>& services) {
  for (const auto& [key, service] : services) {
    const std::string name = ToString(key);
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(list_extents_->Adopt({service.list_base, service.list_count}), name));
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(table_extents_->Adopt({service.table_base, service.table_size}), name));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(service));
    for (const klvs_list_entry& entry : list) {
      if (entry.real >= reals_.size() || !IsValid(reals_[entry.real]) ||
          reals_[entry.real].service != service.id) {
        return absl::DataLossError(name + ": its list names real server " +
                                   std::to_string(entry.real) + ", which is not its");
      }
      RealRecord record = Record(entry.real);
      KUBE_LVS_RETURN_IF_ERROR(
          Annotate(real_ids_->Adopt({service.id, At(record)}, entry.real, /*live=*/true), name));
      // The list is what counts: a change that was cut short did not get to the record.
      record.real.flags &= static_cast<uint8_t>(~(KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN));
      record.real.weight = entry.weight;
      if (entry.weight != 0) record.real.last_weight = entry.weight;
      Store(entry.real, record);
    }
    KUBE_LVS_RETURN_IF_ERROR(AdoptThresholds(key, service));
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::AdoptThresholds(const ServiceKey& key, const klvs_service& service) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(service));
  bool limited = false;
  for (const klvs_list_entry& entry : list) {
    const klvs_real& record = reals_[entry.real];
    limited = limited || record.upper_threshold != 0;
    FitOverload(record, conns_[entry.real]);
  }
  if (!limited || (service.flags & KLVS_SERVICE_THRESHOLDS) != 0) return absl::OkStatus();
  // A change that was cut short: the thresholds are in the records, but nobody looks at them.
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Lookup(key));
  if (!found) return absl::OkStatus();
  klvs_service repaired = service;
  repaired.flags |= KLVS_SERVICE_THRESHOLDS;
  return Annotate(PutService(maps_, found->key, repaired), ToString(key));
}

absl::Status ServiceTables::AdoptRemoved(TimePoint now) {
  std::set<uint32_t> referred;
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    RealRecord record = Record(id);
    if (!IsValid(record.real)) continue;
    const RealKey key{record.real.service, At(record)};
    if (real_ids_->Find(key) == id) continue;
    record.real.flags |= KLVS_REAL_REMOVED;
    Store(id, record);
    KUBE_LVS_RETURN_IF_ERROR(real_ids_->Adopt(key, id, /*live=*/false));
    real_rests_since_[key] = now;
    referred.insert(record.real.service);
  }
  for (uint32_t id = 1; id < states_.size(); ++id) {
    const std::optional<ServiceKey> key = KeyOfState(id);
    if (!key || service_ids_->Find(*key) == id) continue;
    if (!referred.contains(id)) {
      ClearState(id);
      continue;
    }
    KUBE_LVS_RETURN_IF_ERROR(service_ids_->Adopt(*key, id, /*live=*/false));
    service_rests_since_[*key] = now;
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
