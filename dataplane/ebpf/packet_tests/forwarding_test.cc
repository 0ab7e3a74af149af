// Each forwarding method: verdict, every byte, connection and counters, with XDP and with tc.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class ForwardingTest : public testing::TestWithParam<Stage> {
 protected:
  // The frame with the link addresses it leaves with: tc leaves those to the kernel.
  Frame Linked(Frame frame, const Mac& to) {
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

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, ForwardingTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ForwardingTest, DirectRoutingChangesTheLinkAddressesAndCountsAHop) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  const Frame in = ClientFrame();
  Frame expected = Linked(in, kRealMac);
  expected.ttl = 63;
  ExpectSent(director_.Run(in), expected.Build());

  const klvs_conn& c = director_.Connection();
  EXPECT_EQ(c.key.src, htonl(Ip("10.1.0.1")));
  EXPECT_EQ(c.key.dst, htonl(Ip("10.9.0.1")));
  EXPECT_EQ(c.key.sport, htons(40000));
  EXPECT_EQ(c.key.dport, htons(80));
  EXPECT_EQ(c.key.protocol, 6);
  EXPECT_EQ(c.real, 1u);
  EXPECT_EQ(c.service, 1u);
  EXPECT_EQ(KLVS_CTL_STATE(c.ctl), KLVS_SYN_RECV);
  EXPECT_EQ(KLVS_CTL_FLAGS(c.ctl), KLVS_CONN_LIVE);
  EXPECT_TRUE(director_.Entries(true).empty());

  const klvs_counters counters = director_.ServiceCounters(1);
  EXPECT_EQ(counters.packets, 1u);
  EXPECT_EQ(counters.bytes, 45u);
  EXPECT_EQ(counters.connections, 1u);
  EXPECT_EQ(director_.RealCounters(1).packets, 1u);
  EXPECT_EQ(director_.RealCounters(1).bytes, 45u);
  EXPECT_EQ(director_.RealCounters(1).connections, 1u);
  EXPECT_EQ(director_.real_conns(1).active, 1u);
  EXPECT_EQ(director_.real_conns(1).inactive, 0u);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(ForwardingTest, PacketsOfAConnectionStayWithItsRealServer) {
  director_.Add({.reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}}});
  Frame in = ClientFrame();
  director_.Run(in);
  in.flags = kAck;
  Frame expected = Linked(in, kRealMac);
  expected.ttl = 63;
  for (int i = 0; i < 3; ++i) ExpectSent(director_.Run(in), expected.Build());
  EXPECT_EQ(director_.Connection().real, 1u);
  EXPECT_EQ(director_.RealCounters(1).packets, 4u);
  EXPECT_EQ(director_.RealCounters(1).connections, 1u);
  EXPECT_EQ(director_.RealCounters(2).packets, 0u);
}

// Another VIP has its slot.
TEST_P(ForwardingTest, AVipThatIsNotAtHandIsLookedUp) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  const uint32_t slot = klvs_vip_slot(htonl(Ip("10.9.0.1")));
  uint32_t other = Ip("10.9.0.2");
  while (klvs_vip_slot(htonl(other)) != slot) ++other;
  Frame in = ClientFrame();
  Frame expected = Linked(in, kRealMac);
  expected.ttl = 63;
  for (const uint64_t word : {uint64_t{0}, uint64_t{klvs_vip_word(htonl(other), 77)}}) {
    director_.settings().vips[slot] = word;
    ExpectSent(director_.Run(in), expected.Build());
    EXPECT_EQ(director_.Connection().real, 1u);
    director_.ForgetConnections();  // of one that is there nobody asks for the VIP
  }
}

TEST_P(ForwardingTest, AVipAtHandIsNotLookedUp) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  __u64& word = director_.settings().vips[klvs_vip_slot(htonl(Ip("10.9.0.1")))];
  const __u64 at_hand = word;
  director_.SetAddress("10.9.0.1", 0);  // whoever looks it up finds that it is no VIP
  EXPECT_EQ(director_.Run(ClientFrame()).verdict, Verdict::kUntouched);
  word = at_hand;
  EXPECT_EQ(director_.Run(ClientFrame()).verdict, Verdict::kSent);
}

