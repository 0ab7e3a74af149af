#include "node-agent/peers/ownership.h"

#include <gtest/gtest.h>

#include <map>

namespace kube_lvs {
namespace {

IpAddress Vip(uint32_t n) { return IpAddress::FromV4(0xc6336400u + n); }

TEST(Ownership, NobodyOwnsWithoutCandidates) { EXPECT_EQ(OwnerOf(Vip(1), {}), ""); }

TEST(Ownership, TheOnlyCandidateOwnsAll) {
  for (uint32_t n = 0; n < 100; ++n) EXPECT_EQ(OwnerOf(Vip(n), {"a"}), "a");
}

TEST(Ownership, SharesAreEven) {
  const std::set<std::string> nodes = {"node-1", "node-2", "node-3", "node-4", "node-5"};
  std::map<std::string, int> share;
  constexpr int kVips = 10000;
  for (int n = 0; n < kVips; ++n) ++share[OwnerOf(Vip(n), nodes)];
  for (const std::string& node : nodes) {
    EXPECT_GT(share[node], kVips / 5 * 9 / 10) << node;
    EXPECT_LT(share[node], kVips / 5 * 11 / 10) << node;
  }
}

TEST(Ownership, ANodeThatGoesMovesOnlyItsOwnVips) {
  const std::set<std::string> all = {"a", "b", "c", "d"};
  std::set<std::string> less = all;
  less.erase("c");
  for (uint32_t n = 0; n < 1000; ++n) {
    const std::string before = OwnerOf(Vip(n), all);
    if (before != "c") {
      EXPECT_EQ(OwnerOf(Vip(n), less), before);
    }
  }
}

TEST(Ownership, TheOwnerHasABetterRightThanAllOthers) {
  const std::set<std::string> all = {"a", "b", "c", "d"};
  for (uint32_t n = 0; n < 200; ++n) {
    const std::string owner = OwnerOf(Vip(n), all);
    for (const std::string& node : all) {
      if (node != owner) {
        EXPECT_TRUE(HasBetterRight(owner, node, Vip(n)));
      }
    }
  }
}

// Directors of two releases must agree: these values may never change.
TEST(Ownership, ScoresAreFixedForAllTime) {
  const IpAddress vip = *IpAddress::Parse("192.0.2.10");
  EXPECT_EQ(OwnershipScore("node-1", vip), OwnershipScore("node-1", vip));
  EXPECT_NE(OwnershipScore("node-1", vip), OwnershipScore("node-2", vip));
  EXPECT_EQ(OwnershipScore("node-1", vip), 5897599723554626875ULL);
  EXPECT_EQ(OwnershipScore("node-1", *IpAddress::Parse("2001:db8::10")), 12227817041553475562ULL);
}

}  // namespace
}  // namespace kube_lvs
