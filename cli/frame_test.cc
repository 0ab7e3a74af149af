#include "cli/frame.h"

#include <gtest/gtest.h>
#include <linux/ip_vs.h>

namespace kube_lvs::cli {
namespace {

FrameSection Section(int services) {
  FrameSection out{
      .heading = "IP Virtual Server version 1.2.1 (size=4096)", .table = {}, .trouble = ""};
  for (int i = 1; i <= services; ++i) {
    ListedService listed;
    const std::string vip = "192.0.2." + std::to_string(i) + ":80";
    listed.service.key = {Dataplane::kIpvs, *Endpoint::Parse(vip), Protocol::kTcp};
    listed.service.rates = {.packets = 4000, .bytes = 1234567, .connections = 12};
    for (int n = 1; n <= 2; ++n) {
      ipvs::RealEntry real;
      real.real.at = *Endpoint::Parse("10.0.0." + std::to_string(n) + ":8080");
      real.kernel_method = IP_VS_CONN_F_MASQ;
      real.rates = {.packets = n == 1 ? 3000u : 1000u};
      real.active_connections = 5;
      listed.reals.push_back(real);
    }
    out.table.push_back(listed);
  }
  return out;
}

// Characters, of which each block has three bytes.
size_t Width(const std::string& line) {
  size_t out = 0;
  for (const char c : line) out += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return out;
}

TEST(Frame, RatesAndSharesAsBars) {
  EXPECT_EQ(Frame("first", {Section(1)}, {.width = 100, .height = 0, .unicode = false}, NoNames()),
            (std::vector<std::string>{
                "first",
                "IP Virtual Server version 1.2.1 (size=4096)",
                "  services           Method     Weight Active Conn/s Pkts/s In B/s Out B/s  InAct",
                "TCP 192.0.2.1:80 wrr                       10     12   4.0k   1.2M       0      0",
                "  -> 10.0.0.1:8080   Masq            1      5      0   3.0k      0       0      0 "
                "##############",
                "  -> 10.0.0.2:8080   Masq            1      5      0   1.0k      0       0      0 "
                "#####",
            }));
}

TEST(Frame, NeverWiderOrHigherThanTheTerminal) {
  for (int width = 20; width <= 200; width += 3) {
    for (const int height : {0, 2, 5, 24}) {
      const auto lines =
          Frame(std::string(300, 'x'), {Section(9)}, {.width = width, .height = height}, NoNames());
      for (const std::string& line : lines) EXPECT_LE(Width(line), static_cast<size_t>(width));
      if (height > 0) {
        EXPECT_LE(lines.size(), static_cast<size_t>(height));
      }
      if (height == 5) {
        EXPECT_EQ(lines.back(), "... 26 more lines");
      }
    }
  }
}

TEST(Frame, TroubleInsteadOfATable) {
  const auto lines =
      Frame("first", {{.heading = "eBPF", .table = {}, .trouble = "no maps"}}, {}, NoNames());
  EXPECT_EQ(lines, (std::vector<std::string>{"first", "eBPF", "  no maps"}));
}

TEST(Frame, ShortNumbers) {
  EXPECT_EQ(Short(0), "0");
  EXPECT_EQ(Short(999), "999");
  EXPECT_EQ(Short(1000), "1.0k");
  EXPECT_EQ(Short(9949), "9.9k");
  EXPECT_EQ(Short(9950), "10k");
  EXPECT_EQ(Short(999499), "999k");
  EXPECT_EQ(Short(999500), "1.0M");
  EXPECT_EQ(Short(18446744073709551615ull), "18E");
}

}  // namespace
}  // namespace kube_lvs::cli
