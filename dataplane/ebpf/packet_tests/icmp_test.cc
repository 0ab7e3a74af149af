// ICMP errors about a connection's packets, from both sides: who gets them, and every byte, with
// what they quote. Quotes that lie go nowhere.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr char kRouter[] = "203.0.113.9";  // somewhere on the way
constexpr uint32_t kMtu = 1400;            // of "fragmentation needed"

class IcmpTest : public testing::TestWithParam<Stage> {
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
  // That nothing happens but that it is dropped as ICMP.
  void ExpectDropped(const Bytes& bytes) {
    const uint64_t packets = director_.ServiceCounters(1).packets;
    auto expected = director_.Drops();
    ++expected["icmp"];
    EXPECT_EQ(director_.Run(bytes).verdict, Verdict::kDropped);
    EXPECT_EQ(director_.Drops(), expected);
    EXPECT_EQ(director_.ServiceCounters(1).packets, packets);
  }
  void ExpectUntouched(const Bytes& bytes) {
    const Outcome out = director_.Run(bytes);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(bytes));
    EXPECT_TRUE(director_.Drops().empty());
  }
  void AddNat(uint8_t protocol, bool source_nat) {
    director_.Add({.protocol = protocol,
                   .flags = source_nat ? uint8_t{KLVS_SERVICE_SOURCE_NAT} : uint8_t{0},
                   .method = KLVS_METHOD_NAT,
                   .reals = {{.address = "10.1.0.2", .port = 8080}}});
    if (source_nat) {
      director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
    } else {
      director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
      director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
    }
  }
  // The client's first packet.
  Frame Opening(uint8_t protocol) {
    Frame frame = ClientFrame("10.1.0.1", 2000);
    frame.protocol = protocol;
    return frame;
  }
  // What a service sends to the client, as it is behind the director: what errors quote.
  static Frame Answer(uint8_t protocol) {
    Frame frame;
    frame.src = Ip("10.9.0.1");
    frame.dst = Ip("10.1.0.1");
    frame.sport = 80;
    frame.dport = 2000;
    frame.protocol = protocol;
    frame.flags = kAck;
    frame.payload = std::string(101, 'x');
    return frame;
  }
  // An error to `dst` about `about`.
  static Frame Error(const Frame& about, std::string_view dst = "10.9.0.1", size_t quoted = 8,
                     uint8_t type = 3, uint8_t code = 4) {
    Frame frame = ClientFrame(kRouter, 0, dst, 0);
    frame.protocol = 1;
    frame.payload = IcmpError(type, code, type == 3 ? kMtu : 0, about.Build(), quoted);
    return frame;
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, IcmpTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(IcmpTest, DirectRoutingHandsAnErrorToTheConnectionsRealServer) {
  director_.Add({.reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}}});
  director_.real(1).dst_mac[5] = 0x77;  // not as the other one
  director_.Run(Opening(6));
  const klvs_conn before = director_.Connection();
  for (const uint8_t type : {3, 11, 12}) {
    for (const size_t quoted : {8, 20, 500}) {
      const Frame error = Error(Answer(6), "10.9.0.1", quoted, type, type == 3 ? 4 : 0);
      Mac mac = kRealMac;
      mac[5] = 0x77;
      Frame expected = Linked(error, mac);
      expected.ttl = 63;
      ExpectSent(director_.Run(error), expected.Build());
    }
  }
  EXPECT_EQ(director_.RealCounters(1).packets, 10u);
  EXPECT_EQ(director_.RealCounters(1).connections, 1u);
  // It tells nothing of the connection's state, and prolongs no life.
  EXPECT_EQ(director_.Connection().ctl, before.ctl);
  EXPECT_EQ(director_.Connection().expires, before.expires);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(IcmpTest, TunnelEncapsulatesAnError) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  director_.Run(Opening(6));
  const Frame error = Error(Answer(6));
  ExpectSent(director_.Run(error),
             Encapsulate(Linked(error, kRealMac).Build(), Ip("10.1.0.254"), Ip("10.1.0.2")));
}

TEST_P(IcmpTest, ALocalRealServerGetsAnErrorFromTheStack) {
  director_.Add({.reals = {{.address = "10.1.0.254", .flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL}}});
  director_.Run(Opening(6));
  ExpectUntouched(Error(Answer(6)).Build());
}

