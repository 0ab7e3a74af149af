// What the programs of a real server go by: whose tunnels end there (IPIP, IPv6 in IPv6, GUE), and
// the MSS clamps of VIPs.
#pragma once

#include <set>

#include "absl/status/status.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ebpf {

// All tunnel peers and MSS clamps, added to `items`.
absl::Status ReadTunnelItems(MapStore& maps, std::set<NodeItem>& items);

// kUnimplemented: the outer packets would be of another family than the inner ones.
// kInvalidArgument: GUE would come to an address of another family than the VIP's.
absl::Status SetTunnelPeer(MapStore& maps, const TunnelPeer& item, bool add);

// A clamp replaces another one of the same VIPs; the removal of one that was replaced changes
// nothing.
absl::Status SetMssClamp(MapStore& maps, const MssClamp& item, bool add);

}  // namespace kube_lvs::ebpf
