// Maglev look-up tables exactly as the kernel's `mh` scheduler fills them, so that every director,
// whichever dataplane it runs, sends a client to the same real server. Pure.
//
// Source of the algorithm: net/netfilter/ipvs/ip_vs_mh.c of Linux 6.1, restated; the tests hold
// sequences measured on that kernel.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs {

// The two keys that the kernel uses: the first finds a real server's offset and a client's slot,
// the second a real server's step.
inline constexpr uint32_t kMaglevKey1 = 2654435761U;
inline constexpr uint32_t kMaglevKey2 = 2654446892U;

inline constexpr uint32_t kMaglevEmptySlot = UINT32_MAX;  // no real server has a positive weight

// One real server as the table sees it. `last_weight` is its newest weight that was not 0: setting
// a weight to 0 must not move anybody's clients.
struct MaglevReal {
  Endpoint at;
  uint32_t last_weight = 0;
};

// SipHash-1-3 of one 32-bit word, low half of the result; both key words are `key`.
uint32_t MaglevSipHash(uint32_t value, uint32_t key);

// The hash of an address and port (0 where the port does not count), host terms; `offset` is the
// number of the attempt with the fallback flag.
uint32_t MaglevHash(const IpAddress& address, uint16_t port, uint32_t key, uint32_t offset);

// Slot -> index into `list`, in whose order the real servers take turns. kMaglevEmptySlot in every
// slot when none has a positive weight. kInvalidArgument: `slots` is no size the kernel knows, or
// there are more real servers than slots.
absl::StatusOr<std::vector<uint32_t>> PopulateMaglev(std::span<const MaglevReal> list,
                                                     uint32_t slots);

}  // namespace kube_lvs
