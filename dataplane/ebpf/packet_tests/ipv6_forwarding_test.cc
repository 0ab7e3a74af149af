// IPv6 by each forwarding method: verdict, every byte, connection and counters, with XDP and tc.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr char kVip[] = "2001:db8:9::1", kClient[] = "2001:db8:1::1", kReal[] = "2001:db8:1::2",
               kSource[] = "2001:db8:1::254";

bool Same(const klvs_in6& a, std::string_view b) {
  const klvs_in6 other = Ip6(b);
  return std::memcmp(&a, &other, sizeof a) == 0;
}

class Ipv6ForwardingTest : public testing::TestWithParam<Stage> {
 protected:
  Frame6 Linked(Frame6 frame, const Mac& to) {
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
  void ExpectDropped(const Frame6& in, const std::string& reason) {
    const uint64_t before = director_.Drops()[reason];
    EXPECT_EQ(director_.Run(in).verdict, Verdict::kDropped) << reason;
    EXPECT_EQ(director_.Drops()[reason], before + 1) << reason;
  }
  Service With(uint8_t method, uint8_t protocol = 6, uint8_t flags = 0, uint16_t port = 80) {
    return {.vip = kVip,
            .protocol = protocol,
            .flags = flags,
            .method = method,
            .reals = {{.address = kReal, .port = port}}};
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, Ipv6ForwardingTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(Ipv6ForwardingTest, DirectRoutingChangesTheLinkAddressesAndCountsAHop) {
  director_.Add(With(KLVS_METHOD_DIRECT_ROUTING));
  const Frame6 in = ClientFrame6();
  Frame6 expected = Linked(in, kRealMac);
  expected.hops = 63;
  ExpectSent(director_.Run(in), expected.Build());

  const klvs_conn6& c = director_.Connection6();
  EXPECT_TRUE(Same(c.key.src, kClient) && Same(c.key.dst, kVip));
  EXPECT_EQ(c.key.sport, htons(40000));
  EXPECT_EQ(c.key.dport, htons(80));
  EXPECT_EQ(c.key.protocol, 6);
  EXPECT_EQ(c.real, 1u);
  EXPECT_EQ(KLVS_CTL_STATE(c.ctl), KLVS_SYN_RECV);
  EXPECT_EQ(KLVS_CTL_FLAGS(c.ctl), KLVS_CONN_LIVE);
  EXPECT_TRUE(director_.Entries().empty());  // of IPv4
  EXPECT_EQ(director_.ServiceCounters(1).packets, 1u);
  EXPECT_EQ(director_.ServiceCounters(1).bytes, 65u);
  EXPECT_EQ(director_.RealCounters(1).connections, 1u);
  EXPECT_EQ(director_.real_conns(1).active, 1u);
  EXPECT_TRUE(director_.Drops().empty());

  director_.ExpireAll();
  EXPECT_EQ(director_.Sweep(), 1u);
  EXPECT_EQ(director_.real_conns(1).active, 0u);
}

TEST_P(Ipv6ForwardingTest, PacketsOfAConnectionStayWithTheirRealServer) {
  Service service = With(KLVS_METHOD_DIRECT_ROUTING);
  service.reals.push_back({.address = "2001:db8:1::3"});
  director_.Add(service);
  Frame6 in = ClientFrame6();
  director_.Run(in);
  in.flags = kAck;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(director_.Run(in).verdict, Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(1).packets, 4u);
  EXPECT_EQ(director_.RealCounters(2).packets, 0u);
  in.sport = 40001;
  director_.Run(in);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_connection", 1}}));
  in.flags = kSyn;
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(2).packets, 1u);
  EXPECT_EQ(director_.Entries6().size(), 2u);
}

TEST_P(Ipv6ForwardingTest, AFullTableOfConnectionsStaysWithinItsSets) {
  Director small(GetParam(), /*sets=*/4);
  small.Add(With(KLVS_METHOD_NAT, 6, KLVS_SERVICE_SOURCE_NAT));
  uint32_t sent = 0;
  for (uint16_t port = 2000; port < 2024; ++port) {
    sent += small.Run(ClientFrame6(kClient, port)).verdict == Verdict::kSent ? 1 : 0;
  }
  EXPECT_GE(sent, 10u);
  EXPECT_LE(small.Entries6().size(), 16u);
  EXPECT_EQ(small.Entries6().size(), small.Entries6(true).size());
  EXPECT_EQ(small.Entries6().size(), small.real_conns(1).active);
}

TEST_P(Ipv6ForwardingTest, TunnelPutsAnOuterHeaderInFront) {
  director_.Add(With(KLVS_METHOD_TUNNEL));
  Frame6 in = ClientFrame6();
  in.traffic_class = 0x2a;
  ExpectSent(director_.Run(in), Encapsulate6(Linked(in, kRealMac).Build(), kSource, kReal));
  in.flags = kAck;
  in.payload.clear();
  in.padding = 6;
  ExpectSent(director_.Run(in), Encapsulate6(Linked(in, kRealMac).Build(), kSource, kReal));
}

TEST_P(Ipv6ForwardingTest, ATunnelsEndTakesTheOuterHeaderOff) {
  director_.AddTunnelPeer(kSource, kVip);
  const Bytes inner = ClientFrame6().Build();
  const Outcome out = director_.RunDecap(Encapsulate6(inner, kSource, kReal));
  EXPECT_EQ(out.verdict, Verdict::kToStack);
  EXPECT_EQ(Hex(out.frame), Hex(inner));
  for (const Bytes& other :
       {Encapsulate6(inner, kClient, kReal),
        Encapsulate6(ClientFrame6(kClient, 1, "2001:db8:9::2").Build(), kSource, kReal), inner}) {
    const Outcome left = director_.RunDecap(other);
    EXPECT_EQ(left.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(left.frame), Hex(other));
  }
  const Bytes whole = Encapsulate6(inner, kSource, kReal);
  for (size_t size = 54; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + size);
    EXPECT_EQ(director_.RunDecap(cut).verdict, Verdict::kUntouched) << size;
  }
}

TEST_P(Ipv6ForwardingTest, ATunnelsEndKnowsPrefixesOfVips) {
  director_.AddTunnelPeer(kSource, "2001:db8:9::4000/114");
  director_.AddMssClamp("2001:db8:9::4000/114", 1400);
  const auto verdict = [&](const char* vip, const char* director) {
    const Bytes inner = ClientFrame6(kClient, 1, vip).Build();
    return director_.RunDecap(Encapsulate6(inner, director, kReal)).verdict;
  };
  EXPECT_EQ(verdict("2001:db8:9::4000", kSource), Verdict::kToStack);
  EXPECT_EQ(verdict("2001:db8:9::7fff", kSource), Verdict::kToStack);
  EXPECT_EQ(verdict("2001:db8:9::8000", kSource), Verdict::kUntouched);
  EXPECT_EQ(verdict("2001:db8:9::7fff", kClient), Verdict::kUntouched);
  Frame6 in = ClientFrame6("2001:db8:9::4abc", 80, kClient, 40000);
  in.flags = kSyn | kAck;
  in.tcp_options = {2, 4, 1440 >> 8, 1440 & 255};
  Frame6 expected = in;
  expected.tcp_options = {2, 4, 1400 >> 8, 1400 & 255};
  EXPECT_EQ(Hex(director_.RunMssClamp(in.Build()).frame), Hex(expected.Build()));
  in.src = "2001:db8:9::8000";
  EXPECT_EQ(Hex(director_.RunMssClamp(in.Build()).frame), Hex(in.Build()));
}

TEST_P(Ipv6ForwardingTest, AnMssOfATunnelledVipIsClamped) {
  director_.AddMssClamp(kVip, 1400);
  Frame6 in = ClientFrame6(kVip, 80, kClient, 40000);
  in.flags = kSyn | kAck;
  in.tcp_options = {1, 2, 4, 1440 >> 8, 1440 & 255, 1, 1, 0};
  Frame6 expected = in;
  expected.tcp_options = {1, 2, 4, 1400 >> 8, 1400 & 255, 1, 1, 0};
  EXPECT_EQ(Hex(director_.RunMssClamp(in.Build()).frame), Hex(expected.Build()));
  in.src = kReal;
  EXPECT_EQ(Hex(director_.RunMssClamp(in.Build()).frame), Hex(in.Build()));
}

TEST_P(Ipv6ForwardingTest, NatWithSourceNatReplacesBothEndsAndTheReplyComesBack) {
  director_.SetAddress(kSource, KLVS_ADDRESS_SNAT);
  for (const uint8_t protocol : {6, 17}) {
    Service service = With(KLVS_METHOD_NAT, protocol, KLVS_SERVICE_SOURCE_NAT, 8080);
    service.id = service.first_real = protocol;
    director_.Add(service);
    Frame6 in = ClientFrame6(kClient, 2000);
    in.protocol = protocol;
    Frame6 expected = Linked(in, kRealMac);
    expected.src = kSource;
    expected.dst = kReal;
    expected.dport = 8080;
    expected.hops = 63;
    ExpectSent(director_.Run(in), expected.Build());

    Frame6 reply = ClientFrame6(kReal, 8080, kSource, 2000);
    reply.src_mac = kRealMac;
    reply.flags = kSyn | kAck;
    reply.protocol = protocol;
    expected = Linked(reply, kClientMac);
    expected.src = kVip;
    expected.sport = 80;
    expected.dst = kClient;
    expected.dport = 2000;
    expected.hops = 63;
    ExpectSent(director_.Run(reply), expected.Build());
    EXPECT_EQ(director_.ServiceCounters(protocol).reply_packets, 1u);
  }
  EXPECT_EQ(director_.Entries6().size(), 2u);
  for (const klvs_conn6* c : director_.Entries6()) {
    EXPECT_TRUE(Same(c->nat_addr, kSource));
    EXPECT_EQ(c->nat_port, htons(2000));
  }
}

TEST_P(Ipv6ForwardingTest, NatWithoutSourceNatKeepsTheClient) {
  director_.Add(With(KLVS_METHOD_NAT, 6, 0, 8080));
  director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
  director_.SetAddress(kReal, KLVS_ADDRESS_NAT_REAL);
  const Frame6 in = ClientFrame6();
  Frame6 expected = Linked(in, kRealMac);
  expected.dst = kReal;
  expected.dport = 8080;
  expected.hops = 63;
  ExpectSent(director_.Run(in), expected.Build());

  Frame6 reply = ClientFrame6(kReal, 8080, kClient, 40000);
  reply.src_mac = kRealMac;
  reply.flags = kSyn | kAck;
  expected = Linked(reply, kClientMac);
  expected.src = kVip;
  expected.sport = 80;
  expected.hops = 63;
  ExpectSent(director_.Run(reply), expected.Build());
  // Its own traffic stays its own.
  reply.sport = 8081;
  EXPECT_EQ(director_.Run(reply).verdict, Verdict::kUntouched);
}

TEST_P(Ipv6ForwardingTest, NatCopesWithEveryPortOptionsAndLengths) {
  director_.Add(With(KLVS_METHOD_NAT, 6, KLVS_SERVICE_SOURCE_NAT, 65535));
  for (uint32_t port = 1024; port < 32768; port += 997) {
    Frame6 in = ClientFrame6("2001:db8:ffff:ffff:ffff::9", port);
    in.tcp_options = {2, 4, 5, 180};
    in.payload = std::string(port % 7, 'p');
    if (port % 2 != 0) in.extensions = {{60, {0, 0, 1, 4, 0, 0, 0, 0}}};
    Frame6 expected = Linked(in, kRealMac);
    expected.src = kSource;
    expected.dst = kReal;
    expected.dport = 65535;
    expected.hops = 63;
    ExpectSent(director_.Run(in), expected.Build());
  }
}

TEST_P(Ipv6ForwardingTest, NatOfUdpNeverWritesAnAbsentChecksumAndTakesNone) {
  director_.Add(With(KLVS_METHOD_NAT, 17, 0, 8080));
  Frame6 in = ClientFrame6();
  in.protocol = 17;
  Frame6 expected = Linked(in, kRealMac);
  expected.dst = kReal;
  expected.dport = 8080;
  expected.hops = 63;
  // The word that makes the new checksum zero, which is written as 0xffff.
  expected.payload = std::string(2, '\0');
  Bytes bytes = expected.Build();
  in.payload = expected.payload = {static_cast<char>(bytes[60]), static_cast<char>(bytes[61])};
  bytes = expected.Build();
  ASSERT_EQ(bytes[60] << 8 | bytes[61], 0xffff);
  ExpectSent(director_.Run(in), bytes);
  in.udp_checksum = false;
  ExpectDropped(in, "bad_header");
}

TEST_P(Ipv6ForwardingTest, DropsHaveTheirReasons) {
  director_.Add(With(KLVS_METHOD_DIRECT_ROUTING));
  Frame6 in = ClientFrame6();
  in.dport = 81;
  ExpectDropped(in, "no_service");
  in = ClientFrame6();
  in.protocol = 59;
  ExpectDropped(in, "protocol");
  in.protocol = 50;
  ExpectDropped(in, "protocol");
  for (const char* martian :
       {"::", "::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1", kVip, kSource}) {
    in = ClientFrame6(martian);
    ExpectDropped(in, "martian");
  }
  in = ClientFrame6();
  director_.Run(in);
  in.hops = 1;
  ExpectDropped(in, "ttl");
  director_.real(1).flags = 0;
  in.hops = 64;
  in.flags = kAck;
  ExpectDropped(in, "bad_real");
}

TEST_P(Ipv6ForwardingTest, WhatIsNotOursIsUntouched) {
  director_.Add(With(KLVS_METHOD_DIRECT_ROUTING));
  for (const auto& change : std::map<std::string, std::string>{
           {"dst", "2001:db8:9::2"}, {"near", "2001:db8:8::1"}, {"multicast", "ff02::1"}}) {
    const Frame6 in = ClientFrame6(kClient, 40000, change.second);
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kUntouched) << change.first;
    EXPECT_EQ(Hex(out.frame), Hex(in.Build()));
  }
  Frame6 flooded = ClientFrame6();
  flooded.dst_mac = kRealMac;
  EXPECT_EQ(director_.Run(flooded).verdict, Verdict::kUntouched);
}

