// klvs_filter: a bit for each address that the programs know, so that they look up few packets that
// are not ours. An address whose bit is not set gets nothing.
#pragma once

#include "absl/status/status.h"
#include "base/ip.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

// Lets packets of `ip` through: before it is added to the addresses.
absl::Status AdmitAddress(MapStore& maps, const IpAddress& ip);

// The bits of the addresses that there are, and no others.
absl::Status FillFilter(MapStore& maps);

}  // namespace kube_lvs::ebpf
