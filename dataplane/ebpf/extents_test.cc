#include "dataplane/ebpf/extents.h"

#include <iostream>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

constexpr TimePoint At(int milliseconds) {
  return TimePoint(std::chrono::milliseconds(milliseconds));
}

TEST(Extents, HandsOutTheLowestRunThatFits) {
  ExtentAllocator slots(1, 100, std::chrono::seconds(1));
  EXPECT_EQ(*slots.Allocate(10, At(0)), (Extent{1, 10}));
  EXPECT_EQ(*slots.Allocate(5, At(0)), (Extent{11, 5}));
  EXPECT_EQ(slots.taken(), 15U);
}

TEST(Extents, AFreedRunRestsForASecond) {
  ExtentAllocator slots(0, 10, std::chrono::seconds(1));
  const Extent all = *slots.Allocate(10, At(0));
  slots.Free(all, At(500));
  EXPECT_EQ(slots.Allocate(1, At(1499)).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(slots.taken(), 10U);
  EXPECT_EQ(*slots.Allocate(10, At(1500)), all);
}

TEST(Extents, FreedNeighboursBecomeOneRun) {
  ExtentAllocator slots(0, 9, std::chrono::seconds(1));
  const Extent a = *slots.Allocate(3, At(0));
  const Extent b = *slots.Allocate(3, At(0));
  const Extent c = *slots.Allocate(3, At(0));
  slots.Free(a, At(0));
  slots.Free(c, At(1));
  slots.Free(b, At(2));
  EXPECT_EQ(*slots.Allocate(9, At(2000)), (Extent{0, 9}));
}

TEST(Extents, AdoptedRunsAreNotHandedOut) {
  ExtentAllocator slots(1, 12, std::chrono::seconds(1));
  ASSERT_TRUE(slots.Adopt({4, 3}).ok());
  EXPECT_EQ(*slots.Allocate(3, At(0)), (Extent{1, 3}));
  EXPECT_EQ(*slots.Allocate(5, At(0)), (Extent{7, 5}));
  EXPECT_FALSE(slots.Allocate(1, At(0)).ok());
}

TEST(Extents, RefusesToAdoptWhatOverlapsOrLiesOutside) {
  ExtentAllocator slots(1, 12, std::chrono::seconds(1));
  ASSERT_TRUE(slots.Adopt({4, 3}).ok());
  for (const Extent bad : {Extent{6, 1}, Extent{3, 2}, Extent{0, 1}, Extent{11, 2},
                           Extent{4000000000U, 400000000U}, Extent{1, 12}}) {
    EXPECT_EQ(slots.Adopt(bad).code(), absl::StatusCode::kDataLoss) << bad.base;
  }
}

TEST(Extents, AnEmptyRunCostsNothing) {
  ExtentAllocator slots(0, 0, std::chrono::seconds(1));
  EXPECT_EQ(slots.Allocate(0, At(0))->length, 0U);
  slots.Free({}, At(0));
  EXPECT_TRUE(slots.Adopt({7, 0}).ok());
}

TEST(Extents, NoSlotIsEverHandedOutTwice) {
  const uint32_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::mt19937 random(seed);
  ExtentAllocator slots(1, 300, std::chrono::seconds(1));
  std::vector<int> owner(300, 0);
  std::vector<Extent> held;
  for (int step = 0; step < 20000; ++step) {
    const TimePoint now = At(step * 50);
    if (held.empty() || random() % 2 == 0) {
      const auto got = slots.Allocate(1 + random() % 20, now);
      if (!got.ok()) continue;
      for (uint32_t i = 0; i < got->length; ++i) ASSERT_EQ(owner.at(got->base + i)++, 0);
      held.push_back(*got);
    } else {
      const size_t which = random() % held.size();
      for (uint32_t i = 0; i < held[which].length; ++i) --owner[held[which].base + i];
      slots.Free(held[which], now);
      held.erase(held.begin() + static_cast<long>(which));
    }
  }
  for (const Extent& extent : held) slots.Free(extent, At(2000000));
  EXPECT_EQ(*slots.Allocate(299, At(2000000 + 1000)), (Extent{1, 299}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