TEST_P(Ipv6ForwardingTest, OneThatEndsEarlyIsDroppedOrLeftToTheStack) {
  director_.Add(With(KLVS_METHOD_NAT, 6, KLVS_SERVICE_SOURCE_NAT));
  Frame6 frame = ClientFrame6();
  frame.extensions = {{0, {0, 0, 1, 4, 0, 0, 0, 0}}, {43, {0, 0, 4, 0, 0, 0, 0, 0}}};
  const Bytes whole = frame.Build();
  // For tc the kernel's test run wants a whole IPv6 header.
  for (size_t size = GetParam() == Stage::kXdp ? 15 : 54; size < whole.size(); ++size) {
    const Outcome out = director_.Run(Bytes(whole.begin(), whole.begin() + size));
    EXPECT_NE(out.verdict, Verdict::kSent) << size;
    EXPECT_EQ(out.verdict, size < 54 ? Verdict::kUntouched : Verdict::kDropped) << size;
  }
  EXPECT_EQ(director_.Run(whole).verdict, Verdict::kSent);
}

TEST_P(Ipv6ForwardingTest, ALocalRealServerGetsItFromTheStack) {
  Service service = With(KLVS_METHOD_DIRECT_ROUTING);
  service.reals[0].flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL;
  director_.Add(service);
  const Frame6 in = ClientFrame6();
  const Outcome out = director_.Run(in);
  EXPECT_EQ(out.verdict, Verdict::kUntouched);
  EXPECT_EQ(Hex(out.frame), Hex(in.Build()));
}

