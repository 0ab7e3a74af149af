// Networks of VIPs: each address of one is balanced, answered for, and seen by clients as itself.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

using Drops = std::map<std::string, uint64_t>;

constexpr uint64_t kForEver = ~uint64_t{0};
constexpr uint32_t kAnswered = KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP;

class NetworkTest : public testing::TestWithParam<Stage> {
 protected:
  // Of 10.9.0.0/24, or 2001:db8:9::/112.
  static Service Of(uint8_t method, bool ipv6 = false) {
    return {.vip = ipv6 ? "2001:db8:9::1" : "10.9.0.1",
            .method = method,
            .reals = {{.address = ipv6 ? "2001:db8:1::2" : "10.1.0.2"}}};
  }
  void Add(const Service& service, uint32_t flags = KLVS_ADDRESS_VIP, uint64_t claim_until = 0) {
    director_.Add(service);
    const bool ipv6 = service.vip.find(':') != std::string::npos;
    director_.Spread(service.vip, ipv6 ? "2001:db8:9::/112" : "10.9.0.0/24", flags, claim_until);
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
  Verdict To(const std::string& vip, uint16_t port = 80) {
    return director_.Run(ClientFrame("10.1.0.1", 40000, vip, port)).verdict;
  }
  Verdict To6(const std::string& vip) {
    return director_.Run(ClientFrame6("2001:db8:1::1", 40000, vip, 80)).verdict;
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, NetworkTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(NetworkTest, HasItsAddressesAndNoOther) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  for (const char* vip : {"10.9.0.0", "10.9.0.1", "10.9.0.128", "10.9.0.255"}) {
    EXPECT_EQ(To(vip), Verdict::kSent) << vip;
  }
  EXPECT_EQ(To("10.8.255.255"), Verdict::kUntouched);
  EXPECT_EQ(To("10.9.1.0"), Verdict::kUntouched);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 4u);
  EXPECT_EQ(To("10.9.0.7", 81), Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (Drops{{"no_service", 1}}));
}

TEST_P(NetworkTest, OfIpv6HasItsAddressesAndNoOther) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING, true));
  for (const char* vip : {"2001:db8:9::", "2001:db8:9::8000", "2001:db8:9::ffff"}) {
    EXPECT_EQ(To6(vip), Verdict::kSent) << vip;
  }
  EXPECT_EQ(To6("2001:db8:9::1:0"), Verdict::kUntouched);
  EXPECT_EQ(To6("2001:db8:8::1"), Verdict::kUntouched);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 3u);
}

TEST_P(NetworkTest, IsNotLookedForWithoutTheSetting) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  director_.settings().flags = 0;
  EXPECT_EQ(To("10.9.0.7"), Verdict::kUntouched);
}

TEST_P(NetworkTest, AVipOfItsOwnInItIsAnother) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  director_.SetAddress("10.9.0.7", KLVS_ADDRESS_VIP);
  EXPECT_EQ(To("10.9.0.7"), Verdict::kDropped);
  director_.SetAddress("10.9.0.8", KLVS_ADDRESS_SNAT);  // no answer to one of our own
  EXPECT_EQ(To("10.9.0.8"), Verdict::kUntouched);
  director_.SetAddress("10.9.0.9", KLVS_ADDRESS_NAT_REAL);  // what was a real server before
  EXPECT_EQ(To("10.9.0.9"), Verdict::kSent);
}

