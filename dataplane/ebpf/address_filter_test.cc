#include "dataplane/ebpf/address_filter.h"

#include <arpa/inet.h>

#include <bit>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

class AddressFilterTest : public testing::Test {
 protected:
  AddressFilterTest() { MakeMaps(maps_, {}); }

  klvs_filter& Filter() { return Settings().filter; }
  int Bits() {
    int out = 0;
    for (const uint64_t word : Filter().words) out += std::popcount(word);
    return out;
  }
  klvs_settings& Settings() { return GetArray<klvs_settings>(maps_, kSettingsMap).value()[0]; }

  FakeMapStore maps_;
};

TEST_F(AddressFilterTest, EveryKindOfAddressHasItsBit) {
  Addresses addresses(maps_, Settings());
  ASSERT_TRUE(addresses.AddVip(Cidr::Host(Ip("192.0.2.1"))).ok());
  EXPECT_EQ(Bits(), 1);
  ASSERT_TRUE(addresses.AddVip(Cidr::Host(Ip("2001:db8::1"))).ok());
  EXPECT_EQ(Bits(), 2);
  ASSERT_TRUE(addresses.AddEnd(Ip("10.0.0.9"), KLVS_ADDRESS_SNAT).ok());
  EXPECT_EQ(Bits(), 3);
  ASSERT_TRUE(addresses.AddEnd(Ip("192.0.2.1"), KLVS_ADDRESS_SNAT).ok());
  EXPECT_EQ(Bits(), 3);
  const uint32_t bit = klvs_filter_bit(htonl(0xc0000201));
  EXPECT_EQ(Filter().words[bit / 64] >> (bit % 64) & 1, 1U);
}

// What a node gets by itself is not looked up.
TEST_F(AddressFilterTest, TheSourceOfTunnelsAloneHasNoBit) {
  Addresses addresses(maps_, Settings());
  ASSERT_TRUE(addresses.AddEnd(Ip("10.0.0.9"), KLVS_ADDRESS_TUNNEL).ok());
  EXPECT_EQ(Bits(), 0);
  EXPECT_EQ(Settings().flags, KLVS_SETTING_TUNNELS);
  ASSERT_TRUE(addresses.AddEnd(Ip("10.0.0.9"), KLVS_ADDRESS_SNAT).ok());
  EXPECT_EQ(Bits(), 1);
  ASSERT_TRUE(addresses.KeepEnds({{Ip("10.0.0.9"), KLVS_ADDRESS_TUNNEL}}, {}).ok());
  ASSERT_TRUE(addresses.TidyFilter().ok());
  EXPECT_EQ(Bits(), 0);
  EXPECT_EQ(Settings().flags, KLVS_SETTING_TUNNELS);
  ASSERT_TRUE(addresses.KeepEnds({}, {}).ok());
  EXPECT_EQ(Settings().flags, 0U);
}

TEST_F(AddressFilterTest, ABitGoesWithItsLastAddressWhenItIsTidied) {
  Addresses addresses(maps_, Settings());
  ASSERT_TRUE(addresses.AddVip(Cidr::Host(Ip("192.0.2.1"))).ok());
  ASSERT_TRUE(addresses.AddVip(Cidr::Host(Ip("192.0.2.2"))).ok());
  ASSERT_TRUE(addresses.AddEnd(Ip("192.0.2.2"), KLVS_ADDRESS_SNAT).ok());
  ASSERT_TRUE(addresses.RemoveVip(Cidr::Host(Ip("192.0.2.1"))).ok());
  ASSERT_TRUE(addresses.RemoveVip(Cidr::Host(Ip("192.0.2.2"))).ok());
  ASSERT_TRUE(addresses.TidyFilter().ok());
  EXPECT_EQ(Bits(), 1);
}

TEST_F(AddressFilterTest, AVipIsAtHandAsLongAsItIsOne) {
  Addresses addresses(maps_, Settings());
  const uint32_t id = addresses.AddVip(Cidr::Host(Ip("192.0.2.1"))).value();
  const __u64& slot = Settings().vips[klvs_vip_slot(ToWire(Ip("192.0.2.1")))];
  EXPECT_EQ(slot, klvs_vip_word(ToWire(Ip("192.0.2.1")), id));
  ASSERT_TRUE(addresses.AddEnd(Ip("192.0.2.1"), KLVS_ADDRESS_SNAT).ok());
  EXPECT_EQ(slot, klvs_vip_word(ToWire(Ip("192.0.2.1")), id));
  ASSERT_TRUE(addresses.RemoveVip(Cidr::Host(Ip("192.0.2.1"))).ok());
  EXPECT_EQ(slot, 0U);
  ASSERT_TRUE(addresses.AddVip({Ip("192.0.2.0"), 24}).ok());
  EXPECT_EQ(slot, 0U);
}

TEST_F(AddressFilterTest, OfTwoVipsWithOneSlotTheFirstIsAtHandThenTheOther) {
  Addresses addresses(maps_, Settings());
  const uint32_t slot = klvs_vip_slot(htonl(0xc0000201));
  uint32_t other = 0xc0000202;
  while (klvs_vip_slot(htonl(other)) != slot) ++other;
  const auto address = [](uint32_t v4) { return FromWire(static_cast<__be32>(htonl(v4))); };
  const uint32_t first = addresses.AddVip(Cidr::Host(address(0xc0000201))).value();
  const uint32_t second = addresses.AddVip(Cidr::Host(address(other))).value();
  EXPECT_EQ(Settings().vips[slot], klvs_vip_word(htonl(0xc0000201), first));
  ASSERT_TRUE(addresses.RemoveVip(Cidr::Host(address(0xc0000201))).ok());
  EXPECT_EQ(Settings().vips[slot], 0U);
  ASSERT_TRUE(addresses.TidyFilter().ok());
  EXPECT_EQ(Settings().vips[slot], klvs_vip_word(htonl(other), second));
}

TEST_F(AddressFilterTest, IsFilledFromWhatAnOlderVersionLeft) {
  Addresses addresses(maps_, Settings());
  ASSERT_TRUE(addresses.AddVip(Cidr::Host(Ip("192.0.2.1"))).ok());
  ASSERT_TRUE(addresses.AddVip(Cidr::Host(Ip("2001:db8::1"))).ok());
  Filter() = klvs_filter{};
  Filter().words[7] = 1;
  Settings().vips[3] = klvs_vip_word(htonl(0xc0000263), 9);
  ASSERT_TRUE(FillFilter(maps_).ok());
  EXPECT_EQ(Bits(), 2);
  EXPECT_EQ(Settings().vips[3], 0U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
