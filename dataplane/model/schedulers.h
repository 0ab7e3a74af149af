// LVS's schedulers by the kernel's names. Dataplane eBPF has them all, IPVS those of its kernel.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace kube_lvs {

inline constexpr std::array<std::string_view, 14> kSchedulers = {
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf", "twos"};

inline bool IsScheduler(std::string_view name) {
  return std::ranges::find(kSchedulers, name) != kSchedulers.end();
}

// Whether the scheduler takes hash flags (HashFlags in service.h).
inline bool TakesHashFlags(std::string_view name) { return name == "sh" || name == "mh"; }

// Slots that a table of mh can have: the primes that the kernel can be built with, from the one on
// that it has if nobody chose.
inline constexpr std::array<uint32_t, 6> kMaglevSizes = {4093, 8191, 16381, 32749, 65521, 131071};
inline constexpr uint32_t kMaglevDefaultSize = 4093;

inline bool IsMaglevSize(uint32_t slots) {
  return std::ranges::find(kMaglevSizes, slots) != kMaglevSizes.end();
}

// "4093, 8191, ... or 131071"
inline std::string MaglevSizes() {
  std::string out;
  for (const uint32_t size : kMaglevSizes) {
    if (size != kMaglevSizes.front()) out += size == kMaglevSizes.back() ? " or " : ", ";
    out += std::to_string(size);
  }
  return out;
}

}  // namespace kube_lvs
