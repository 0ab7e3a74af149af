#include "dataplane/ebpf/rules.h"

#include <algorithm>
#include <span>
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
namespace {

using Services = std::vector<std::pair<ServiceKey, klvs_service>>;

struct AllCounters {
  std::vector<Counters> services, reals;  // by number
};

// Of these services and their real servers, of which there are `most_reals` at most.
absl::StatusOr<AllCounters> ReadCountersOf(MapStore& maps, const Services& services,
                                           std::span<const klvs_list_entry> lists,
                                           size_t most_reals, Content content) {
  AllCounters out;
  if (content != Content::kAll) return out;
  uint32_t services_end = 0, reals_end = 0;
  for (const auto& [key, service] : services) {
    services_end = std::max(services_end, service.id + 1);
    if (size_t{service.list_base} + service.list_count > lists.size()) continue;
    for (const klvs_list_entry& entry : lists.subspan(service.list_base, service.list_count)) {
      if (entry.real < most_reals) reals_end = std::max(reals_end, entry.real + 1);
    }
  }
  KUBE_LVS_ASSIGN_OR_RETURN(out.services, ReadAllCounters(maps, kServiceCountersMap, services_end));
  KUBE_LVS_ASSIGN_OR_RETURN(out.reals, ReadAllCounters(maps, kRealCountersMap, reals_end));
  return out;
}

}  // namespace

absl::StatusOr<Rules> ReadRules(MapStore& maps, Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vips, ReadVips(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto records, GetServices(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto lists, GetArray<klvs_list_entry>(maps, kListsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals, GetArray<klvs_real>(maps, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals6, GetArray<klvs_real6>(maps, kReals6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto conns, GetArray<klvs_real_conns>(maps, kRealConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto templates, GetArray<TemplateCount>(maps, kRealTemplatesMap));
  // In the order of the tables that they go into.
  Services services;
  for (const auto& [record_key, service] : records) {
    const auto vip = vips.find(VipIdOf(record_key));
    if (vip != vips.end()) {
      services.emplace_back(DecodeRecordKey(vip->second, record_key), service);
    }
  }
  std::ranges::sort(services, {}, &Services::value_type::first);
  KUBE_LVS_ASSIGN_OR_RETURN(const AllCounters counters,
                            ReadCountersOf(maps, services, lists, reals.size(), content));
  Rules out;
  out.reserve(services.size());
  for (const auto& [key, service] : services) {
    ReadService& shown = out.emplace_back();
    shown.key = key;
    KUBE_LVS_ASSIGN_OR_RETURN(shown.config, DecodeConfig(service));
    if (content == Content::kAll) {
      if (service.id >= counters.services.size()) {
        return absl::DataLossError(ToString(key) + ": its number is " + std::to_string(service.id));
      }
      shown.counters = counters.services[service.id];
    }
    if (size_t{service.list_base} + service.list_count > lists.size()) {
      return absl::DataLossError(ToString(key) + ": its list lies outside of the map of lists");
    }
    shown.reals.reserve(service.list_count);
    for (const klvs_list_entry& entry : lists.subspan(service.list_base, service.list_count)) {
      if (entry.real >= reals.size() || entry.real >= reals6.size() || entry.real >= conns.size() ||
          entry.real >= templates.size()) {
        return absl::DataLossError(ToString(key) + ": its list names real server " +
                                   std::to_string(entry.real));
      }
      ReadReal& real = shown.reals.emplace_back();
      KUBE_LVS_ASSIGN_OR_RETURN(
          real.real, DecodeReal({reals[entry.real], reals6[entry.real]}, entry.weight));
      if (content == Content::kAll) real.stats.counters = counters.reals[entry.real];
      real.stats.weight = real.real.weight;
      real.stats.active_connections = conns[entry.real].active;
      real.stats.inactive_connections = conns[entry.real].inactive;
      real.stats.persistent_connections = templates[entry.real].templates;
    }
  }
  return out;
}

ServiceTable ServicesOf(const Rules& rules) {
  ServiceTable out;
  for (const ReadService& rule : rules) {
    VirtualService service{.config = rule.config, .reals = {}};
    for (const ReadReal& real : rule.reals) service.reals.push_back(real.real);
    out.emplace_hint(out.end(), rule.key, std::move(service));
  }
  return out;
}

}  // namespace kube_lvs::ebpf
