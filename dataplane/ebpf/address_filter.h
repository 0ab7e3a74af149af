// klvs_settings.filter: a bit for each address that the programs know, so that they look up few packets that
// are not ours. An address whose bit is not set gets nothing.
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

// The bits of the addresses that there are, and no others.
absl::Status FillFilter(MapStore& maps);

}  // namespace kube_lvs::ebpf