TEST_P(ForwardingTest, TunnelPutsAnOuterHeaderInFront) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  Frame in = ClientFrame();
  in.tos = 0x2a;
  ExpectSent(director_.Run(in),
             Encapsulate(Linked(in, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2")));
}

TEST_P(ForwardingTest, TunnelLeavesThePaddingOfShortFramesOutOfItsLength) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  Frame in = ClientFrame();
  in.payload.clear();
  in.padding = 6;
  ExpectSent(director_.Run(in),
             Encapsulate(Linked(in, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2")));
}

TEST_P(ForwardingTest, TunnelOfAPacketThatMayBeFragmentedGetsAnId) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  Frame in = ClientFrame();
  in.dont_fragment = false;
  const Outcome out = director_.Run(in);
  ASSERT_GT(out.frame.size(), 20u);
  ExpectSent(out, Encapsulate(Linked(in, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2"),
                              out.frame[18] << 8 | out.frame[19]));
}

TEST_P(ForwardingTest, TunnelDropsWhatDoesNotFit) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  Frame in = ClientFrame();
  in.dont_fragment = false;
  in.payload = std::string(1440, 'x');  // 1480 with headers, 1500 in the tunnel
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kSent);
  in.payload += 'x';
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 1}}));
}

TEST_P(ForwardingTest, NatWithSourceNatReplacesBothEndsAndTheReplyComesBack) {
  director_.Add({.port = 80,
                 .flags = KLVS_SERVICE_SOURCE_NAT,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "10.1.0.2", .port = 8080}}});
  director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);

  const Frame in = ClientFrame("10.1.0.1", 2000);  // its own port is in the range, and free
  Frame expected = Linked(in, kRealMac);
  expected.src = Ip("10.1.0.254");
  expected.dst = Ip("10.1.0.2");
  expected.dport = 8080;
  expected.ttl = 63;
  ExpectSent(director_.Run(in), expected.Build());

  ASSERT_EQ(director_.Entries(true).size(), 1u);
  const klvs_conn& c = director_.Connection();
  EXPECT_EQ(KLVS_CTL_FLAGS(c.ctl), KLVS_CONN_LIVE | KLVS_CONN_NAT | KLVS_CONN_SNAT);
  EXPECT_EQ(c.nat_addr, htonl(Ip("10.1.0.254")));
  EXPECT_EQ(c.nat_port, htons(2000));

  Frame reply = ClientFrame("10.1.0.2", 8080, "10.1.0.254", 2000);
  reply.src_mac = kRealMac;
  reply.flags = kSyn | kAck;
  expected = Linked(reply, kClientMac);
  expected.src = Ip("10.9.0.1");
  expected.sport = 80;
  expected.dst = Ip("10.1.0.1");
  expected.dport = 2000;
  expected.ttl = 63;
  ExpectSent(director_.Run(reply), expected.Build());
  EXPECT_EQ(director_.ServiceCounters(1).packets, 1u);
  EXPECT_EQ(director_.ServiceCounters(1).reply_packets, 1u);
  EXPECT_EQ(director_.RealCounters(1).reply_bytes, 45u);
}

TEST_P(ForwardingTest, NatWithoutSourceNatKeepsTheClient) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2", .port = 8080}}});
  director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
  director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);

  const Frame in = ClientFrame();
  Frame expected = Linked(in, kRealMac);
  expected.dst = Ip("10.1.0.2");
  expected.dport = 8080;
  expected.ttl = 63;
  ExpectSent(director_.Run(in), expected.Build());

  Frame reply = ClientFrame("10.1.0.2", 8080, "10.1.0.1", 40000);
  reply.src_mac = kRealMac;
  reply.flags = kSyn | kAck;
  expected = Linked(reply, kClientMac);
  expected.src = Ip("10.9.0.1");
  expected.sport = 80;
  expected.ttl = 63;
  ExpectSent(director_.Run(reply), expected.Build());
}

TEST_P(ForwardingTest, NatOfUdpKeepsAnAbsentChecksumAbsentAndNeverWritesZero) {
  director_.Add({.protocol = 17,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "10.1.0.2", .port = 8080}}});
  Frame in = ClientFrame();
  in.protocol = 17;
  in.udp_checksum = false;
  Frame expected = Linked(in, kRealMac);
  expected.dst = Ip("10.1.0.2");
  expected.dport = 8080;
  expected.ttl = 63;
  ExpectSent(director_.Run(in), expected.Build());

  // The word that makes the new checksum zero, which is written as 0xffff.
  in.udp_checksum = expected.udp_checksum = true;
  expected.payload = std::string(2, '\0');
  Bytes bytes = expected.Build();
  in.payload = expected.payload = {static_cast<char>(bytes[40]), static_cast<char>(bytes[41])};
  bytes = expected.Build();
  ASSERT_EQ(bytes[40] << 8 | bytes[41], 0xffff);
  ExpectSent(director_.Run(in), bytes);
}

