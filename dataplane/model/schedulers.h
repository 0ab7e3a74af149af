// LVS's schedulers by the kernel's names.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace kube_lvs {

inline constexpr std::array<std::string_view, 14> kSchedulers = {
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf", "twos"};

// Those that dataplane eBPF has, too, in the order of the alphabet.
inline constexpr std::array<std::string_view, 12> kEbpfSchedulers = {
    "dh", "fo", "lc", "mh", "nq", "ovf", "rr", "sed", "sh", "twos", "wlc", "wrr"};

inline bool IsScheduler(std::string_view name) {
  return std::ranges::find(kSchedulers, name) != kSchedulers.end();
}

inline bool EbpfHasScheduler(std::string_view name) {
  return std::ranges::find(kEbpfSchedulers, name) != kEbpfSchedulers.end();
}

// Whether the scheduler takes hash flags (HashFlags in service.h).
inline bool TakesHashFlags(std::string_view name) { return name == "sh" || name == "mh"; }

}  // namespace kube_lvs
