#include "node-agent/desired/vip_owners.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

class VipOwnersTest : public testing::Test {
 protected:
  VipOwnersTest() {
    for (const char* vips : {"192.0.2.1", "192.0.2.64/26", "2001:db8::1", "2001:db8:5::/64"}) {
      owners_.Add(*Cidr::Parse(vips), "shop/old");
    }
  }
  std::string Conflict(const char* vips, const char* service = "shop/new") const {
    return owners_.Conflict(*Cidr::Parse(vips), service);
  }
  VipOwners owners_;
};

TEST_F(VipOwnersTest, TheVerySameVipsAreShared) {
  for (const char* vips : {"192.0.2.1", "192.0.2.64/26", "2001:db8:5::/64"}) {
    EXPECT_EQ(Conflict(vips), "") << vips;
  }
}

TEST_F(VipOwnersTest, WhatOnlyOverlapsIsRefusedWithItsOwner) {
  const std::string end = " of LVSService shop/old; take another VIP";
  EXPECT_EQ(Conflict("192.0.2.64"), "192.0.2.64 overlaps 192.0.2.64/26" + end);
  EXPECT_EQ(Conflict("192.0.2.127"), "192.0.2.127 overlaps 192.0.2.64/26" + end);
  EXPECT_EQ(Conflict("192.0.2.64/27"), "192.0.2.64/27 overlaps 192.0.2.64/26" + end);
  EXPECT_EQ(Conflict("192.0.2.0/24"), "192.0.2.0/24 overlaps 192.0.2.64/26" + end);
  EXPECT_EQ(Conflict("192.0.2.0/31"), "192.0.2.0/31 overlaps 192.0.2.1" + end);
  EXPECT_EQ(Conflict("2001:db8::/127"), "2001:db8::/127 overlaps 2001:db8::1" + end);
  EXPECT_EQ(Conflict("2001:db8:5::7"), "2001:db8:5::7 overlaps 2001:db8:5::/64" + end);
  EXPECT_EQ(Conflict("192.0.2.65", "shop/old"),
            "192.0.2.65 overlaps 192.0.2.64/26; take another VIP");
}

TEST_F(VipOwnersTest, WhatIsBesideIsFree) {
  for (const char* vips : {"192.0.2.63", "192.0.2.128", "192.0.2.2/31", "192.0.2.128/25",
                           "2001:db8::2/127", "2001:db8:5:1::/64", "2001:db8:4:ffff::1"}) {
    EXPECT_EQ(Conflict(vips), "") << vips;
  }
}

TEST_F(VipOwnersTest, TheFirstOwnerIsKept) {
  owners_.Add(*Cidr::Parse("192.0.2.64/26"), "shop/later");
  EXPECT_EQ(Conflict("192.0.2.65", "shop/later"),
            "192.0.2.65 overlaps 192.0.2.64/26 of LVSService shop/old; take another VIP");
}

}  // namespace
}  // namespace kube_lvs
