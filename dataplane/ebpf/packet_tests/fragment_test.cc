// Fragments: the later ones go where the first went, with each method and both ways; one that comes
// before its first, or too late, goes nowhere.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class FragmentTest : public testing::TestWithParam<Stage> {
 protected:
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
  void ExpectSent(const Frame& in, const Frame& expected) {
    ExpectSent(director_.Run(in), expected.Build());
  }
  void ExpectDropped(const Frame& frame) {
    auto expected = director_.Drops();
    ++expected["fragment"];
    EXPECT_EQ(director_.Run(frame).verdict, Verdict::kDropped);
    EXPECT_EQ(director_.Drops(), expected);
  }
  static Frame First(Frame frame) {
    frame.dont_fragment = false;
    frame.more_fragments = true;
    frame.payload = std::string(160 - (frame.protocol == 6 ? 20 : 8), 'a');
    return frame;
  }
  // The part of it behind `offset` * 8 bytes.
  static Frame Later(Frame frame, uint16_t offset = 20, bool more = false) {
    frame.dont_fragment = false;
    frame.more_fragments = more;
    frame.fragment_offset = offset;
    frame.payload = std::string(77, 'b');
    return frame;
  }
  static Frame Client(uint8_t protocol) {
    Frame frame = ClientFrame("10.1.0.1", 2000);
    frame.protocol = protocol;
    return frame;
  }
  static Frame Aged(Frame frame) {
    --frame.ttl;
    return frame;
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, FragmentTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(FragmentTest, DirectRoutingSendsLaterOnesAfterTheFirst) {
  for (const uint8_t protocol : {6, 17}) {
    director_.Add({.id = protocol,
                   .protocol = protocol,
                   .reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}},
                   .first_real = protocol});
    const Frame client = Client(protocol);
    for (const Frame& in : {First(client), Later(client, 20, true), Later(client, 30)}) {
      ExpectSent(in, Aged(Linked(in, kRealMac)));
    }
    EXPECT_EQ(director_.RealCounters(protocol).packets, 3u);
    EXPECT_EQ(director_.RealCounters(protocol).connections, 1u);
    EXPECT_EQ(director_.ServiceCounters(protocol).connections, 1u);
  }
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(FragmentTest, TunnelEncapsulatesEachByItself) {
  director_.Add({.protocol = 17, .method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  for (const Frame& in : {First(Client(17)), Later(Client(17))}) {
    const Outcome out = director_.Run(in);
    ASSERT_GT(out.frame.size(), 20u);
    ExpectSent(out, Encapsulate(Linked(in, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2"),
                                out.frame[18] << 8 | out.frame[19]));
  }
}

TEST_P(FragmentTest, NatTranslatesAddressesOfLaterOnesBothWays) {
  for (const uint8_t protocol : {6, 17}) {
    for (const bool source_nat : {false, true}) {
      SCOPED_TRACE(std::to_string(protocol) + (source_nat ? " source NAT" : ""));
      director_.Add({.id = protocol,
                     .protocol = protocol,
                     .flags = source_nat ? uint8_t{KLVS_SERVICE_SOURCE_NAT} : uint8_t{0},
                     .method = KLVS_METHOD_NAT,
                     .reals = {{.address = "10.1.0.2", .port = 8080}},
                     .first_real = protocol});
      director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
      director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
      director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
      const Frame client = Client(protocol);
      for (const Frame& in : {First(client), Later(client)}) {
        Frame expected = Aged(Linked(in, kRealMac));
        if (source_nat) expected.src = Ip("10.1.0.254");
        expected.dst = Ip("10.1.0.2");
        expected.dport = 8080;
        ExpectSent(in, expected);
      }
      Frame answer = ClientFrame("10.1.0.2", 8080, source_nat ? "10.1.0.254" : "10.1.0.1", 2000);
      answer.protocol = protocol;
      answer.flags = kSyn | kAck;
      answer.id = 99;
      for (const Frame& in : {First(answer), Later(answer, 20, true), Later(answer, 30)}) {
        Frame expected = Aged(Linked(in, kClientMac));
        expected.src = Ip("10.9.0.1");
        expected.sport = 80;
        expected.dst = Ip("10.1.0.1");
        ExpectSent(in, expected);
      }
      director_.ExpireAll();
    }
    EXPECT_EQ(director_.ServiceCounters(protocol).packets, 4u);
    EXPECT_EQ(director_.ServiceCounters(protocol).reply_packets, 6u);
  }
  EXPECT_TRUE(director_.Drops().empty());
}

// Whoever needs no ports to choose needs no first fragment.
TEST_P(FragmentTest, HashesOfAddressesForwardWhatComesBeforeItsFirst) {
  Service service = {.port = 0,
                     .last_port = 65535,
                     .scheduler = KLVS_SCHEDULER_SH,
                     .reals = {{.address = "10.1.0.2", .port = 0}, {.address = "10.1.0.3", .port = 0}}};
  director_.Add(service);
  for (int i = 0; i < KLVS_HASH_BUCKETS; ++i) director_.tables()[i].real = 1 + i % 2;
  for (const char* client : {"10.1.0.1", "10.1.0.4"}) {
    Frame frame = ClientFrame(client, 2000);
    frame.protocol = 17;
    ExpectSent(Later(frame), Aged(Linked(Later(frame), kRealMac)));
    ExpectSent(First(frame), Aged(Linked(First(frame), kRealMac)));
  }
  for (const uint32_t real : {1, 2}) {
    EXPECT_EQ(director_.RealCounters(real).packets, 2u);
    EXPECT_EQ(director_.RealCounters(real).connections, 1u);
  }
  EXPECT_EQ(director_.Entries().size(), 2u);
  Frame forged = Later(ClientFrame("127.0.0.1", 2000));
  ExpectDropped(forged);
  forged.src = Ip("10.9.0.1");
  ExpectDropped(forged);

  for (const uint8_t protocol : {1, 47}) {
    Frame other = Later(ClientFrame("10.1.0.1", 2000));
    other.protocol = protocol;
    ExpectDropped(other);
  }

  service.flags = KLVS_SERVICE_HASH_PORT;
  director_.Replace(service);
  ExpectDropped(Later(ClientFrame("10.1.0.9", 2000)));
  service.flags = 0;
  service.method = KLVS_METHOD_NAT;
  director_.Replace(service);
  ExpectDropped(Later(ClientFrame("10.1.0.9", 2000)));
  service.method = KLVS_METHOD_DIRECT_ROUTING;
  service.scheduler = KLVS_SCHEDULER_RR;
  director_.Replace(service);
  ExpectDropped(Later(ClientFrame("10.1.0.9", 2000)));
}

// Its header says how long the whole is.
TEST_P(FragmentTest, AFirstFragmentOfUdpIsShorterThanItsHeaderSays) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2"}}});
  Bytes whole = Client(17).Build(), first = First(Client(17)).Build();
  whole[38] = first[38] = 0x10;
  EXPECT_EQ(director_.Run(whole).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"bad_header", 1}}));
  EXPECT_EQ(director_.Run(first).verdict, Verdict::kSent);
}

