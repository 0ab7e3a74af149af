// The tables of the schedulers sh and dh exactly as the kernel fills them. Pure.
//
// Source of the algorithm: ip_vs_sh.c and ip_vs_dh.c in net/netfilter/ipvs of Linux 6.1, restated.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kube_lvs {

inline constexpr uint32_t kHashBuckets = 256;
inline constexpr uint32_t kEmptyHashBucket = UINT32_MAX;  // there are no real servers

// sh: bucket -> index into `weights`, in whose order each takes as many buckets in a row as its
// weight says, at least one, round and round.
std::vector<uint32_t> PopulateSourceHash(std::span<const uint32_t> weights);

// dh: the same where every weight is 1, for that many real servers.
std::vector<uint32_t> PopulateDestinationHash(uint32_t reals);

}  // namespace kube_lvs
