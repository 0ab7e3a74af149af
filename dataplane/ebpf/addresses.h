// The addresses that the programs know: VIPs (with or without an ARP answer), single ones and
// networks of them, the two ends that replies of NAT come by, and the sources of tunnels. One
// record can be several of these at once; a record that is none of them is deleted.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

// The addresses and networks of both families as they are in the maps.
absl::StatusOr<std::map<Cidr, klvs_address>> ReadAddresses(MapStore& maps);

// The VIPs of both families by id.
absl::StatusOr<std::unordered_map<uint32_t, Cidr>> ReadVips(MapStore& maps);

// The record of the very address, or of the very network. nullopt: it is not there.
absl::StatusOr<std::optional<klvs_address>> FindAddress(MapStore& maps, const Cidr& vips);

// What the programs go by for a packet to `ip`: its own record, or that of its network.
absl::StatusOr<std::optional<klvs_address>> FindDestination(MapStore& maps, const IpAddress& ip);

// Not thread-safe. Writes only what changes.
class Addresses {
 public:
  // Both are borrowed; `settings` is the running programs' own.
  Addresses(MapStore& maps, klvs_settings& settings) : maps_(maps), settings_(settings) {}

  absl::StatusOr<std::map<Cidr, klvs_address>> All();
  absl::StatusOr<std::optional<klvs_address>> Find(const Cidr& vips);
  absl::StatusOr<std::map<Cidr, klvs_address>> Networks();

  // Has the programs look for networks if, and only if, there are any. For a start: a change that
  // was cut short may have left them looking.
  absl::Status FitToNetworks();
  // What removals left in the filter.
  absl::Status TidyFilter();

  // Ids that are no longer handed out: call with each id that is found in use.
  void SkipVipId(uint32_t id) { next_vip_id_ = id >= next_vip_id_ ? id + 1 : next_vip_id_; }

  // Makes it a VIP, or all its addresses VIPs with one id, and returns that, the one it has if it
  // is one.
  absl::StatusOr<uint32_t> AddVip(const Cidr& vips);
  // It is a VIP no longer, and not answered for.
  absl::Status RemoveVip(const Cidr& vips);

  // ARP (IPv6: neighbour discovery) for the VIP, or each address of the network, is answered on
  // that interface until `claim_until` (CLOCK_BOOTTIME ns).
  absl::Status Answer(const Cidr& vips, uint32_t ifindex, uint64_t claim_until);
  absl::Status StopAnswering(const Cidr& vips);
  absl::Status RenewClaims(uint64_t claim_until);

  // KLVS_SETTING_*, of those that say how the programs look at addresses.
  void SetSetting(uint32_t flag, bool on);

  // `flag` is KLVS_ADDRESS_SNAT, KLVS_ADDRESS_NAT_REAL or KLVS_ADDRESS_TUNNEL. 0.0.0.0 and :: are
  // ignored.
  absl::Status AddEnd(const IpAddress& ip, uint32_t flag);
  // Takes these flags from all addresses that neither need them (`wanted`) nor may keep them
  // (`allowed`: connections that began with them). Adds none. Returns whether one was kept only
  // because it may be: ask again later.
  absl::StatusOr<bool> KeepEnds(const std::map<IpAddress, uint32_t>& wanted,
                                const std::map<IpAddress, uint32_t>& allowed);

 private:
  absl::Status Write(const Cidr& vips, const klvs_address& before, klvs_address after);

  MapStore& maps_;
  klvs_settings& settings_;
  uint32_t next_vip_id_ = 1;
  bool stale_filter_ = false;
};

}  // namespace kube_lvs::ebpf