TEST_P(NetworkTest, NatGoesAndComesByTheVeryAddress) {
  for (const bool ipv6 : {false, true}) {
    for (const bool snat : {true, false}) {
      Service service = Of(KLVS_METHOD_NAT, ipv6);
      service.reals[0].port = 8080;
      if (snat) service.flags = KLVS_SERVICE_SOURCE_NAT;
      Add(service);
      director_.settings().flags |= KLVS_SETTING_PLAIN_NAT;
      director_.SetAddress(ipv6 ? "2001:db8:1::254" : "10.1.0.254", KLVS_ADDRESS_SNAT);
      director_.SetAddress(service.reals[0].address, KLVS_ADDRESS_NAT_REAL);
      for (const uint16_t host : {7, 8}) {
        const uint16_t sport = static_cast<uint16_t>(2000 + host + (snat ? 100 : 0));
        if (ipv6) {
          const std::string vip = "2001:db8:9::" + std::to_string(host);
          const Frame6 in = ClientFrame6("2001:db8:1::1", sport, vip, 80);
          Frame6 expected = Linked(in, kRealMac);
          if (snat) expected.src = "2001:db8:1::254";
          expected.dst = "2001:db8:1::2";
          expected.dport = 8080;
          expected.hops = 63;
          ExpectSent(director_.Run(in), expected.Build());
          Frame6 reply = ClientFrame6("2001:db8:1::2", 8080,
                                      snat ? "2001:db8:1::254" : "2001:db8:1::1", sport);
          reply.src_mac = kRealMac;
          reply.flags = kSyn | kAck;
          expected = Linked(reply, kClientMac);
          expected.src = vip;
          expected.dst = "2001:db8:1::1";
          expected.sport = 80;
          expected.hops = 63;
          ExpectSent(director_.Run(reply), expected.Build());
          continue;
        }
        const std::string vip = "10.9.0." + std::to_string(host);
        const Frame in = ClientFrame("10.1.0.1", sport, vip, 80);
        Frame expected = Linked(in, kRealMac);
        if (snat) expected.src = Ip("10.1.0.254");
        expected.dst = Ip("10.1.0.2");
        expected.dport = 8080;
        expected.ttl = 63;
        ExpectSent(director_.Run(in), expected.Build());
        Frame reply = ClientFrame("10.1.0.2", 8080, snat ? "10.1.0.254" : "10.1.0.1", sport);
        reply.src_mac = kRealMac;
        reply.flags = kSyn | kAck;
        expected = Linked(reply, kClientMac);
        expected.src = Ip(vip);
        expected.dst = Ip("10.1.0.1");
        expected.sport = 80;
        expected.ttl = 63;
        ExpectSent(director_.Run(reply), expected.Build());
      }
    }
  }
}

