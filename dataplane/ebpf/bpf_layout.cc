#include "dataplane/ebpf/bpf_layout.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <ctime>
#include <functional>
#include <map>
#include <string>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/model/source_ports.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kMostBlocksOfARange = 30;  // 1 to 65534
// A template takes about 100 bytes, with its bucket.
constexpr uint32_t kConnectionsPerTemplate = 8;

// Of each CPU; Katran's limit.
constexpr uint32_t kStatefulPerSecond = 125000;

constexpr std::array<std::string_view, 38> kMaps = {
    kSettingsMap,     kAddressesMap,    kInterfacesMap,    kServicesMap,        kServiceStateMap,
    kListsMap,        kTablesMap,       kRealsMap,         kRealConnsMap,       kConnsMap,
    kDropsMap,        kTunnelPeersMap,  kMssClampsMap,     kServiceCountersMap, kRealCountersMap,
    kLocalityMap,     kAddresses6Map,   kServiceVips6Map,  kReals6Map,          kConns6Map,
    kTunnelPeers6Map, kMssClamps6Map,   kTunnelNetsMap,    kMssNetsMap,         kTunnelNets6Map,
    kMssNets6Map,     kTemplatesMap,    kTemplates6Map,    kRealTemplatesMap,   kWideServicesMap,
    kPortsMap,        kWideStateMap,    kNetworksMap,      kNetworks6Map,       kConnTagsMap,
    kConnTags6Map,    kGuePeersMap,     kGuePeers6Map,
};

uint32_t ConnSets(const MapSizes& sizes) {
  return std::bit_ceil(std::max<uint32_t>(sizes.connections / KLVS_CONN_WAYS, 128));
}

std::map<std::string, uint32_t, std::less<>> Capacities(const MapSizes& sizes) {
  const uint32_t sets = ConnSets(sizes);
  const uint32_t sets6 = std::max<uint32_t>(sets / 4, 128);
  std::map<std::string, uint32_t, std::less<>> out;
  const auto set = [&out](std::string_view map, uint32_t size) { out[std::string(map)] = size; };
  set(kAddressesMap, sizes.addresses);
  set(kServicesMap, sizes.services);
  set(kWideServicesMap, sizes.services);
  set(kPortsMap, sizes.services * kMostBlocksOfARange);  // takes no memory but for what is in it
  set(kWideStateMap, sizes.services + 1);
  set(kServiceStateMap, sizes.services + 1);  // id 0 is never used
  set(kServiceCountersMap, sizes.services + 1);
  set(kLocalityMap, sizes.services + 1);
  set(kRealsMap, sizes.reals + 1);
  set(kRealConnsMap, sizes.reals + 1);
  set(kRealCountersMap, sizes.reals + 1);
  set(kListsMap, sizes.list_entries);
  set(kTablesMap, sizes.table_slots);
  set(kConnsMap, sets);
  set(kConnTagsMap, sets);
  set(kAddresses6Map, sizes.addresses);
  set(kNetworksMap, sizes.addresses);  // as klvs_ports, empty ones take no memory
  set(kNetworks6Map, sizes.addresses);
  set(kServiceVips6Map, sizes.services + 1);
  set(kReals6Map, sizes.reals + 1);
  set(kConns6Map, sets6);
  set(kConnTags6Map, sets6);
  set(kTemplatesMap, sets * KLVS_CONN_WAYS / kConnectionsPerTemplate);
  set(kTemplates6Map, sets6 * KLVS_CONN_WAYS / kConnectionsPerTemplate);
  set(kRealTemplatesMap, sizes.reals + 1);
  return out;
}

}  // namespace

std::span<const std::string_view> MapNames() { return kMaps; }

uint32_t CapacityOf(const MapSizes& sizes, std::string_view map) {
  const auto capacities = Capacities(sizes);
  const auto found = capacities.find(map);
  return found == capacities.end() ? 0 : found->second;
}

absl::Status InitialiseSettings(BpfMaps& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  if (settings[0].layout == KLVS_LAYOUT) return absl::OkStatus();
  klvs_settings initial{};
  timespec tick{};
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0 || tick.tv_nsec <= 0) {
    return BpfError("resolution of the coarse clock", errno);
  }
  initial.hz = static_cast<uint32_t>((1000000000 + tick.tv_nsec / 2) / tick.tv_nsec);
  KUBE_LVS_ASSIGN_OR_RETURN(initial.conn_sets, maps.Capacity(kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(initial.conn_sets6, maps.Capacity(kConns6Map));
  initial.snat_port_base = kFirstSourcePort;
  initial.snat_port_count = kLastSourcePort - kFirstSourcePort + 1;
  initial.stateful_per_second = kStatefulPerSecond;
  if (getrandom(initial.seed, sizeof initial.seed, 0) != sizeof initial.seed) {
    return BpfError("random numbers", errno);
  }
  constexpr uint32_t kSeconds[KLVS_STATES] = KLVS_TIMEOUT_SECONDS;
  for (int state = 0; state < KLVS_STATES; ++state) {
    initial.timeouts[state] = kSeconds[state] * initial.hz;
  }
  settings[0] = initial;
  // Last: a start that was cut short before begins again.
  settings[0].layout = KLVS_LAYOUT;
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
