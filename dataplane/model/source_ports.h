// The ports of a director's addresses that the eBPF dataplane takes for source NAT: below the
// kernel's own range of ephemeral ports (net.ipv4.ip_local_port_range, 32768 to 60999 by default).
#pragma once

#include <cstdint>

namespace kube_lvs {

inline constexpr uint16_t kFirstSourcePort = 1024;
inline constexpr uint16_t kLastSourcePort = 32767;

}  // namespace kube_lvs