TEST_P(ForwardingTest, NatCopesWithEveryPortAndOptions) {
  director_.Add({.flags = KLVS_SERVICE_SOURCE_NAT,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "192.168.255.254", .port = 65535}}});
  for (uint32_t port = 1024; port < 32768; port += 997) {
    Frame in = ClientFrame("203.0.113.9", port);
    in.ip_options = {1, 1, 1, 0};
    in.tcp_options = {2, 4, 5, 180};
    in.payload = std::string(port % 7, 'p');
    Frame expected = Linked(in, kRealMac);
    expected.src = Ip("10.1.0.254");
    expected.dst = Ip("192.168.255.254");
    expected.dport = 65535;
    expected.ttl = 63;
    ExpectSent(director_.Run(in), expected.Build());
  }
}

TEST_P(ForwardingTest, SourceNatTakesAnotherPortWhenTheClientsIsTakenOrOutside) {
  director_.Add({.flags = KLVS_SERVICE_SOURCE_NAT,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "10.1.0.2"}}});
  director_.Run(ClientFrame("10.1.0.1", 2000));
  director_.Run(ClientFrame("10.1.0.3", 2000));
  director_.Run(ClientFrame("10.1.0.1", 50000));
  std::set<uint16_t> ports;
  for (const klvs_conn* c : director_.Entries()) {
    const uint16_t port = ntohs(c->nat_port);
    EXPECT_GE(port, 1024);
    EXPECT_LT(port, 32768);
    ports.insert(port);
  }
  EXPECT_EQ(ports.size(), 3u);
  EXPECT_TRUE(ports.contains(2000));
}

