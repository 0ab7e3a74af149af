#include "dataplane/ebpf/ids.h"

#include <string>

#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

using Ids = IdAllocator<std::string>;

TEST(Ids, StartAtOneAndStayTheSame) {
  Ids ids("real servers", 10);
  EXPECT_EQ(*ids.Acquire("a"), 1U);
  EXPECT_EQ(*ids.Acquire("b"), 2U);
  EXPECT_EQ(*ids.Acquire("a"), 1U);
  EXPECT_EQ(ids.Find("b"), 2U);
  EXPECT_EQ(ids.Find("c"), 0U);
}

TEST(Ids, ARetiredIdRestsAndItsObjectGetsItBack) {
  Ids ids("real servers", 10);
  ASSERT_EQ(*ids.Acquire("a"), 1U);
  ids.Retire("a");
  EXPECT_EQ(ids.Find("a"), 0U);
  EXPECT_EQ(*ids.Acquire("b"), 2U);
  EXPECT_EQ(*ids.Acquire("a"), 1U);
  EXPECT_EQ(ids.FindResting("a"), 0U);
}

TEST(Ids, AReleasedIdGoesToTheNextObject) {
  Ids ids("real servers", 3);
  ASSERT_EQ(*ids.Acquire("a"), 1U);
  ASSERT_EQ(*ids.Acquire("b"), 2U);
  ids.Release("a");  // live: no effect
  EXPECT_EQ(ids.Find("a"), 1U);
  ids.Retire("a");
  EXPECT_EQ(ids.FindResting("a"), 1U);
  EXPECT_EQ(ids.FindResting("b"), 0U);
  EXPECT_EQ(ids.FindResting("c"), 0U);
  EXPECT_FALSE(ids.Acquire("c").ok());
  ids.Release("a");
  EXPECT_EQ(*ids.Acquire("c"), 1U);
}

TEST(Ids, AFullTableSaysWhichAndHowLarge) {
  Ids ids("real servers", 2);
  ASSERT_TRUE(ids.Acquire("a").ok());
  const auto full = ids.Acquire("b");
  EXPECT_EQ(full.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(full.status().message(), "the table of real servers is full: all 1 ids are taken");
  EXPECT_FALSE(Ids("none", 0).Acquire("a").ok());
}

TEST(Ids, AdoptsWhatWasThereAndRefusesWhatCannotBe) {
  Ids ids("services", 10);
  ASSERT_TRUE(ids.Adopt("a", 1, true).ok());
  ASSERT_TRUE(ids.Adopt("b", 3, false).ok());
  EXPECT_EQ(ids.Adopt("c", 3, true).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ids.Adopt("a", 4, true).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ids.Adopt("d", 0, true).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ids.Adopt("e", 10, true).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(*ids.Acquire("d"), 2U);
  EXPECT_EQ(*ids.Acquire("e"), 4U);
  EXPECT_EQ(*ids.Acquire("b"), 3U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
