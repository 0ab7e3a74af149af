// What klvs_settings says of addresses, so that the programs look up few: `filter`, a bit for each
// that they know (one whose bit is not set gets nothing), and `vips`.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "base/ip.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

// Whether packets to an address with that record are looked at. What is the source of tunnels alone
// has no bit: of what comes to it only ICMP is, by KLVS_SETTING_TUNNELS.
inline bool HasFilterBit(const klvs_address& record) {
  return (record.flags & ~static_cast<uint32_t>(KLVS_ADDRESS_TUNNEL)) != 0;
}

// Lets packets of `ip` through: before it is added to the addresses.
absl::Status AdmitAddress(MapStore& maps, const IpAddress& ip);

// `vip_id` of an IPv4 VIP that is a host, without a look-up, unless its slot is another VIP's.
void ShowVip(klvs_settings& settings, const IpAddress& ip, uint32_t vip_id);
void HideVip(klvs_settings& settings, const IpAddress& ip);

// The bits and slots of the addresses that there are, and no others.
absl::Status FillFilter(MapStore& maps);

}  // namespace kube_lvs::ebpf
