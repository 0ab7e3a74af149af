#include "dataplane/plan/hash_buckets.h"

#include <algorithm>

namespace kube_lvs {

std::vector<uint32_t> PopulateSourceHash(std::span<const uint32_t> weights) {
  std::vector<uint32_t> out(kHashBuckets, kEmptyHashBucket);
  if (weights.empty()) return out;
  uint32_t index = 0;
  uint32_t taken = 0;
  for (uint32_t& bucket : out) {
    bucket = index;
    if (++taken < weights[index]) continue;
    index = (index + 1) % static_cast<uint32_t>(weights.size());
    taken = 0;
  }
  return out;
}

std::vector<uint32_t> PopulateDestinationHash(uint32_t reals) {
  return PopulateSourceHash(std::vector<uint32_t>(std::min(reals, kHashBuckets), 1));
}

}  // namespace kube_lvs
