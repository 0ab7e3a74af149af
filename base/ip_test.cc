#include "base/ip.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

TEST(IpAddress, PrintsWhatItParsed) {
  for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1"}) {
    const auto parsed = IpAddress::Parse(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->ToString(), text);
  }
}

TEST(IpAddress, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", "fe80::1%eth0",
                           "::ffff:127.0.0.1", "localhost", "01.2.3.4"}) {
    EXPECT_FALSE(IpAddress::Parse(text).ok()) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string("1.2.3.4\0", 8)).ok());
  EXPECT_FALSE(IpAddress::Parse(std::string(100000, '1')).ok());
}

TEST(IpAddress, V4IsHostOrder) {
  EXPECT_EQ(IpAddress::FromV4(0xc0000201).ToString(), "192.0.2.1");
  EXPECT_EQ(IpAddress::Parse("192.0.2.1")->V4(), 0xc0000201u);
}

TEST(Cidr, ContainsTheAddressesOfItsPrefix) {
  const Cidr net = *Cidr::Parse("192.0.2.128/25");
  EXPECT_TRUE(net.Contains(*IpAddress::Parse("192.0.2.128")));
  EXPECT_TRUE(net.Contains(*IpAddress::Parse("192.0.2.255")));
  EXPECT_FALSE(net.Contains(*IpAddress::Parse("192.0.2.127")));
  EXPECT_FALSE(net.Contains(*IpAddress::Parse("::")));
  EXPECT_TRUE(Cidr::Parse("0.0.0.0/0")->Contains(*IpAddress::Parse("1.2.3.4")));
  EXPECT_EQ(Cidr::Parse("2001:db8::/33")->ToString(), "2001:db8::/33");
}

TEST(Cidr, KnowsItsLastAddressAndWhatItSharesWithOthers) {
  EXPECT_EQ(Cidr::Parse("198.51.100.64/27")->Last().ToString(), "198.51.100.95");
  EXPECT_EQ(Cidr::Parse("192.0.2.1/32")->Last().ToString(), "192.0.2.1");
  EXPECT_EQ(Cidr::Parse("0.0.0.0/0")->Last().ToString(), "255.255.255.255");
  EXPECT_EQ(Cidr::Parse("2001:db8::/63")->Last().ToString(), "2001:db8:0:1:ffff:ffff:ffff:ffff");
  const Cidr wide = *Cidr::Parse("192.0.2.0/24"), narrow = *Cidr::Parse("192.0.2.128/25");
  EXPECT_TRUE(wide.Contains(narrow));
  EXPECT_FALSE(narrow.Contains(wide));
  EXPECT_TRUE(wide.Contains(wide));
  EXPECT_TRUE(wide.Overlaps(narrow) && narrow.Overlaps(wide));
  EXPECT_FALSE(narrow.Overlaps(*Cidr::Parse("192.0.2.0/25")));
  EXPECT_FALSE(Cidr::Parse("0.0.0.0/0")->Overlaps(*Cidr::Parse("::/0")));
}

TEST(Cidr, RefusesHostBitsAndBadLengths) {
  for (const char* text : {"192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "/8"}) {
    EXPECT_FALSE(Cidr::Parse(text).ok()) << text;
  }
}

TEST(Endpoint, RoundTrips) {
  for (const char* text : {"10.0.0.1:80", "[2001:db8::1]:65535", "10.0.0.1:0"}) {
    const auto parsed = Endpoint::Parse(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->ToString(), text);
  }
  for (const char* text :
       {"10.0.0.1", "10.0.0.1:65536", "[10.0.0.1]:80", "2001:db8::1:80", ":80"}) {
    EXPECT_FALSE(Endpoint::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace kube_lvs
