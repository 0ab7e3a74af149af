#include "operator/by_vips.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kube_lvs::controller {
namespace {

using ::testing::ElementsAre;

class ByVipsTest : public testing::Test {
 protected:
  ByVipsTest() {
    int value = 0;
    for (const char* vips : {"192.0.2.0", "192.0.2.1", "192.0.2.4", "192.0.2.0/31", "192.0.2.64/26",
                             "2001:db8::1", "2001:db8::/64"}) {
      by_vips_[*Cidr::Parse(vips)] = ++value;
    }
  }
  std::vector<std::string> Overlapping(const char* vips, size_t most = 99) const {
    std::vector<std::string> out;
    by_vips_.ForEachOverlapping(*Cidr::Parse(vips), [&](const Cidr& other, int) {
      out.push_back(other.ShortText());
      return out.size() < most;
    });
    EXPECT_EQ(by_vips_.AnyOverlaps(*Cidr::Parse(vips)), !out.empty());
    return out;
  }
  ByVips<int> by_vips_;
};

TEST_F(ByVipsTest, WhateverOverlapsIsFoundPrefixesFirst) {
  EXPECT_THAT(Overlapping("192.0.2.0/30"), ElementsAre("192.0.2.0/31", "192.0.2.0", "192.0.2.1"));
  EXPECT_THAT(Overlapping("192.0.2.1"), ElementsAre("192.0.2.0/31", "192.0.2.1"));
  EXPECT_THAT(Overlapping("192.0.2.4/31"), ElementsAre("192.0.2.4"));
  EXPECT_THAT(Overlapping("192.0.2.127"), ElementsAre("192.0.2.64/26"));
  EXPECT_THAT(Overlapping("192.0.0.0/16"),
              ElementsAre("192.0.2.0/31", "192.0.2.64/26", "192.0.2.0", "192.0.2.1", "192.0.2.4"));
  EXPECT_THAT(Overlapping("2001:db8::/48"), ElementsAre("2001:db8::/64", "2001:db8::1"));
  for (const char* beside : {"192.0.2.2/31", "192.0.2.63", "192.0.2.128/25", "2001:db8:0:1::1"}) {
    EXPECT_THAT(Overlapping(beside), ElementsAre()) << beside;
  }
}

TEST_F(ByVipsTest, WhoSaysFalseIsAskedNoMore) {
  EXPECT_THAT(Overlapping("192.0.0.0/16", 1), ElementsAre("192.0.2.0/31"));
  EXPECT_THAT(Overlapping("192.0.0.0/16", 3),
              ElementsAre("192.0.2.0/31", "192.0.2.64/26", "192.0.2.0"));
}

TEST_F(ByVipsTest, AnAddressAndAPrefixThatBeginsWithItAreTwo) {
  const auto find = [&](const char* vips) {
    const int* value = by_vips_.Find(*Cidr::Parse(vips));
    return value == nullptr ? 0 : *value;
  };
  EXPECT_EQ(find("192.0.2.0"), 1);
  EXPECT_EQ(find("192.0.2.0/31"), 4);
  EXPECT_EQ(find("192.0.2.0/30"), 0);
  by_vips_.Erase(*Cidr::Parse("192.0.2.0"));
  EXPECT_EQ(find("192.0.2.0"), 0);
  EXPECT_EQ(find("192.0.2.0/31"), 4);
  by_vips_.EraseIf([](int value) { return value >= 4; });
  EXPECT_EQ(find("192.0.2.0/31"), 0);
  EXPECT_EQ(find("2001:db8::1"), 0);
  EXPECT_EQ(find("192.0.2.4"), 3);
}

}  // namespace
}  // namespace kube_lvs::controller