// The error is about what the client's side sees; the real server knows other ends.
TEST_P(IcmpTest, NatTranslatesAnErrorFromTheClientsSide) {
  for (const uint8_t protocol : {6, 17}) {
    for (const bool source_nat : {false, true}) {
      AddNat(protocol, source_nat);
      director_.Run(Opening(protocol));
      for (const size_t quoted : {8, 16, 18, 19, 24, 500}) {
        for (const bool checksum : {true, false}) {
          SCOPED_TRACE(std::to_string(protocol) + (source_nat ? " source NAT " : " ") +
                       std::to_string(quoted));
          Frame about = Answer(protocol);
          about.udp_checksum = checksum;
          about.ip_options = {1, 1, 1, 0};
          Frame error = Error(about, "10.9.0.1", quoted);
          error.ip_options = {1, 1, 1, 1, 1, 1, 1, 0};
          about.src = Ip("10.1.0.2");
          about.sport = 8080;
          if (source_nat) about.dst = Ip("10.1.0.254");
          Frame expected = Linked(error, kRealMac);
          if (source_nat) expected.src = Ip("10.1.0.254");
          expected.dst = Ip("10.1.0.2");
          expected.ttl = 63;
          expected.payload = IcmpError(3, 4, kMtu, about.Build(), quoted);
          ExpectSent(director_.Run(error), expected.Build());
        }
      }
      director_.ExpireAll();
    }
  }
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(IcmpTest, NatTranslatesAnErrorFromTheRealServersSide) {
  for (const uint8_t protocol : {6, 17}) {
    for (const bool source_nat : {false, true}) {
      AddNat(protocol, source_nat);
      const Frame opening = Opening(protocol);
      director_.Run(opening);
      const char* seen = source_nat ? "10.1.0.254" : "10.1.0.1";
      for (const char* from : {"10.1.0.2", kRouter}) {  // itself, or a router before it
        for (const size_t quoted : {8, 500}) {
          SCOPED_TRACE(std::to_string(protocol) + (source_nat ? " source NAT " : " ") + from);
          Frame about = opening;
          about.src = Ip(seen);
          about.dst = Ip("10.1.0.2");
          about.dport = 8080;
          about.ttl = 63;
          Frame error = Error(about, seen, quoted, 3, 3);
          error.src = Ip(from);
          error.src_mac = kRealMac;
          about.src = Ip("10.1.0.1");
          about.dst = Ip("10.9.0.1");
          about.dport = 80;
          Frame expected = Linked(error, kClientMac);
          expected.src = Ip("10.9.0.1");
          expected.dst = Ip("10.1.0.1");
          expected.ttl = 63;
          expected.payload = IcmpError(3, 3, kMtu, about.Build(), quoted);
          ExpectSent(director_.Run(error), expected.Build());
        }
      }
      director_.ExpireAll();
    }
  }
  EXPECT_EQ(director_.ServiceCounters(1).reply_packets, 16u);
  EXPECT_EQ(director_.ServiceCounters(1).packets, 4u);
}

TEST_P(IcmpTest, AnErrorAboutNoConnectionGoesNowhere) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  ExpectDropped(Error(Answer(6)).Build());
  director_.Run(Opening(6));
  director_.SetAddress("10.9.0.2", KLVS_ADDRESS_VIP);
  director_.Add({.id = 2, .vip = "10.9.0.2", .reals = {{.address = "10.1.0.3"}}, .first_real = 2});
  director_.Run(ClientFrame("10.1.0.1", 2000, "10.9.0.2"));
  const std::vector<std::function<void(Frame&)>> lies = {
      [](Frame& about) { about.sport = 81; },
      [](Frame& about) { about.dport = 2001; },
      [](Frame& about) { about.dst = Ip("10.1.0.3"); },
      [](Frame& about) { about.src = Ip("10.9.0.2"); },  // known, but not whom it is sent to
      [](Frame& about) { std::swap(about.src, about.dst), std::swap(about.sport, about.dport); },
      [](Frame& about) { about.protocol = 17; },
      [](Frame& about) { about.protocol = 47; },
  };
  for (size_t i = 0; i < lies.size(); ++i) {
    SCOPED_TRACE(i);
    Frame about = Answer(6);
    lies[i](about);
    ExpectDropped(Error(about).Build());
  }
  EXPECT_EQ(director_.Run(Error(Answer(6))).verdict, Verdict::kSent);
  director_.ExpireAll();
  ExpectDropped(Error(Answer(6)).Build());
}