TEST_P(NetworkTest, ATunnelKeepsTheVeryAddress) {
  Add(Of(KLVS_METHOD_TUNNEL));
  const Frame in = ClientFrame("10.1.0.1", 40000, "10.9.0.77", 80);
  ExpectSent(director_.Run(in),
             Encapsulate(Linked(in, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2")));
}

TEST_P(NetworkTest, ManyPortsAreThoseOfEachAddress) {
  Service range = Of(KLVS_METHOD_DIRECT_ROUTING);
  range.port = 10000;
  range.last_port = 10100;
  range.reals[0].port = 0;
  Add(range);
  EXPECT_EQ(To("10.9.0.7", 10000), Verdict::kSent);
  EXPECT_EQ(To("10.9.0.8", 10100), Verdict::kSent);
  EXPECT_EQ(To("10.9.0.8", 10101), Verdict::kDropped);
}

TEST_P(NetworkTest, DhChoosesByTheVeryAddress) {
  Service service = Of(KLVS_METHOD_DIRECT_ROUTING);
  service.scheduler = KLVS_SCHEDULER_DH;
  service.reals.push_back({.address = "10.1.0.3"});
  Add(service);
  // By the kernel's hash of the address: every other bucket has the second real server.
  for (uint32_t i = 0; i < KLVS_HASH_BUCKETS; ++i) director_.tables()[i].real = 1 + i % 2;
  for (uint32_t host = 0; host < 32; ++host) {
    const std::string vip = "10.9.0." + std::to_string(host);
    const uint32_t bucket = Ip(vip) * 0x61C88647U >> 24;
    const uint64_t before = director_.RealCounters(1 + bucket % 2).connections;
    EXPECT_EQ(To(vip), Verdict::kSent);
    EXPECT_EQ(director_.RealCounters(1 + bucket % 2).connections, before + 1) << vip;
  }
  EXPECT_GT(director_.RealCounters(1).connections, 0u);
  EXPECT_GT(director_.RealCounters(2).connections, 0u);
}

TEST_P(NetworkTest, PersistenceIsOfAllItsAddresses) {
  Service service = Of(KLVS_METHOD_DIRECT_ROUTING);
  service.template_seconds = 60;
  service.reals.push_back({.address = "10.1.0.3"});
  Add(service);
  for (const char* vip : {"10.9.0.1", "10.9.0.2", "10.9.0.3"}) EXPECT_EQ(To(vip), Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(1).connections, 3u);
}

TEST_P(NetworkTest, NoClientHasOneOfItsAddresses) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  EXPECT_EQ(director_.Run(ClientFrame("10.9.0.200", 40000, "10.9.0.7", 80)).verdict,
            Verdict::kDropped);
  Add(Of(KLVS_METHOD_DIRECT_ROUTING, true));
  EXPECT_EQ(director_.Run(ClientFrame6("2001:db8:9::c8", 40000, "2001:db8:9::7", 80)).verdict,
            Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (Drops{{"martian", 2}}));
}

TEST_P(NetworkTest, ArpForEachIsAnsweredWhileTheClaimLasts) {
  Arp request;
  request.src_mac = request.sender_mac = kClientMac;
  request.sender = Ip("10.1.0.1");
  request.target = Ip("10.9.0.77");
  Arp answer;
  answer.operation = 2;
  answer.dst_mac = answer.target_mac = kClientMac;
  answer.src_mac = answer.sender_mac = kOwnMac;
  answer.sender = request.target;
  answer.target = request.sender;
  Add(Of(KLVS_METHOD_DIRECT_ROUTING), kAnswered, kForEver);
  ExpectSent(director_.Run(request.Build()), answer.Build());
  request.target = Ip("10.9.1.77");
  EXPECT_EQ(director_.Run(request.Build()).verdict, Verdict::kUntouched);
  request.target = Ip("10.9.0.77");
  Add(Of(KLVS_METHOD_DIRECT_ROUTING), kAnswered, director_.Now().boot_ns);
  EXPECT_EQ(director_.Run(request.Build()).verdict, Verdict::kUntouched);
  Add(Of(KLVS_METHOD_DIRECT_ROUTING), KLVS_ADDRESS_VIP, kForEver);
  EXPECT_EQ(director_.Run(request.Build()).verdict, Verdict::kUntouched);
}

TEST_P(NetworkTest, SolicitationsForEachAreAnsweredWhileTheClaimLasts) {
  Frame6 ends;
  ends.dst_mac = {0x33, 0x33, 0xff, 0, 0, 0x77};
  ends.src_mac = kClientMac;
  ends.src = "fe80::c";
  ends.dst = "ff02::1:ff00:77";
  ends.hops = 255;
  Bytes body(4, 0);
  const klvs_in6 target = Ip6("2001:db8:9::77");
  const auto* bytes = reinterpret_cast<const uint8_t*>(&target);
  body.insert(body.end(), bytes, bytes + 16);
  const Bytes question = Icmp6(ends, 135, 0, body).Build();
  Add(Of(KLVS_METHOD_DIRECT_ROUTING, true), kAnswered, kForEver);
  const Outcome out = director_.Run(question);
  EXPECT_EQ(out.verdict, Verdict::kSent);
  ASSERT_GE(out.frame.size(), 78u);
  EXPECT_EQ(out.frame[54], 136);
  EXPECT_EQ(Bytes(out.frame.begin() + 22, out.frame.begin() + 38), Bytes(bytes, bytes + 16));
  EXPECT_EQ(Bytes(out.frame.begin() + 62, out.frame.begin() + 78), Bytes(bytes, bytes + 16));
  Add(Of(KLVS_METHOD_DIRECT_ROUTING, true), kAnswered, director_.Now().boot_ns);
  EXPECT_EQ(director_.Run(question).verdict, Verdict::kUntouched);
}

TEST_P(NetworkTest, EachAnswersPings) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  Frame in = ClientFrame("10.1.0.1", 0, "10.9.0.77", 0);
  in.protocol = 1;
  Bytes echo = {8, 0, 0, 0, 1, 2, 3, 4};
  const uint16_t sum = Checksum(echo.data(), echo.size());
  echo[2] = static_cast<uint8_t>(sum >> 8);
  echo[3] = static_cast<uint8_t>(sum & 0xff);
  in.payload.assign(echo.begin(), echo.end());
  const Outcome out = director_.Run(in);
  EXPECT_EQ(out.verdict, Verdict::kSent);
  EXPECT_EQ(out.frame[34], 0);
  const uint32_t from = Ip("10.9.0.77");
  EXPECT_EQ(out.frame[26] << 24 | out.frame[27] << 16 | out.frame[28] << 8 | out.frame[29],
            static_cast<int>(from));
}

}  // namespace
}  // namespace kube_lvs::ebpf