// Of an address with three ports, by a connection each of which has got so far.
class SourcePortTest : public ForwardingTest {
 protected:
  SourcePortTest() {
    director_.settings().snat_port_base = 5000;
    director_.settings().snat_port_count = 3;
    director_.Add({.flags = KLVS_SERVICE_SOURCE_NAT,
                   .method = KLVS_METHOD_NAT,
                   .reals = {{.address = "10.1.0.2"}}});
    director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
  }
  Verdict Send(uint16_t port, uint8_t flags = kSyn) {
    Frame frame = ClientFrame("10.1.0.1", port);
    frame.flags = flags;
    return director_.Run(frame).verdict;
  }
  void Answer(uint16_t port, uint8_t flags) {
    for (const klvs_conn* c : director_.Entries()) {
      if (ntohs(c->key.sport) != port) continue;
      Frame reply = ClientFrame("10.1.0.2", 80, "10.1.0.254", ntohs(c->nat_port));
      reply.flags = flags;
      EXPECT_EQ(director_.Run(reply).verdict, Verdict::kSent);
    }
  }
  void Establish(uint16_t port) {
    EXPECT_EQ(Send(port), Verdict::kSent);
    Answer(port, kSyn | kAck);
    EXPECT_EQ(Send(port, kAck), Verdict::kSent);
  }
  void Close(uint16_t port) {
    EXPECT_EQ(Send(port, kFin | kAck), Verdict::kSent);
    Answer(port, kFin | kAck);
    EXPECT_EQ(Send(port, kAck), Verdict::kSent);
  }
  // The connection was last seen so many seconds before now.
  void Age(uint16_t port, uint64_t seconds) {
    for (klvs_conn* c : director_.Entries()) {
      if (ntohs(c->key.sport) == port) c->expires -= seconds * kHz;
    }
  }
  std::set<uint16_t> Clients() {
    std::set<uint16_t> out;
    for (const klvs_conn* c : director_.Entries()) out.insert(ntohs(c->key.sport));
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, SourcePortTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(SourcePortTest, WhatIsOverLongestGivesItsPort) {
  for (const uint16_t port : {40000, 40001, 40002}) Establish(port);
  Close(40001);
  Close(40002);
  Age(40002, 5);
  Age(40001, 1);
  Age(40000, 60);
  EXPECT_EQ(Send(40003), Verdict::kSent);
  EXPECT_EQ(Clients(), (std::set<uint16_t>{40000, 40001, 40003}));
  EXPECT_EQ(director_.Entries(true).size(), 3u);
  EXPECT_EQ(director_.real_conns(1).active, 2u);
  EXPECT_EQ(director_.real_conns(1).inactive, 1u);
  Answer(40003, kSyn | kAck);
  EXPECT_EQ(Send(40004), Verdict::kSent);
  EXPECT_EQ(Clients(), (std::set<uint16_t>{40000, 40003, 40004}));
  EXPECT_EQ(director_.real_conns(1).active, 3u);
  EXPECT_EQ(director_.real_conns(1).inactive, 0u);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(SourcePortTest, ThenWhatIsHalfOpen) {
  Establish(40000);
  EXPECT_EQ(Send(40001), Verdict::kSent);
  EXPECT_EQ(Send(40002), Verdict::kSent);
  Age(40000, 60);
  Age(40001, 3);
  EXPECT_EQ(Send(40003), Verdict::kSent);
  EXPECT_EQ(Clients(), (std::set<uint16_t>{40000, 40002, 40003}));
  EXPECT_EQ(director_.real_conns(1).active, 3u);
}

TEST_P(SourcePortTest, AConnectionDropsWhenNoneIsLeftAndTakesOneThatIsFree) {
  for (const uint16_t port : {40000, 40001, 40002}) Establish(port);
  EXPECT_EQ(Send(40003), Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_source_port", 1}}));
  EXPECT_EQ(director_.Entries().size(), 3u);  // the failed one left nothing
  EXPECT_EQ(director_.Entries(true).size(), 3u);
  EXPECT_EQ(director_.real_conns(1).active, 3u);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 3u);

  director_.Entries()[1]->expires = 0;
  EXPECT_EQ(Send(40004), Verdict::kSent);
  EXPECT_EQ(director_.real_conns(1).active, 3u);
}

TEST_P(ForwardingTest, ALateReplyIsLeftAlone) {
  director_.Add({.flags = KLVS_SERVICE_SOURCE_NAT,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "10.1.0.2"}}});
  director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
  director_.Run(ClientFrame("10.1.0.1", 2000));
  director_.ExpireAll();
  const Frame reply = ClientFrame("10.1.0.2", 80, "10.1.0.254", 2000);
  const Outcome out = director_.Run(reply);
  EXPECT_EQ(out.verdict, Verdict::kUntouched);
  EXPECT_EQ(Hex(out.frame), Hex(reply.Build()));
}

TEST_P(ForwardingTest, PacketsToTheSourceNatAddressThatAreNoRepliesAreTheNodesOwn) {
  director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
  Frame in = ClientFrame("10.1.0.2", 80, "10.1.0.254", 2000);
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kUntouched);
  in.more_fragments = true;
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kUntouched);
  in.more_fragments = false;
  in.protocol = 1;
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kUntouched);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(ForwardingTest, XdpLeavesToTcWhatItCannotSend) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.real(1).flags = KLVS_REAL_VALID;  // no link address
  const Frame in = ClientFrame();
  const Outcome out = director_.Run(in);
  if (GetParam() == Stage::kXdp) {
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(in.Build()));
    EXPECT_EQ(director_.ServiceCounters(1).packets, 0u);
    EXPECT_EQ(director_.RunTc(in.Build()).verdict, Verdict::kSent);
  } else {
    EXPECT_EQ(out.verdict, Verdict::kSent);
  }
  EXPECT_EQ(director_.ServiceCounters(1).packets, 1u);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 1u);
  EXPECT_EQ(KLVS_CTL_STATE(director_.Connection().ctl), KLVS_SYN_RECV);
}

TEST_P(ForwardingTest, XdpLeavesToTcWhatGoesByAnotherInterface) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  director_.real(1).ifindex = director_.ifindex() + 1;
  EXPECT_EQ(director_.Run(ClientFrame()).verdict,
            GetParam() == Stage::kXdp ? Verdict::kUntouched : Verdict::kSent);
}

TEST_P(ForwardingTest, ALocalRealServerGetsItFromTheStack) {
  director_.Add({.reals = {{.address = "10.1.0.254", .flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL}}});
  const Frame in = ClientFrame();
  const Outcome out = director_.Run(in);
  EXPECT_EQ(out.verdict, Verdict::kUntouched);
  EXPECT_EQ(Hex(out.frame), Hex(in.Build()));
  if (GetParam() == Stage::kXdp) director_.RunTc(in.Build());
  EXPECT_EQ(director_.RealCounters(1).packets, 1u);
}

}  // namespace
}  // namespace kube_lvs::ebpf
