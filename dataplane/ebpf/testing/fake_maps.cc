#include "dataplane/ebpf/testing/fake_maps.h"

#include <string>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_gue.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {

void MakeMaps(FakeMapStore& store, const FakeMapSizes& sizes) {
  using Kind = FakeMapStore::Kind;
  const auto array = [&](std::string_view name, uint32_t value_size, uint32_t capacity) {
    store.Make(std::string(name), Kind::kArray, 4, value_size, capacity);
  };
  const auto hash = [&](std::string_view name, uint32_t key_size, uint32_t value_size,
                        uint32_t capacity) {
    store.Make(std::string(name), Kind::kHash, key_size, value_size, capacity);
  };
  array(kSettingsMap, sizeof(klvs_settings), 1);
  hash(kAddressesMap, 4, sizeof(klvs_address), sizes.addresses);
  const auto networks = [&](std::string_view name, uint32_t key_size) {
    store.Make(std::string(name), Kind::kLpmTrie, key_size, sizeof(klvs_address), sizes.addresses);
  };
  networks(kNetworksMap, sizeof(klvs_network_key));
  networks(kNetworks6Map, sizeof(klvs_network_key6));
  array(kInterfacesMap, sizeof(klvs_interface), KLVS_INTERFACE_SLOTS);
  hash(kServicesMap, sizeof(klvs_service_key), sizeof(klvs_service), sizes.services);
  hash(kWideServicesMap, sizeof(klvs_wide_key), sizeof(klvs_service), sizes.services);
  store.Make(std::string(kPortsMap), Kind::kLpmTrie, sizeof(klvs_port_key), sizeof(klvs_port_owner),
             30 * sizes.services);
  array(kWideStateMap, sizeof(klvs_wide_state), sizes.services);
  array(kServiceStateMap, sizeof(klvs_service_state), sizes.services);
  array(kLocalityMap, sizeof(klvs_locality), sizes.services);
  array(kListsMap, sizeof(klvs_list_entry), sizes.lists);
  array(kTablesMap, sizeof(klvs_table_slot), sizes.tables);
  array(kRealsMap, sizeof(klvs_real), sizes.reals);
  array(kRealConnsMap, sizeof(klvs_real_conns), sizes.reals);
  array(kRealTemplatesMap, sizeof(klvs_template_count), sizes.reals);
  hash(kTemplatesMap, sizeof(klvs_template_key), sizeof(klvs_template), 64);
  array(kConnsMap, sizeof(klvs_conn_set), 16);
  array(kConnTagsMap, sizeof(klvs_set_tags), 16);
  store.Make(std::string(kServiceCountersMap), Kind::kPerCpuArray, 4, sizeof(klvs_counters),
             sizes.services);
  store.Make(std::string(kRealCountersMap), Kind::kPerCpuArray, 4, sizeof(klvs_counters),
             sizes.reals);
  store.Make(std::string(kDropsMap), Kind::kPerCpuArray, 4, 8, KLVS_DROP_SLOTS);
  hash(kTunnelPeersMap, sizeof(klvs_tunnel_peer), 4, 64);
  hash(kMssClampsMap, 4, 4, 64);
  hash(kAddresses6Map, 16, sizeof(klvs_address), sizes.addresses);
  array(kServiceVips6Map, sizeof(klvs_in6), sizes.services);
  array(kReals6Map, sizeof(klvs_real6), sizes.reals);
  array(kConns6Map, sizeof(klvs_conn_set6), 16);
  array(kConnTags6Map, sizeof(klvs_set_tags), 16);
  hash(kTemplates6Map, sizeof(klvs_template_key6), sizeof(klvs_template), 64);
  hash(kTunnelPeers6Map, sizeof(klvs_tunnel_peer6), 4, 64);
  hash(kMssClamps6Map, 16, 4, 64);
  const auto trie = [&](std::string_view name, uint32_t key_size) {
    store.Make(std::string(name), Kind::kLpmTrie, key_size, 4, 64);
  };
  trie(kTunnelNetsMap, sizeof(klvs_tunnel_net));
  trie(kMssNetsMap, sizeof(klvs_mss_net));
  trie(kTunnelNets6Map, sizeof(klvs_tunnel_net6));
  trie(kMssNets6Map, sizeof(klvs_mss_net6));
  trie(kGuePeersMap, sizeof(klvs_gue_peer));
  trie(kGuePeers6Map, sizeof(klvs_gue_peer6));
  GetArray<klvs_settings>(store, kSettingsMap).value()[0].layout = KLVS_LAYOUT;
}

}  // namespace kube_lvs::ebpf
