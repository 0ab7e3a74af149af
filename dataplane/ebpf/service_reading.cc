// What is in the tables: services, counters, how full they are.
#include <algorithm>

#include "base/status.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/service_tables.h"
#include "dataplane/ebpf/wide_ports.h"

namespace kube_lvs::ebpf {

absl::StatusOr<std::span<klvs_list_entry>> ServiceTables::ListOf(
    const klvs_service& service) const {
  if (uint64_t{service.list_base} + service.list_count > lists_.size()) {
    return absl::DataLossError("the list of service " + std::to_string(service.id) +
                               " ends outside klvs_lists");
  }
  return lists_.subspan(service.list_base, service.list_count);
}

absl::StatusOr<VirtualService> ServiceTables::Decode(const ServiceKey& key,
                                                     const Found& found) const {
  const klvs_service& service = found.value;
  VirtualService out;
  auto config = DecodeConfig(service);
  if (!config.ok()) return Annotate(config.status(), ToString(key));
  out.config = *std::move(config);
  if (const auto* wide = std::get_if<klvs_wide_key>(&found.key)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const bool reached, HasItsPorts(maps_, *wide));
    out.config.unreached = !reached;
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(service));
  for (const klvs_list_entry& entry : list) {
    if (entry.real >= reals_.size()) {
      return absl::DataLossError(ToString(key) + ": its list names real server " +
                                 std::to_string(entry.real));
    }
    auto real = DecodeReal(Record(entry.real), entry.weight);
    if (!real.ok()) return Annotate(real.status(), ToString(key));
    out.reals.push_back(*std::move(real));
  }
  return out;
}

absl::StatusOr<ServiceTable> ServiceTables::Read() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vips, ReadVips(maps_));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, GetServices(maps_));
  ServiceTable out;
  for (const auto& [record_key, service] : entries) {
    const auto vip = vips.find(VipIdOf(record_key));
    if (vip == vips.end()) continue;
    const ServiceKey key = DecodeRecordKey(vip->second, record_key);
    KUBE_LVS_ASSIGN_OR_RETURN(out[key], Decode(key, Found{record_key, service}));
  }
  return out;
}

absl::StatusOr<std::optional<ServiceTables::Found>> ServiceTables::Lookup(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vip, addresses_.Find(*VipsOf(key)));
  if (!vip || (vip->flags & KLVS_ADDRESS_VIP) == 0) return std::optional<Found>();
  const RecordKey record_key = EncodeRecordKey(vip->vip_id, key);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto value, GetService(maps_, record_key));
  if (!value) return std::optional<Found>();
  return std::optional<Found>(Found{record_key, *value});
}

absl::StatusOr<std::optional<VirtualService>> ServiceTables::Find(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Lookup(key));
  if (!found) return std::optional<VirtualService>();
  KUBE_LVS_ASSIGN_OR_RETURN(VirtualService service, Decode(key, *found));
  return std::optional<VirtualService>(std::move(service));
}

absl::StatusOr<bool> ServiceTables::CountsMatter() {
  if (!real_rests_since_.empty()) return true;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, GetServices(maps_));
  return std::ranges::any_of(entries, [](const auto& entry) {
    return CountsConnections(entry.second) || (entry.second.flags & KLVS_SERVICE_PERSISTENT) != 0;
  });
}

absl::Status ServiceTables::ReadStats(Stats& stats) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ServiceTable services, Read());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto of_services,
                            ReadAllCounters(maps_, kServiceCountersMap, service_ids_->end()));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto of_reals,
                            ReadAllCounters(maps_, kRealCountersMap, real_ids_->end()));
  for (const auto& [key, service] : services) {
    const uint32_t id = service_ids_->Find(key);
    if (id == 0) continue;
    stats.services.emplace_hint(stats.services.end(), key, of_services[id]);
    for (const RealServer& real : service.reals) {
      const uint32_t real_id = real_ids_->Find({id, real.at});
      if (real_id != 0) {
        // In the map's own order.
        stats.reals.emplace_hint(stats.reals.end(), std::pair(key, real.at),
                                 StatsOf(real_id, real.weight, of_reals[real_id]));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::ReadStats(const ServiceKey& key, const VirtualService& service,
                                      Stats& stats) {
  const uint32_t id = service_ids_->Find(key);
  if (id == 0) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(stats.services[key], ReadCounters(maps_, kServiceCountersMap, id));
  for (const RealServer& real : service.reals) {
    const uint32_t real_id = real_ids_->Find({id, real.at});
    if (real_id == 0) continue;
    KUBE_LVS_ASSIGN_OR_RETURN(const Counters counters,
                              ReadCounters(maps_, kRealCountersMap, real_id));
    stats.reals[{key, real.at}] = StatsOf(real_id, real.weight, counters);
  }
  return absl::OkStatus();
}

RealServerStats ServiceTables::StatsOf(uint32_t id, uint32_t weight,
                                       const Counters& counters) const {
  return {.counters = counters,
          .weight = weight,
          .active_connections = conns_[id].active,
          .inactive_connections = conns_[id].inactive,
          .persistent_connections = templates_[id].templates};
}

std::map<std::string, double> ServiceTables::Fill() const {
  uint64_t connections = 0;
  uint64_t connections6 = 0;
  uint64_t templates = 0;
  uint64_t templates6 = 0;
  for (size_t id = 0; id < reals_.size(); ++id) {
    const bool v6 = (reals_[id].flags & KLVS_REAL_IPV6) != 0;
    // NAT's have a second one, for the replies.
    const uint64_t slots = reals_[id].method == KLVS_METHOD_NAT ? 2 : 1;
    (v6 ? connections6 : connections) +=
        slots * (uint64_t{conns_[id].active} + conns_[id].inactive);
    (v6 ? templates6 : templates) += templates_[id].templates;
  }
  const auto ratio = [](uint64_t taken, uint64_t capacity) {
    return capacity == 0 ? 1.0 : static_cast<double>(taken) / static_cast<double>(capacity);
  };
  return {
      {"services", ratio(service_ids_->taken(), service_ids_->capacity())},
      {"real_servers", ratio(real_ids_->taken(), real_ids_->capacity())},
      {"lists", ratio(list_extents_->taken(), list_extents_->size())},
      {"tables", ratio(table_extents_->taken(), table_extents_->size())},
      {"connections", ratio(connections, connection_capacity_)},
      {"connections_ipv6", ratio(connections6, connection_capacity6_)},
      {"templates", ratio(templates, template_capacity_)},
      {"templates_ipv6", ratio(templates6, template_capacity6_)},
  };
}

}  // namespace kube_lvs::ebpf
