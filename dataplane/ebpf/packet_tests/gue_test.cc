// Tunnels by GUE: both outer headers, a source port for each connection, and what fits.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint16_t kPort = 6080;

class GueTest : public testing::TestWithParam<Stage> {
 protected:
  static Service Of(bool ipv6) {
    return {.vip = ipv6 ? "2001:db8:9::1" : "10.9.0.1",
            .method = KLVS_METHOD_TUNNEL,
            .gue_port = kPort,
            .reals = {{.address = ipv6 ? "2001:db8:1::2" : "10.1.0.2"}}};
  }
  template <typename AnyFrame>
  AnyFrame Linked(AnyFrame frame) {
    if (GetParam() == Stage::kXdp) {
      frame.dst_mac = kRealMac;
      frame.src_mac = kOwnMac;
    }
    return frame;
  }
  // Of a frame behind Ethernet and an outer header of that length.
  static uint16_t SourcePort(const Outcome& outcome, size_t header) {
    if (outcome.frame.size() < 14 + header + 2) return 0;
    return outcome.frame[14 + header] << 8 | outcome.frame[15 + header];
  }
  void ExpectSent(const Frame& in) {
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(EncapsulateGue(Linked(in).Build(), Ip("10.1.0.254"),
                                                 Ip("10.1.0.2"), SourcePort(out, 20), kPort)));
    EXPECT_GE(SourcePort(out, 20), 0xc000);
  }
  void ExpectSent(const Frame6& in) {
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(EncapsulateGue6(Linked(in).Build(), "2001:db8:1::254",
                                                  "2001:db8:1::2", SourcePort(out, 40), kPort)));
    EXPECT_GE(SourcePort(out, 40), 0xc000);
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, GueTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(GueTest, ThePacketIsBehindBothHeaders) {
  director_.Add(Of(false));
  director_.Add([] {
    Service service = Of(false);
    service.protocol = 17;
    service.id = service.first_real = 2;
    return service;
  }());
  Frame in = ClientFrame();
  in.tos = 0x2e;
  for (const uint8_t protocol : {6, 17}) {
    in.protocol = protocol;
    for (const bool checksum : {true, false}) {
      in.udp_checksum = checksum;
      ExpectSent(in);
    }
  }
  in.protocol = 6;
  in.flags = kAck;
  in.padding = 6;
  ExpectSent(in);
}

TEST_P(GueTest, OfIpv6ThePacketIsBehindBothHeaders) {
  Service service = Of(true);
  director_.Add(service);
  service.protocol = 17;
  service.id = service.first_real = 2;
  director_.Add(service);
  Frame6 in = ClientFrame6();
  in.traffic_class = 0x2e;
  for (const uint8_t protocol : {6, 17}) {
    in.protocol = protocol;
    ExpectSent(in);
  }
}

TEST_P(GueTest, AConnectionKeepsItsSourcePortAndOthersHaveOthers) {
  director_.Add(Of(false));
  std::set<uint16_t> ports;
  for (uint16_t sport = 40000; sport < 40032; ++sport) {
    Frame in = ClientFrame("10.1.0.1", sport);
    const uint16_t first = SourcePort(director_.Run(in), 20);
    in.flags = kAck;
    EXPECT_EQ(SourcePort(director_.Run(in), 20), first);
    ports.insert(first);
  }
  EXPECT_GT(ports.size(), 24u);
}

TEST_P(GueTest, TheClientLearnsWhatFits) {
  director_.Add(Of(false));
  Frame in = ClientFrame();
  in.dont_fragment = true;
  in.payload = std::string(1500 - 32 - 40, 'x');
  ExpectSent(in);
  in.payload += 'x';
  const Outcome out = director_.Run(in);
  EXPECT_EQ(out.verdict, Verdict::kSent);
  ASSERT_GE(out.frame.size(), 42u);
  EXPECT_EQ(out.frame[34], 3);
  EXPECT_EQ(out.frame[35], 4);
  EXPECT_EQ(out.frame[40] << 8 | out.frame[41], 1468);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 1}}));
}

TEST_P(GueTest, OfIpv6TheClientLearnsWhatFits) {
  director_.Add(Of(true));
  Frame6 in = ClientFrame6();
  in.payload = std::string(1500 - 52 - 60, 'x');
  ExpectSent(in);
  in.payload += 'x';
  const Outcome out = director_.Run(in);
  EXPECT_EQ(out.verdict, Verdict::kSent);
  ASSERT_GE(out.frame.size(), 62u);
  EXPECT_EQ(out.frame[54], 2);
  EXPECT_EQ(out.frame[60] << 8 | out.frame[61], 1448);
}

}  // namespace
}  // namespace kube_lvs::ebpf