TEST_P(IcmpTest, AReplyKeyIsNoConnectionOfTheClientsSide) {
  AddNat(6, true);
  director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT | KLVS_ADDRESS_VIP);
  director_.Run(Opening(6));
  Frame about = Answer(6);
  about.src = Ip("10.1.0.254");
  about.sport = 2000;
  about.dst = Ip("10.1.0.2");
  about.dport = 8080;
  ExpectDropped(Error(about, "10.1.0.254").Build());
}

TEST_P(IcmpTest, OtherIcmpAndQuotesThatMakeNoSenseGoNowhere) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.Run(Opening(6));
  for (const int type : {0, 4, 5, 9, 10, 13, 15, 17, 18, 40, 255}) {
    ExpectDropped(Error(Answer(6), "10.9.0.1", 8, type, 0).Build());
  }
  const auto quoted = 14 + 20 + 8;  // where the quoted packet begins
  const std::vector<std::pair<size_t, uint8_t>> bytes = {
      {quoted, 0x65},      // version 6
      {quoted, 0x44},      // a header of 16 bytes
      {quoted, 0x46},      // of 24, which are not there
      {quoted + 6, 0x01},  // a later fragment
      {quoted + 7, 0x01},
  };
  for (const auto& [at, value] : bytes) {
    Bytes error = Error(Answer(6)).Build();
    error[at] = value;
    ExpectDropped(error);
  }
  Bytes error = Error(Answer(6)).Build();
  error[quoted + 2] = 0;
  error[quoted + 3] = 27;  // a packet too short to have ports and more
  ExpectDropped(error);
  // A header of 16 bytes, behind which an address looks like the ports of a connection.
  director_.Add({.id = 2, .port = 0x0a01, .reals = {{.address = "10.1.0.3"}}, .first_real = 2});
  director_.Run(ClientFrame("10.1.0.1", 0x0001, "10.9.0.1", 0x0a01));
  error = Error(Answer(6)).Build();
  error[quoted] = 0x44;
  ExpectDropped(error);
  error = Error(Answer(6)).Build();
  error[quoted + 6] = 0x20;  // a first fragment has its ports
  EXPECT_EQ(director_.Run(error).verdict, Verdict::kSent);
}

TEST_P(IcmpTest, AnErrorCutAtAnyByteGoesNowhere) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.Run(Opening(6));
  for (const size_t options : {0, 4, 40}) {
    Frame about = Answer(6);
    about.ip_options = Bytes(options, 1);
    const Frame whole = Error(about);
    EXPECT_EQ(director_.Run(whole).verdict, Verdict::kSent);
    for (size_t size = 0; size < whole.payload.size(); ++size) {
      Frame error = whole;
      error.payload.resize(size);
      ExpectDropped(error.Build());
      error.padding = 40;  // the bytes are there, but are no part of it
      ExpectDropped(error.Build());
    }
  }
}

TEST_P(IcmpTest, AnErrorOnTheWayFromTheRealServersThatIsNotOursIsUntouched) {
  AddNat(6, false);
  director_.Run(Opening(6));
  Frame about = Opening(6);
  about.dst = Ip("10.1.0.2");
  about.dport = 8081;  // no connection
  ExpectUntouched(Error(about, "10.1.0.1").Build());
  about.dport = 8080;
  about.src = Ip("10.1.0.9");  // not whom the error is sent to
  ExpectUntouched(Error(about, "10.1.0.1").Build());
  Frame echo = Error(about, "10.1.0.1");
  echo.payload = std::string(64, '\0');
  ExpectUntouched(echo.Build());
}

