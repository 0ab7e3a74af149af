// LVS's schedulers by the kernel's names. Dataplane eBPF has them all, IPVS those of its kernel.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace kube_lvs {

inline constexpr std::array<std::string_view, 14> kSchedulers = {
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf", "twos"};

inline bool IsScheduler(std::string_view name) {
  return std::ranges::find(kSchedulers, name) != kSchedulers.end();
}

// Whether the scheduler takes hash flags (HashFlags in service.h).
inline bool TakesHashFlags(std::string_view name) { return name == "sh" || name == "mh"; }

}  // namespace kube_lvs