TEST_P(Ipv6ForwardingTest, BothFamiliesShareWhatHasNoAddresses) {
  director_.Add(With(KLVS_METHOD_DIRECT_ROUTING));
  director_.Add({.id = 2, .reals = {{.address = "10.1.0.2"}}, .first_real = 2});
  EXPECT_EQ(director_.Run(ClientFrame6()).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Run(ClientFrame()).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Connection().real, 2u);
  EXPECT_EQ(director_.Connection6().real, 1u);
}

// Source hashing folds the four words of an address, as the kernel does.
TEST_P(Ipv6ForwardingTest, SourceHashingFoldsTheAddress) {
  Service service = With(KLVS_METHOD_DIRECT_ROUTING);
  service.scheduler = KLVS_SCHEDULER_SH;
  service.reals.push_back({.address = "2001:db8:1::3"});
  director_.Add(service);
  for (int host = 1; host < 20; ++host) {
    const std::string client = "2001:db8:1::" + std::to_string(host);
    const klvs_in6 a = Ip6(client);
    const uint32_t folded = ntohl(a.word[0] ^ a.word[1] ^ a.word[2] ^ a.word[3]);
    const uint32_t slot = folded * 0x61C88647u >> 24;
    for (TableCell& cell : director_.tables().first(KLVS_HASH_BUCKETS)) cell.real = 1;
    director_.tables()[slot].real = 2;
    EXPECT_EQ(director_.Run(ClientFrame6(client)).verdict, Verdict::kSent);
    EXPECT_EQ(director_.Connection6().real, 2u) << client;
    director_.ExpireAll();
    director_.Sweep();
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