// What the director itself says about a packet that does not fit.
class TooBigTest : public IcmpTest {
 protected:
  // A client's packet of `size` bytes.
  static Frame Big(size_t size, uint8_t protocol = 6) {
    Frame frame = ClientFrame("10.1.0.1", 2000);
    frame.protocol = protocol;
    const size_t headers = protocol == 6 ? 40 : 28;
    frame.payload = std::string(size - headers, 'x');
    return frame;
  }
  static Frame Expected(const Frame& in, uint16_t mtu) {
    Frame out;
    out.dst_mac = in.src_mac;
    out.src_mac = in.dst_mac;
    out.src = in.dst;
    out.dst = in.src;
    out.protocol = 1;
    out.tos = 0xc0;
    out.id = 0;
    out.payload = IcmpError(3, 4, mtu, in.Build(), 48 - in.ip_options.size());
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, TooBigTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(TooBigTest, TheClientLearnsWhatFitsTheTunnel) {
  for (const uint8_t protocol : {6, 17}) {
    director_.Add({.id = protocol,
                   .protocol = protocol,
                   .method = KLVS_METHOD_TUNNEL,
                   .reals = {{.address = "10.1.0.2"}},
                   .first_real = protocol});
    EXPECT_EQ(director_.Run(Big(1480, protocol)).verdict, Verdict::kSent);
    ASSERT_TRUE(director_.Drops().empty() || protocol == 17);
    for (const size_t options : {0, 4, 40}) {
      Frame in = Big(1481, protocol);
      in.ip_options = Bytes(options, 1);
      in.padding = options;
      ExpectSent(director_.Run(in), Expected(in, 1480).Build());
    }
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 6}}));
  EXPECT_EQ(director_.RealCounters(6).packets, 1u);
}

TEST_P(TooBigTest, TheClientLearnsTheMtuOfTheWayWithEveryMethod) {
  for (const uint8_t method : {KLVS_METHOD_NAT, KLVS_METHOD_DIRECT_ROUTING}) {
    director_.ExpireAll();
    director_.Add({.method = method, .reals = {{.address = "10.1.0.2"}}});
    director_.real(1).mtu = 1400;
    EXPECT_EQ(director_.Run(Big(1400)).verdict, Verdict::kSent);
    ExpectSent(director_.Run(Big(1401)), Expected(Big(1401), 1400).Build());
  }
}

// Whatever comes in bundled leaves in segments.
TEST_P(TooBigTest, OfABundleEachSegmentMustFit) {
  for (const uint8_t protocol : {6, 17}) {
    director_.Add({.id = protocol,
                   .protocol = protocol,
                   .reals = {{.address = "10.1.0.2"}},
                   .first_real = protocol});
    director_.real(protocol).mtu = 1480;
    const Frame in = Big(3000, protocol);
    const uint32_t fits = 1480 - (protocol == 6 ? 40 : 28);
    EXPECT_EQ(director_.RunTc(in.Build(), fits).verdict, Verdict::kSent);
    const Outcome answered = director_.RunTc(in.Build(), fits + 1);
    EXPECT_EQ(answered.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(answered.frame), Hex(Expected(in, 1480).Build()));
    EXPECT_EQ(director_.RunTc(in.Build(), 0xffff).verdict, Verdict::kSent) << "of unknown sizes";
  }
  Frame fragments = Big(3000, 17);
  fragments.dont_fragment = false;
  EXPECT_EQ(director_.RunTc(fragments.Build(), 1460).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 2}}));
}

TEST_P(TooBigTest, NobodyIsToldAnythingAboutWhatMayBeCutOrAWayThatIsNone) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  Frame in = Big(1481);
  in.dont_fragment = false;
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kDropped);
  director_.real(1).mtu = 87;  // an IPv4 network has an MTU of 68 at least
  EXPECT_EQ(director_.Run(Big(1481)).verdict, Verdict::kDropped);
  director_.real(1).mtu = 88;
  ExpectSent(director_.Run(Big(1481)), Expected(Big(1481), 68).Build());
}

TEST_P(TooBigTest, AnswersAreLimited) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  director_.settings().hz = 1 << 30;  // a second lasts
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  int answers = 0;
  for (int i = 0; i < 200; ++i) answers += director_.Run(Big(1481)).verdict == Verdict::kSent;
  EXPECT_EQ(answers, 50);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 200}}));
  director_.settings().hz = 1;  // many seconds pass with the next tick
  director_.AwaitTick();
  EXPECT_EQ(director_.Run(Big(1481)).verdict, Verdict::kSent);
}

TEST_P(IcmpTest, AnErrorTooBigForTheTunnelIsDropped) {
  director_.Add({.method = KLVS_METHOD_TUNNEL, .reals = {{.address = "10.1.0.2"}}});
  director_.Run(Opening(6));
  director_.real(1).mtu = 20 + 20 + 8 + 20 + 60;
  EXPECT_EQ(director_.Run(Error(Answer(6), "10.9.0.1", 60)).verdict, Verdict::kSent);
  // And no error about an error.
  EXPECT_EQ(director_.Run(Error(Answer(6), "10.9.0.1", 61)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 1}}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