TEST_P(FragmentTest, OneThatComesBeforeItsFirstOrBelongsToAnotherPacketIsDropped) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2"}}});
  ExpectDropped(Later(Client(17)));
  director_.Run(Client(17));
  ExpectDropped(Later(Client(17)));  // the connection is known, but it was not in pieces
  director_.Run(First(Client(17)));
  EXPECT_EQ(director_.Run(Later(Client(17))).verdict, Verdict::kSent);

  Frame other = Later(Client(17));
  other.id += 1;
  ExpectDropped(other);
  other = Later(Client(17));
  other.src += 1;
  ExpectDropped(other);
  other = Later(Client(17));
  other.protocol = 6;
  ExpectDropped(other);
  director_.SetAddress("10.9.0.2", KLVS_ADDRESS_VIP);
  other = Later(Client(17));
  other.dst = Ip("10.9.0.2");
  ExpectDropped(other);
}

TEST_P(FragmentTest, AFirstFragmentThatIsRefusedTakesItsLaterOnesAlong) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2", .weight = 0}}});
  director_.Run(First(Client(17)));
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_real_server", 1}}));
  ExpectDropped(Later(Client(17)));
}

TEST_P(FragmentTest, LaterOnesOfPacketsThatAreScheduledOneByOneFollowTheirFirst) {
  director_.Add({.protocol = 17,
                 .flags = KLVS_SERVICE_ONE_PACKET,
                 .reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}}});
  Frame one = Client(17), other = Client(17);
  other.id = one.id + 1;
  const auto expect_packets = [&](uint64_t first, uint64_t second) {
    EXPECT_EQ(director_.RealCounters(1).packets, first);
    EXPECT_EQ(director_.RealCounters(2).packets, second);
  };
  for (const Frame& first : {First(one), First(other)}) {
    EXPECT_EQ(director_.RunBoth(first.Build()).verdict, Verdict::kSent);
  }
  expect_packets(1, 1);
  ExpectSent(Later(one), Aged(Linked(Later(one), kRealMac)));
  expect_packets(2, 1);
  ExpectSent(Later(other), Aged(Linked(Later(other), kRealMac)));
  expect_packets(2, 2);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 2U);
  director_.real(1).flags = 0;  // it is gone
  EXPECT_EQ(director_.Run(Later(one)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"bad_real", 1}}));
}

TEST_P(FragmentTest, OneThatComesTooLateIsDropped) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2"}}});
  director_.settings().hz = 0;  // 30 s are over at the next tick
  director_.Run(First(Client(17)));
  director_.AwaitTick();
  ExpectDropped(Later(Client(17)));
}

TEST_P(FragmentTest, OneWhoseConnectionIsGoneOrAnotherIsDropped) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2"}}});
  director_.Run(First(Client(17)));
  klvs_conn& c = director_.Connection();
  const klvs_conn saved = c;
  c.expires = 0;
  ExpectDropped(Later(Client(17)));
  c = saved;
  c.ctl += uint64_t{1} << 32;  // the slot's next user
  ExpectDropped(Later(Client(17)));
  c = saved;
  c.ctl &= ~uint64_t{KLVS_CONN_LIVE << 8};
  ExpectDropped(Later(Client(17)));
  c = saved;
  EXPECT_EQ(director_.Run(Later(Client(17))).verdict, Verdict::kSent);
}

TEST_P(FragmentTest, LaterOnesOfTheNodesOwnPacketsAreUntouched) {
  director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
  director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
  director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
  for (const char* to : {"10.1.0.254", "10.1.0.1"}) {
    const Frame in = Later(ClientFrame("10.1.0.2", 80, to, 2000));
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(in.Build()));
  }
}

// A later fragment is no sign of life, and a flood of them opens nothing.
TEST_P(FragmentTest, LaterOnesDoNotMoveTheConnection) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.Run(First(Client(6)));
  klvs_conn& c = director_.Connection();
  c.expires -= 10;
  const klvs_conn before = c;
  EXPECT_EQ(director_.Run(Later(Client(6))).verdict, Verdict::kSent);
  EXPECT_EQ(c.ctl, before.ctl);
  EXPECT_EQ(c.expires, before.expires);
  EXPECT_EQ(director_.Entries().size(), 1u);
}

}  // namespace
}  // namespace kube_lvs::ebpf
