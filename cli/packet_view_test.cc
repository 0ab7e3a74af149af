#include "cli/packet_view.h"

#include <gtest/gtest.h>

#include <vector>

namespace kube_lvs::cli {
namespace {

using Bytes = std::vector<uint8_t>;

// From "4500 0034 ...".
Bytes Hex(std::string_view text) {
  Bytes out;
  std::string digits;
  for (const char c : text) {
    if (c == ' ') continue;
    digits += c;
    if (digits.size() < 2) continue;
    out.push_back(static_cast<uint8_t>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return out;
}

constexpr char kEthernet4[] = "020000000001 02000000000c 0800 ";
constexpr char kEthernet6[] = "020000000001 02000000000c 86dd ";
constexpr char kSyn[] = "9c40 0051 00000001 00000000 5002 ffff 0000 0000";

std::string Seen(const std::string& hex) { return ToString(ViewOf(Hex(hex))); }

std::string Ipv4(const std::string& fragment, const std::string& protocol,
                 const std::string& rest) {
  return kEthernet4 + ("4500 0028 0000 " + fragment) + " 40" + protocol + " 0000 0a010001 c0000201 " +
         rest;
}

std::string Ipv6(const std::string& next, const std::string& rest) {
  return kEthernet6 + ("60000000 0014 " + next) +
         " 40 20010db8000000000000000000000001 20010db8000000000000000000000002 " + rest;
}

TEST(PacketView, OfIpv4) {
  EXPECT_EQ(Seen(Ipv4("4000", "06", kSyn)), "10.1.0.1:40000 > 192.0.2.1:81 TCP SYN");
  EXPECT_EQ(Seen(Ipv4("4000", "11", "9c40 0035 0008 0000")), "10.1.0.1:40000 > 192.0.2.1:53 UDP");
  EXPECT_EQ(Seen(Ipv4("0000", "01", "0304 0000")), "10.1.0.1 > 192.0.2.1 ICMP type 3 code 4");
  EXPECT_EQ(Seen(Ipv4("20b9", "11", "9c40 0035")), "10.1.0.1 > 192.0.2.1 UDP fragment at 1480");
  EXPECT_EQ(Seen(Ipv4("0000", "2f", "0000 0800")), "10.1.0.1 > 192.0.2.1 protocol 47");
}

TEST(PacketView, OfIpv6WithItsExtensions) {
  EXPECT_EQ(Seen(Ipv6("06", kSyn)), "[2001:db8::1]:40000 > [2001:db8::2]:81 TCP SYN");
  EXPECT_EQ(Seen(Ipv6("00", std::string("3c00 000000000000 0600 000000000000 ") + kSyn)),
            "[2001:db8::1]:40000 > [2001:db8::2]:81 TCP SYN");
  EXPECT_EQ(Seen(Ipv6("2c", "1100 05c8 00000007 9c40 0035")),
            "2001:db8::1 > 2001:db8::2 UDP fragment at 1480");
  EXPECT_EQ(Seen(Ipv6("3a", "0200 0000")), "2001:db8::1 > 2001:db8::2 ICMPv6 type 2 code 0");
}

TEST(PacketView, SaysNothingThatIsNotThere) {
  const std::vector<std::string> packets = {
      Ipv4("4000", "06", kSyn), Ipv6("06", kSyn),
      Ipv6("00", std::string("2c07 000000000000 ") + std::string(112, '0') + "0600 0000 00000007 " + kSyn)};
  for (const std::string& packet : packets) {
    const Bytes whole = Hex(packet);
    for (size_t size = 0; size <= whole.size(); ++size) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      const PacketView view = ViewOf(cut);
      EXPECT_EQ(view.source.has_value(), view.destination.has_value()) << size;
      EXPECT_EQ(view.source_port.value_or(40000), 40000) << size;
      EXPECT_TRUE(view.detail.empty() || view.detail == "SYN") << view.detail << " " << size;
    }
  }
  EXPECT_EQ(Seen(""), "too short to read");
  EXPECT_EQ(Seen("020000000001 02000000000c 0806 0001"), "too short to read");
}

}  // namespace
}  // namespace kube_lvs::cli
