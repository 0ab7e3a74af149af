#include "dataplane/ebpf/rules.h"

#include <map>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/service_map.h"

namespace kube_lvs::ebpf {
namespace {

absl::StatusOr<Counters> Sum(MapStore& maps, std::string_view map, uint32_t id) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto per_cpu, maps.LookupPerCpu(map, AsBytes(id)));
  Counters out;
  for (const Bytes& bytes : per_cpu) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto one, FromBytes<klvs_counters>(bytes));
    out.packets += one.packets;
    out.bytes += one.bytes;
    out.connections += one.connections;
  }
  return out;
}

}  // namespace

absl::StatusOr<Rules> ReadRules(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, ReadAddresses(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto services, GetServices(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto lists, GetArray<klvs_list_entry>(maps, kListsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals, GetArray<klvs_real>(maps, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals6, GetArray<klvs_real6>(maps, kReals6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto conns, GetArray<klvs_real_conns>(maps, kRealConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto templates, GetArray<TemplateCount>(maps, kRealTemplatesMap));
  std::map<uint32_t, Cidr> vips;
  for (const auto& [address, record] : addresses) {
    if ((record.flags & KLVS_ADDRESS_VIP) != 0) vips.emplace(record.vip_id, address);
  }
  Rules out;
  for (const auto& [record_key, service] : services) {
    const auto vip = vips.find(VipIdOf(record_key));
    if (vip == vips.end()) continue;
    const ServiceKey key = DecodeRecordKey(vip->second, record_key);
    VirtualService& shown = out.services[key];
    KUBE_LVS_ASSIGN_OR_RETURN(shown.config, DecodeConfig(service));
    KUBE_LVS_ASSIGN_OR_RETURN(out.stats.services[key], Sum(maps, kServiceCountersMap, service.id));
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
      RealServerStats& stats = out.stats.reals[{key, real.at}];
      KUBE_LVS_ASSIGN_OR_RETURN(stats.counters, Sum(maps, kRealCountersMap, entry.real));
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
