#include "dataplane/ebpf/rules.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/service_map.h"

namespace kube_lvs::ebpf {

absl::StatusOr<Rules> ReadRules(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vips, ReadVips(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto records, GetServices(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto lists, GetArray<klvs_list_entry>(maps, kListsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals, GetArray<klvs_real>(maps, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals6, GetArray<klvs_real6>(maps, kReals6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto conns, GetArray<klvs_real_conns>(maps, kRealConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto templates, GetArray<TemplateCount>(maps, kRealTemplatesMap));
  // In the order of the tables that they go into.
  std::vector<std::pair<ServiceKey, klvs_service>> services;
  for (const auto& [record_key, service] : records) {
    const auto vip = vips.find(VipIdOf(record_key));
    if (vip != vips.end()) {
      services.emplace_back(DecodeRecordKey(vip->second, record_key), service);
    }
  }
  std::ranges::sort(services, {}, &std::pair<ServiceKey, klvs_service>::first);
  uint32_t services_end = 0, reals_end = 0;
  for (const auto& [key, service] : services) {
    services_end = std::max(services_end, service.id + 1);
    if (size_t{service.list_base} + service.list_count > lists.size()) continue;
    for (const klvs_list_entry& entry : lists.subspan(service.list_base, service.list_count)) {
      if (entry.real < reals.size()) reals_end = std::max(reals_end, entry.real + 1);
    }
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto of_services,
                            ReadAllCounters(maps, kServiceCountersMap, services_end));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto of_reals,
                            ReadAllCounters(maps, kRealCountersMap, reals_end));
  Rules out;
  for (const auto& [key, service] : services) {
    VirtualService& shown =
        out.services.emplace_hint(out.services.end(), key, VirtualService{})->second;
    KUBE_LVS_ASSIGN_OR_RETURN(shown.config, DecodeConfig(service));
    if (service.id >= of_services.size()) {
      return absl::DataLossError(ToString(key) + ": its number is " + std::to_string(service.id));
    }
    out.stats.services.emplace_hint(out.stats.services.end(), key, of_services[service.id]);
    if (size_t{service.list_base} + service.list_count > lists.size()) {
      return absl::DataLossError(ToString(key) + ": its list lies outside of the map of lists");
    }
    for (const klvs_list_entry& entry : lists.subspan(service.list_base, service.list_count)) {
      if (entry.real >= reals.size() || entry.real >= reals6.size() || entry.real >= conns.size() ||
          entry.real >= templates.size()) {
        return absl::DataLossError(ToString(key) + ": its list names real server " +
                                   std::to_string(entry.real));
      }
      KUBE_LVS_ASSIGN_OR_RETURN(const RealServer real,
                                DecodeReal({reals[entry.real], reals6[entry.real]}, entry.weight));
      RealServerStats& stats =
          out.stats.reals
              .emplace_hint(out.stats.reals.end(), std::pair(key, real.at), RealServerStats{})
              ->second;
      stats.counters = of_reals[entry.real];
      stats.weight = real.weight;
      stats.active_connections = conns[entry.real].active;
      stats.inactive_connections = conns[entry.real].inactive;
      stats.persistent_connections = templates[entry.real].templates;
      shown.reals.push_back(real);
    }
  }
  return out;
}

}  // namespace kube_lvs::ebpf
