#include "dataplane/plan/hash_buckets.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace kube_lvs {
namespace {

std::vector<uint32_t> First(const std::vector<uint32_t>& buckets, size_t count) {
  return {buckets.begin(), buckets.begin() + static_cast<std::ptrdiff_t>(count)};
}

TEST(HashBuckets, ASourceTakesBucketsInARowByItsWeight) {
  const auto buckets = PopulateSourceHash(std::vector<uint32_t>{2, 1, 3});
  ASSERT_EQ(buckets.size(), 256U);
  EXPECT_EQ(First(buckets, 9), (std::vector<uint32_t>{0, 0, 1, 2, 2, 2, 0, 0, 1}));
  EXPECT_EQ(buckets[255], 2U);  // 255 = 42 * 6 + 3
}

TEST(HashBuckets, AQuiescedSourceKeepsOneBucket) {
  EXPECT_EQ(First(PopulateSourceHash(std::vector<uint32_t>{0, 2}), 6),
            (std::vector<uint32_t>{0, 1, 1, 0, 1, 1}));
}

TEST(HashBuckets, AWeightBeyondTheTableTakesAllOfIt) {
  const auto buckets = PopulateSourceHash(std::vector<uint32_t>{65535, 1});
  EXPECT_EQ(std::ranges::count(buckets, 0U), 256);
}

TEST(HashBuckets, DestinationsTakeTurnsWhateverTheirWeights) {
  EXPECT_EQ(First(PopulateDestinationHash(3), 7), (std::vector<uint32_t>{0, 1, 2, 0, 1, 2, 0}));
  EXPECT_EQ(PopulateDestinationHash(1000)[255], 255U);
}

TEST(HashBuckets, WithoutRealServersEveryBucketIsEmpty) {
  EXPECT_EQ(std::ranges::count(PopulateSourceHash({}), kEmptyHashBucket), 256);
  EXPECT_EQ(std::ranges::count(PopulateDestinationHash(0), kEmptyHashBucket), 256);
}

}  // namespace
}  // namespace kube_lvs
