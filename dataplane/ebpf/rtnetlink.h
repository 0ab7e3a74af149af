// The kernel's answers for Network, over rtnetlink and AF_PACKET.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "dataplane/ebpf/network.h"

namespace kube_lvs::ebpf {

// Opens its sockets in the calling thread's network namespace. Needs CAP_NET_ADMIN for
// KeepResolved and CAP_NET_RAW for Announce.
absl::StatusOr<std::unique_ptr<Network>> NewKernelNetwork();

// The same without Announce, which fails, for processes that come and go: to close the socket that
// it needs takes the kernel some 10 ms.
absl::StatusOr<std::unique_ptr<Network>> NewSilentKernelNetwork();

}  // namespace kube_lvs::ebpf
