#include "dataplane/ipvs/shown_rules.h"

#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;

constexpr char kHeading[] =
    "IP Virtual Server version 1.2.1 (size=4096)\n"
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";

ServiceKey Key(const std::string& vip, Protocol protocol = Protocol::kTcp) {
  return {.dataplane = Dataplane::kIpvs, .match = *Endpoint::Parse(vip), .protocol = protocol};
}

std::vector<ShownService> Shown(const std::string& text) {
  std::vector<ShownService> out;
  EXPECT_EQ(ForEachShown(text, [&out](const ShownService& s) { out.push_back(s); }),
            absl::OkStatus());
  return out;
}

// As Linux 6.12 printed it.
TEST(ShownRules, EveryKindOfLine) {
  const std::string text = std::string(kHeading) +
                           "TCP  C0000201:0050 wrr \n"
                           "  -> 0A000002:1F90      Masq    2147483647 3          4         \n"
                           "  -> 0A000001:1F90      Local   0      0          0         \n"
                           "UDP  C0000201:0035 rr ops \n"
                           "  -> [2001:0db8:0000:0000:0000:0000:0000:0008]:0035      Tunnel  1"
                           "      0          0         \n"
                           "IP_47  C0000201:0035 rr \n"
                           "  -> 0A000001:0035      Route   1      0          0         \n"
                           "SCTP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 sh persistent "
                           "90000 40000000\n"
                           "FWM  0000002A wlc persistent 250 FFFFFF00\n";
  EXPECT_THAT(
      Shown(text),
      ElementsAre(
          ShownService{.key = Key("192.0.2.1:80"),
                       .scheduler = "wrr",
                       .reals = {{*Endpoint::Parse("10.0.0.2:8080"), "Masq", 2147483647},
                                 {*Endpoint::Parse("10.0.0.1:8080"), "Local", 0}}},
          ShownService{.key = Key("192.0.2.1:53", Protocol::kUdp),
                       .scheduler = "rr",
                       .one_packet = true,
                       .reals = {{*Endpoint::Parse("[2001:db8::8]:53"), "Tunnel", 1}}},
          ShownService{.key = Key("[2001:db8::1]:80", Protocol::kSctp),
                       .scheduler = "sh",
                       .persistent = true,
                       .mask = 0x40000000,
                       .reals = {}},
          ShownService{.key = {.dataplane = Dataplane::kIpvs, .match = FwMark{42, Family::kIpv4}},
                       .scheduler = "wlc",
                       .persistent = true,
                       .mask = 0xffffff00,
                       .reals = {}}));
}

TEST(ShownRules, WithoutServicesThereIsTheHeading) { EXPECT_TRUE(Shown(kHeading).empty()); }

TEST(ShownRules, AnotherTextIsRefused) {
  for (const std::string line :
       {"TCP  C0000201 wrr", "TCP  C0000201:0050", "TCP  C0000201:0050 wrr flags",
        "TCP  C0000201:0050 wrr persistent 1", "TCP  C00002011:0050 wrr", "FWM  X rr",
        "TCP  C0000201:0050 wrr\n  -> 0A000001:0035 Masq", "TCP  C0000201:0050 wrr\n  <- 1",
        "TCP  C0000201:0050 wrr\n  -> 0A000001 Masq 1 0 0", "TCP  [2001:zz]:0050 wrr"}) {
    EXPECT_EQ(ForEachShown(kHeading + line, [](const ShownService&) {}).code(),
              absl::StatusCode::kInternal)
        << line;
  }
  EXPECT_EQ(ForEachShown("", [](const ShownService&) {}).code(), absl::StatusCode::kInternal);
}

TEST(ShownRules, RealServersAreWhatIsWantedInAnyOrder) {
  const std::string text = std::string(kHeading) +
                           "TCP  C0000201:0050 wrr \n"
                           "  -> 0A000003:0050      Masq    3      0          0         \n"
                           "  -> 0A000001:0050      Masq    1      0          0         \n"
                           "  -> 0A000002:0050      Masq    2      0          0         \n";
  const std::vector<ShownService> shown = Shown(text);
  VirtualService wanted{.config = {}, .reals = {}};
  for (uint32_t n = 1; n <= 3; ++n) {
    wanted.reals.push_back({.at = {IpAddress::FromV4(0x0a000000 + n), 80}, .weight = n});
  }
  EXPECT_TRUE(ShowsAs(shown[0], wanted));
  VirtualService other = wanted;
  other.reals[1].weight = 9;
  EXPECT_FALSE(ShowsAs(shown[0], other));
  other = wanted;
  other.reals[1].method = ForwardingMethod::kTunnel;
  EXPECT_FALSE(ShowsAs(shown[0], other));
  other = wanted;
  other.reals[1].at.port = 81;
  EXPECT_FALSE(ShowsAs(shown[0], other));
  other = wanted;
  other.reals.pop_back();
  EXPECT_FALSE(ShowsAs(shown[0], other));
}

}  // namespace
}  // namespace kube_lvs::ipvs
