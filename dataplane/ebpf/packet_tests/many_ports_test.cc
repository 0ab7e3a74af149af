// Services of a port range and of all ports: who gets a packet, and that it keeps its port.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class ManyPortsTest : public testing::TestWithParam<Stage> {
 protected:
  // 10000 to 10100, or as it says.
  static Service Range(uint8_t method, uint16_t first = 10000, uint16_t last = 10100) {
    return {.port = first,
            .last_port = last,
            .method = method,
            .reals = {{.address = "10.1.0.2", .port = 0}}};
  }
  template <typename AnyFrame>
  AnyFrame Linked(AnyFrame frame, const Mac& to) {
    if (GetParam() == Stage::kXdp) {
      frame.dst_mac = to;
      frame.src_mac = kOwnMac;
    }
    return frame;
  }
  void ExpectSent(const Outcome& outcome, const Bytes& expected) {
    EXPECT_EQ(outcome.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(outcome.frame), Hex(expected));
  }
  Verdict To(uint16_t port, uint8_t protocol = 6, const std::string& client = "10.1.0.1") {
    Frame in = ClientFrame(client, 40000, "10.9.0.1", port);
    in.protocol = protocol;
    return director_.Run(in).verdict;
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, ManyPortsTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ManyPortsTest, ARangeHasItsPortsAndNoOther) {
  director_.Add(Range(KLVS_METHOD_DIRECT_ROUTING));
  for (const uint16_t port : {10000, 10001, 10063, 10064, 10099, 10100}) {
    EXPECT_EQ(To(port), Verdict::kSent) << port;
  }
  for (const uint16_t port : {9999, 10101, 80, 1, 65535}) {
    EXPECT_EQ(To(port), Verdict::kDropped) << port;
  }
  EXPECT_EQ(To(10000, 17), Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_service", 6}}));
  EXPECT_EQ(director_.ServiceCounters(1).connections, 6u);
}

TEST_P(ManyPortsTest, AllPortsAreThoseOfEveryProtocol) {
  Service all = Range(KLVS_METHOD_DIRECT_ROUTING, 0, 65535);
  director_.Add(all);
  for (const uint16_t port : {1, 80, 32768, 65535}) {
    EXPECT_EQ(To(port), Verdict::kSent) << port;
    EXPECT_EQ(To(port, 17), Verdict::kSent) << port;
    EXPECT_EQ(To(port, 132), Verdict::kSent) << port;
  }
  all.vip = "10.9.0.2";  // another VIP is another matter
  director_.SetAddress(all.vip, KLVS_ADDRESS_VIP);
  EXPECT_EQ(director_.Run(ClientFrame("10.1.0.1", 40000, all.vip, 80)).verdict, Verdict::kDropped);
}

TEST_P(ManyPortsTest, ASinglePortWinsOverARangeAndThatOverAllPorts) {
  Service all = Range(KLVS_METHOD_DIRECT_ROUTING, 0, 65535);
  director_.Add(all);
  Service range = Range(KLVS_METHOD_DIRECT_ROUTING);
  range.id = range.first_real = 2;
  director_.Add(range);
  Service one = range;
  one.id = one.first_real = 3;
  one.port = one.reals[0].port = 10050;
  one.last_port = 0;
  director_.Add(one);
  const std::pair<uint16_t, uint32_t> expected[] = {{10050, 3}, {10049, 2}, {10051, 2}, {9999, 1}};
  for (const auto& [port, service] : expected) {
    const uint64_t before = director_.ServiceCounters(service).connections;
    EXPECT_EQ(To(port), Verdict::kSent);
    EXPECT_EQ(director_.ServiceCounters(service).connections, before + 1) << port;
  }
  EXPECT_EQ(To(10050, 17), Verdict::kSent);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 2u);
}

TEST_P(ManyPortsTest, AnOwnerThatIsGoneHasNoPort) {
  director_.Add(Range(KLVS_METHOD_DIRECT_ROUTING));
  director_.ForgetWide(Range(KLVS_METHOD_DIRECT_ROUTING));
  EXPECT_EQ(To(10000), Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_service", 1}}));
}

TEST_P(ManyPortsTest, NatKeepsThePortAndTheReplyComesBackFromIt) {
  for (const uint8_t protocol : {6, 17}) {
    for (const bool snat : {true, false}) {
      Director director(GetParam());
      Service service = Range(KLVS_METHOD_NAT);
      service.protocol = protocol;
      if (snat) service.flags = KLVS_SERVICE_SOURCE_NAT;
      director.Add(service);
      director.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
      director.settings().flags = KLVS_SETTING_PLAIN_NAT;
      director.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
      for (const uint16_t port : {10000, 10077}) {
        const uint16_t sport = static_cast<uint16_t>(port - 8000);
        Frame in = ClientFrame("10.1.0.1", sport, "10.9.0.1", port);
        in.protocol = protocol;
        Frame expected = Linked(in, kRealMac);
        if (snat) expected.src = Ip("10.1.0.254");
        expected.dst = Ip("10.1.0.2");
        expected.ttl = 63;
        for (int i = 0; i < 2; ++i) ExpectSent(director.Run(in), expected.Build());

        Frame reply = ClientFrame("10.1.0.2", port, snat ? "10.1.0.254" : "10.1.0.1", sport);
        reply.src_mac = kRealMac;
        reply.flags = kSyn | kAck;
        reply.protocol = protocol;
        expected = Linked(reply, kClientMac);
        expected.src = Ip("10.9.0.1");
        expected.dst = Ip("10.1.0.1");
        expected.ttl = 63;
        ExpectSent(director.Run(reply), expected.Build());
      }
      EXPECT_EQ(director.ServiceCounters(1).reply_packets, 2u);
    }
  }
}

TEST_P(ManyPortsTest, TunnelAndIpv6TakeThemToo) {
  director_.Add(Range(KLVS_METHOD_TUNNEL));
  const Frame in = ClientFrame("10.1.0.1", 40000, "10.9.0.1", 10007);
  ExpectSent(director_.Run(in),
             Encapsulate(Linked(in, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2")));

  Service six = Range(KLVS_METHOD_NAT);
  six.id = six.first_real = 2;
  six.vip = "2001:db8:9::1";
  six.reals[0].address = "2001:db8:1::2";
  director_.Add(six);
  const Frame6 in6 = ClientFrame6("2001:db8:1::1", 40000, six.vip, 10007);
  Frame6 expected = Linked(in6, kRealMac);
  expected.dst = "2001:db8:1::2";
  expected.hops = 63;
  ExpectSent(director_.Run(in6), expected.Build());
  EXPECT_EQ(director_.Run(ClientFrame6("2001:db8:1::1", 40000, six.vip, 10101)).verdict,
            Verdict::kDropped);
}

}  // namespace
}  // namespace kube_lvs::ebpf
