#include "kube/kept_objects.h"

#include <gtest/gtest.h>

namespace kube_lvs::kube {
namespace {

using std::chrono::seconds;
using Keys = std::set<std::string>;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(KeptObjectsTest, WhileTheKindIsThereNothingIsKept) {
  KeptObjects kept(seconds(60));
  kept.KindIsThere({"a"}, kStart);
  EXPECT_EQ(kept.keys(), Keys());
  EXPECT_EQ(kept.Left(kStart), std::nullopt);
}

TEST(KeptObjectsTest, WhatWentWithItsKindIsKeptUntilTheGraceIsOver) {
  KeptObjects kept(seconds(60));
  kept.KindWent();
  EXPECT_EQ(kept.Left(kStart), std::nullopt);  // however long it takes
  kept.KindIsThere({"a", "b"}, kStart);
  EXPECT_EQ(kept.keys(), (Keys{"a", "b"}));
  EXPECT_EQ(kept.Left(kStart + seconds(10)), seconds(50));
  kept.Release("a");
  kept.KindIsThere({"b"}, kStart + seconds(59));
  EXPECT_EQ(kept.keys(), Keys{"b"});
  EXPECT_EQ(kept.Left(kStart + seconds(70)), seconds(0));
  kept.KindIsThere({"b"}, kStart + seconds(60));
  EXPECT_EQ(kept.keys(), Keys());
}

TEST(KeptObjectsTest, AKindThatOnlySeemedToBeGoneKeepsNothing) {
  KeptObjects kept(seconds(60));
  kept.KindWent();
  kept.KindStayed();
  kept.KindIsThere({"a"}, kStart);
  EXPECT_EQ(kept.keys(), Keys());
}

TEST(KeptObjectsTest, NothingIsLeftToWaitForOnceAllAreBack) {
  KeptObjects kept(seconds(60));
  kept.KindWent();
  kept.KindIsThere({"a"}, kStart);
  kept.Release("a");
  EXPECT_EQ(kept.Left(kStart), std::nullopt);
}

TEST(KeptObjectsTest, AKindThatGoesAgainBeginsTheGraceAnew) {
  KeptObjects kept(seconds(60));
  kept.KindWent();
  kept.KindIsThere({"a"}, kStart);
  kept.KindWent();
  EXPECT_EQ(kept.Left(kStart + seconds(90)), std::nullopt);
  kept.KindIsThere({"b"}, kStart + seconds(90));
  EXPECT_EQ(kept.keys(), (Keys{"a", "b"}));
  EXPECT_EQ(kept.Left(kStart + seconds(90)), seconds(60));
}

}  // namespace
}  // namespace kube_lvs::kube
