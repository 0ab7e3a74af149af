// Names of the maps of abi.h, and what C++ needs to know of their memory.
#pragma once

#include <cstdint>
#include <string_view>

#include "dataplane/ebpf/abi.h"

namespace kube_lvs::ebpf {

inline constexpr std::string_view kSettingsMap = "klvs_settings";
inline constexpr std::string_view kAddressesMap = "klvs_addresses";
inline constexpr std::string_view kNetworksMap = "klvs_networks";
inline constexpr std::string_view kInterfacesMap = "klvs_interfaces";
inline constexpr std::string_view kServicesMap = "klvs_services";
inline constexpr std::string_view kWideServicesMap = "klvs_wide_services";
inline constexpr std::string_view kPortsMap = "klvs_ports";
inline constexpr std::string_view kWideStateMap = "klvs_wide_state";
inline constexpr std::string_view kServiceStateMap = "klvs_service_state";
inline constexpr std::string_view kLocalityMap = "klvs_locality";
inline constexpr std::string_view kListsMap = "klvs_lists";
inline constexpr std::string_view kTablesMap = "klvs_tables";
inline constexpr std::string_view kRealsMap = "klvs_reals";
inline constexpr std::string_view kRealConnsMap = "klvs_real_conns";
inline constexpr std::string_view kConnsMap = "klvs_conns";
inline constexpr std::string_view kTemplatesMap = "klvs_templates";
inline constexpr std::string_view kRealTemplatesMap = "klvs_real_templates";
inline constexpr std::string_view kServiceCountersMap = "klvs_service_counters";
inline constexpr std::string_view kRealCountersMap = "klvs_real_counters";
inline constexpr std::string_view kDropsMap = "klvs_drops";
// No MapStore has it: see drop_ring.h.
inline constexpr std::string_view kDropRingMap = "klvs_drop_ring";
inline constexpr std::string_view kTunnelPeersMap = "klvs_tunnel_peers";
inline constexpr std::string_view kMssClampsMap = "klvs_mss_clamps";
inline constexpr std::string_view kTunnelNetsMap = "klvs_tunnel_nets";
inline constexpr std::string_view kMssNetsMap = "klvs_mss_nets";
inline constexpr std::string_view kGuePeersMap = "klvs_gue_peers";
// Of IPv6.
inline constexpr std::string_view kAddresses6Map = "klvs_addresses6";
inline constexpr std::string_view kNetworks6Map = "klvs_networks6";
inline constexpr std::string_view kServiceVips6Map = "klvs_service_vips6";
inline constexpr std::string_view kReals6Map = "klvs_reals6";
inline constexpr std::string_view kConns6Map = "klvs_conns6";
// Of the set of the same number.
inline constexpr std::string_view kConnTagsMap = "klvs_conn_tags";
inline constexpr std::string_view kConnTags6Map = "klvs_conn_tags6";
// The kernel tells the first 15 letters only, by which lvsadm finds a director's maps.
inline constexpr std::string_view kTemplates6Map = "klvs_templates6";
inline constexpr std::string_view kTunnelPeers6Map = "klvs_tunnel_peers6";
inline constexpr std::string_view kMssClamps6Map = "klvs_mss_clamps6";
inline constexpr std::string_view kTunnelNets6Map = "klvs_tunnel_nets6";
inline constexpr std::string_view kMssNets6Map = "klvs_mss_nets6";
inline constexpr std::string_view kGuePeers6Map = "klvs_gue_peers6";

// A value of klvs_tables in memory: the kernel gives each value of an array a multiple of 8 bytes.
struct TableCell {
  klvs_table_slot real = 0;
  uint32_t padding = 0;
};

// The same of klvs_real_templates.
struct TemplateCount {
  klvs_template_count templates = 0;
  uint32_t padding = 0;
};

}  // namespace kube_lvs::ebpf
