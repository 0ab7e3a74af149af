#include "kube/api/pools.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace kube_lvs::api {
namespace {

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

std::vector<std::string> CidrsOf(std::vector<std::string> addresses,
                                 std::vector<std::string> excluded = {}) {
  LvsAddressPool::Spec spec;
  spec.addresses = std::move(addresses);
  spec.excluded_addresses = std::move(excluded);
  const absl::StatusOr<std::vector<Cidr>> cidrs = PoolCidrs(spec);
  if (!cidrs.ok()) {
    return {std::string(cidrs.status().message().data(), cidrs.status().message().size())};
  }
  std::vector<std::string> out;
  for (const Cidr& cidr : *cidrs) out.push_back(cidr.ToString());
  return out;
}

using Texts = std::vector<std::string>;

TEST(PoolsTest, RangesAreSplitAndExclusionsRemoved) {
  EXPECT_EQ(CidrsOf({"192.0.2.0/24"}), Texts({"192.0.2.0/24"}));
  EXPECT_EQ(CidrsOf({"192.0.2.10-192.0.2.10"}), Texts({"192.0.2.10/32"}));
  EXPECT_EQ(CidrsOf({"192.0.2.7"}), Texts({"192.0.2.7/32"}));
  EXPECT_EQ(CidrsOf({"192.0.2.10-192.0.2.20"}),
            Texts({"192.0.2.10/31", "192.0.2.12/30", "192.0.2.16/30", "192.0.2.20/32"}));
  EXPECT_EQ(CidrsOf({"192.0.2.0/29"}, {"192.0.2.0", "192.0.2.7"}),
            Texts({"192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"}));
  EXPECT_EQ(CidrsOf({"192.0.2.0/25", "192.0.2.128/25"}), Texts({"192.0.2.0/24"}));
  EXPECT_EQ(CidrsOf({"192.0.2.0/24", "192.0.2.16/28"}), Texts({"192.0.2.0/24"}));
  EXPECT_EQ(CidrsOf({"192.0.2.0/30"}, {"192.0.0.0/16"}), Texts({}));
  EXPECT_EQ(CidrsOf({"2001:db8::/64", "192.0.2.0/30"}, {"192.0.2.2-192.0.2.3"}),
            Texts({"192.0.2.0/31", "2001:db8::/64"}));
  EXPECT_EQ(CidrsOf({"0.0.0.0-255.255.255.255"}), Texts({"0.0.0.0/0"}));
  EXPECT_EQ(CidrsOf({"::/0"}, {"::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}), Texts({"8000::/1"}));
}

TEST(PoolsTest, WhatIsWrongIsNamed) {
  EXPECT_EQ(CidrsOf({"192.0.2.0/24", "x"}),
            Texts({"spec.addresses[1]: \"x\" is not an IP address"}));
  EXPECT_EQ(CidrsOf({"192.0.2.1/24"}),
            Texts({"spec.addresses[0]: \"192.0.2.1/24\" is not a CIDR without host bits"}));
  EXPECT_EQ(CidrsOf({"192.0.2.0/24"}, {"192.0.2.9-192.0.2.1"}),
            Texts({"spec.excludedAddresses[0]: \"192.0.2.9-192.0.2.1\" is not a range FROM-TO of "
                   "one family, from low to high"}));
  EXPECT_EQ(CidrsOf({"192.0.2.1-2001:db8::1"}).size(), 1u);
  Texts odd;
  for (int i = 0; i < 64; ++i) {
    odd.push_back("2001:db8:" + std::to_string(1000 + 2 * i) +
                  "::1-2001:db8:" + std::to_string(1000 + 2 * i) + ":ffff:ffff:ffff:ffff:fffe");
  }
  EXPECT_EQ(CidrsOf(odd), Texts({"the addresses make up more than 4096 CIDRs: use fewer or better "
                                 "aligned ranges"}));
}

// Law: an address is in the CIDRs exactly if it is in a range and in no exclusion; no CIDRs
// overlap.
TEST(PoolsTest, CidrsHoldExactlyTheAddressesThatAreLeft) {
  std::mt19937 random(3);
  const auto pick = [&](int most) { return static_cast<uint32_t>(random() % (most + 1)); };
  for (int round = 0; round < 300; ++round) {
    std::set<uint32_t> left;
    std::vector<AddressRange> ranges, excluded;
    for (uint32_t i = pick(4) + 1; i > 0; --i) {
      const uint32_t from = 0xc0000200 + pick(255), to = from + pick(40);
      ranges.push_back({IpAddress::FromV4(from), IpAddress::FromV4(to)});
      for (uint32_t ip = from; ip <= to; ++ip) left.insert(ip);
    }
    for (uint32_t i = pick(4); i > 0; --i) {
      const uint32_t from = 0xc0000200 + pick(255), to = from + pick(20);
      excluded.push_back({IpAddress::FromV4(from), IpAddress::FromV4(to)});
      for (uint32_t ip = from; ip <= to; ++ip) left.erase(ip);
    }
    const absl::StatusOr<std::vector<Cidr>> cidrs = MakeCidrs(ranges, excluded);
    ASSERT_TRUE(cidrs.ok());
    ASSERT_EQ(CountAddresses(*cidrs, Family::kIpv4), static_cast<int64_t>(left.size()));
    for (uint32_t ip = 0xc00001f0; ip < 0xc0000340; ++ip) {
      ASSERT_EQ(Contains(*cidrs, IpAddress::FromV4(ip)), left.contains(ip)) << round;
    }
  }
}

TEST(PoolsTest, CountsStopWhereNumbersEnd) {
  EXPECT_EQ(CountAddresses({*Cidr::Parse("2001:db8::/64")}, Family::kIpv6), kMostCounted);
  EXPECT_EQ(CountAddresses({*Cidr::Parse("2001:db8::/76")}, Family::kIpv6), int64_t{1} << 52);
  EXPECT_EQ(
      CountAddresses({*Cidr::Parse("2001:db8::/76"), *Cidr::Parse("2001:db9::/76")}, Family::kIpv6),
      kMostCounted);
  EXPECT_EQ(CountAddresses({*Cidr::Parse("2001:db8::/64")}, Family::kIpv4), 0);
}

TEST(PoolsTest, TheFirstFreeAddressSkipsTakenOnes) {
  const std::vector<Cidr> cidrs = {*Cidr::Parse("192.0.2.0/31"), *Cidr::Parse("192.0.2.8/31"),
                                   *Cidr::Parse("2001:db8::/127")};
  std::set<IpAddress> taken;
  std::vector<std::string> order;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    while (const auto free =
               FirstFree(cidrs, family, [&](const IpAddress& ip) { return taken.contains(ip); })) {
      order.push_back(free->ToString());
      taken.insert(*free);
    }
  }
  EXPECT_EQ(order, Texts({"192.0.2.0", "192.0.2.1", "192.0.2.8", "192.0.2.9",
                          "2001:db8::", "2001:db8::1"}));
}

TEST(PoolsTest, TheLastAddressOfAFamilyHasNoNext) {
  EXPECT_EQ(Next(Ip("255.255.255.255")), std::nullopt);
  EXPECT_EQ(Next(Ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), std::nullopt);
  EXPECT_EQ(Next(Ip("192.0.2.255")), Ip("192.0.3.0"));
  EXPECT_EQ(Next(Ip("2001:db8::ffff:ffff:ffff:ffff")), Ip("2001:db8:0:1::"));
  const std::vector<Cidr> last = {*Cidr::Parse("255.255.255.255")};
  EXPECT_EQ(FirstFree(last, Family::kIpv4, [](const IpAddress&) { return true; }), std::nullopt);
}

TEST(PoolsTest, OverlapIsSymmetric) {
  const Cidr wide = *Cidr::Parse("10.0.0.0/8"), narrow = *Cidr::Parse("10.1.0.0/16");
  const Cidr other = *Cidr::Parse("192.0.2.0/24"), six = *Cidr::Parse("::/0");
  EXPECT_TRUE(Overlap(wide, narrow));
  EXPECT_TRUE(Overlap(narrow, wide));
  EXPECT_FALSE(Overlap(wide, other));
  EXPECT_FALSE(Overlap(six, wide));
  EXPECT_FALSE(Overlap(wide, six));
}

}  // namespace
}  // namespace kube_lvs::api
