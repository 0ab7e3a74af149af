// IPv6 beside the packets of connections: ICMPv6 errors both ways, echo, what does not fit,
// neighbour discovery, extension headers, fragments.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr char kVip[] = "2001:db8:9::1", kClient[] = "2001:db8:1::1", kReal[] = "2001:db8:1::2",
               kSource[] = "2001:db8:1::254", kRouter[] = "2001:db8:1::fe";
constexpr uint32_t kAnswered = KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP;
constexpr uint64_t kForEver = ~uint64_t{0};

class Ipv6AnswersTest : public testing::TestWithParam<Stage> {
 protected:
  Frame6 Linked(Frame6 frame, const Mac& to) {
    if (GetParam() == Stage::kXdp) {
      frame.dst_mac = to;
      frame.src_mac = kOwnMac;
    }
    return frame;
  }
  void ExpectSent(const Frame6& in, const Bytes& expected) {
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(expected));
  }
  void ExpectUntouched(const Frame6& in) {
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(in.Build()));
  }
  void ExpectDropped(const Frame6& in, const std::string& reason) {
    const uint64_t before = director_.Drops()[reason];
    EXPECT_EQ(director_.Run(in).verdict, Verdict::kDropped) << reason;
    EXPECT_EQ(director_.Drops()[reason], before + 1) << reason;
  }
  void Serve(uint8_t method, uint8_t protocol = 6, uint8_t flags = 0) {
    director_.Add({.id = protocol,
                   .vip = kVip,
                   .protocol = protocol,
                   .flags = flags,
                   .method = method,
                   .reals = {{.address = kReal, .port = 8080}},
                   .first_real = protocol});
  }
  static Bytes Solicitation(const char* target, bool with_option = true) {
    Bytes body(4);
    const klvs_in6 address = Ip6(target);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&address);
    body.insert(body.end(), bytes, bytes + 16);
    if (with_option) {
      body.insert(body.end(), {1, 1});
      body.insert(body.end(), kClientMac.begin(), kClientMac.end());
    }
    return body;
  }
  static Frame6 Ask(const char* target = kVip, bool with_option = true) {
    Frame6 ends = ClientFrame6("fe80::c", 0, "ff02::1:ff00:1", 0);
    ends.dst_mac = {0x33, 0x33, 0xff, 0, 0, 1};
    ends.hops = 255;
    return Icmp6(ends, 135, 0, Solicitation(target, with_option));
  }
  static Frame6 Answer(const Frame6& question) {
    Frame6 ends = question;
    ends.dst_mac = question.src_mac;
    ends.src_mac = kOwnMac;
    ends.src = kVip;
    ends.dst = question.src;
    Bytes body = Solicitation(kVip, false);
    body[0] = 0x60;
    body.insert(body.end(), {2, 1});
    body.insert(body.end(), kOwnMac.begin(), kOwnMac.end());
    return Icmp6(ends, 136, 0, body);
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, Ipv6AnswersTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(Ipv6AnswersTest, ANeighbourThatAsksForAVipIsAnswered) {
  director_.SetAddress(kVip, kAnswered, kForEver);
  ExpectSent(Ask(), Answer(Ask()).Build());
  ExpectSent(Ask(kVip, false), Answer(Ask()).Build());
  Frame6 unicast = Ask();
  unicast.dst_mac = kOwnMac;
  unicast.dst = kVip;
  ExpectSent(unicast, Answer(Ask()).Build());
}

TEST_P(Ipv6AnswersTest, WithoutAClaimOrForOthersThereIsSilence) {
  director_.SetAddress(kVip, KLVS_ADDRESS_VIP, kForEver);
  ExpectUntouched(Ask());
  const uint64_t now = director_.Now().boot_ns;
  director_.SetAddress(kVip, kAnswered, now);
  ExpectUntouched(Ask());
  director_.SetAddress(kVip, kAnswered, kForEver, director_.ifindex() + 1);
  ExpectUntouched(Ask());
  director_.SetAddress(kVip, kAnswered, now + 60'000'000'000);
  EXPECT_EQ(director_.Run(Ask()).verdict, Verdict::kSent);
  ExpectUntouched(Ask("2001:db8:9::2"));
  Frame6 odd = Ask();
  odd.dst_mac = kRealMac;  // flooded
  ExpectUntouched(odd);
  odd = Ask();
  odd.hops = 254;  // it came through a router
  ExpectUntouched(odd);
  odd = Ask();
  odd.src = "::";  // whether the address is free
  ExpectUntouched(odd);
  odd = Ask();
  odd.payload[1] = 1;
  ExpectUntouched(odd);
  const Bytes whole = Ask(kVip, false).Build();
  for (size_t size = 54; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + size);
    EXPECT_EQ(director_.Run(cut).verdict, Verdict::kUntouched) << size;
  }
}

TEST_P(Ipv6AnswersTest, AVipAnswersAnEchoRequestAndNothingElseOfIcmp) {
  director_.SetAddress(kVip, KLVS_ADDRESS_VIP);
  const Bytes body = {1, 2, 0, 9, 'p', 'i', 'n', 'g', '!'};
  Frame6 ends = ClientFrame6();
  ends.hops = 7;
  Frame6 answer = ClientFrame6(kVip, 0, kClient, 0);
  answer.dst_mac = kClientMac;
  answer.src_mac = kOwnMac;
  ExpectSent(Icmp6(ends, 128, 0, body), Icmp6(answer, 129, 0, body).Build());
  for (const uint8_t type : {0, 1, 4, 129, 130, 133, 134, 135, 136, 137}) {
    ExpectDropped(Icmp6(ends, type, 0, body), "icmp");
  }
  ends.src = "::1";
  ExpectDropped(Icmp6(ends, 128, 0, body), "martian");
  Frame6 piece = Icmp6(ClientFrame6(), 128, 0, body);
  piece.extensions = {Fragment6(0, true, 1)};
  ExpectDropped(piece, "fragment");
}

// As lvsadm sets it up: the kernel answers for the VIP, and asks from it.
TEST_P(Ipv6AnswersTest, NeighboursOfASharedVipTalkToTheHost) {
  director_.SetAddress(kVip, KLVS_ADDRESS_VIP);
  director_.settings().flags |= KLVS_SETTING_SHARED_VIPS;
  Frame6 ends = ClientFrame6("fe80::1", 0, kVip, 0);
  for (const uint8_t type : {128, 135, 136}) {
    ExpectUntouched(Icmp6(ends, type, 0, Solicitation(kVip)));
  }
}

TEST_P(Ipv6AnswersTest, AnErrorAboutAnAnswerGoesToTheRealServerUnchangedWithoutNat) {
  Serve(KLVS_METHOD_DIRECT_ROUTING);
  director_.Run(ClientFrame6());
  Frame6 sent = ClientFrame6(kVip, 80, kClient, 40000);
  sent.flags = kAck;
  for (const uint8_t type : {1, 2, 3, 4}) {
    const Frame6 in = Icmp6(ClientFrame6(kRouter), type, 0, About6(1400, sent.Build()));
    Frame6 expected = Linked(in, kRealMac);
    expected.hops = 63;
    ExpectSent(in, expected.Build());
  }
  sent.dport = 40001;
  ExpectDropped(Icmp6(ClientFrame6(kRouter), 2, 0, About6(1400, sent.Build())), "icmp");
  sent.dport = 40000;
  sent.src = kReal;
  ExpectDropped(Icmp6(ClientFrame6(kRouter), 2, 0, About6(1400, sent.Build())), "icmp");
  sent.src = kVip;
  ExpectDropped(Icmp6(ClientFrame6(kRouter), 2, 0, About6(1400, sent.Build(), 47)), "icmp");
}

TEST_P(Ipv6AnswersTest, WithNatErrorsAreTranslatedBothWays) {
  director_.SetAddress(kSource, KLVS_ADDRESS_SNAT);
  for (const uint8_t protocol : {6, 17}) {
    Serve(KLVS_METHOD_NAT, protocol, KLVS_SERVICE_SOURCE_NAT);
    Frame6 first = ClientFrame6(kClient, 2000);
    first.protocol = protocol;
    ASSERT_EQ(director_.Run(first).verdict, Verdict::kSent);

    // A router on the way to the client cannot forward the service's answer.
    Frame6 answer = ClientFrame6(kVip, 80, kClient, 2000);
    Frame6 inside = ClientFrame6(kReal, 8080, kSource, 2000);
    answer.protocol = inside.protocol = protocol;
    answer.payload = inside.payload = std::string(300, 'x');
    for (const size_t quoted : {48u, 56u, 59u, 400u}) {
      Frame6 in = Icmp6(ClientFrame6(kRouter), 2, 0, About6(1400, answer.Build(), quoted));
      Frame6 expected = Icmp6(Linked(ClientFrame6(kSource, 0, kReal), kRealMac), 2, 0,
                              About6(1400, inside.Build(), quoted));
      expected.hops = 63;
      // The quoted hop limit stays.
      ExpectSent(in, expected.Build());
    }

    // A router on the way to the real server cannot forward the client's packet.
    Frame6 asked = ClientFrame6(kSource, 2000, kReal, 8080);
    Frame6 outside = ClientFrame6(kClient, 2000, kVip, 80);
    asked.protocol = outside.protocol = protocol;
    Frame6 in = Icmp6(ClientFrame6(kRouter, 0, kSource), 1, 4, About6(0, asked.Build()));
    in.src_mac = kRealMac;
    Frame6 expected =
        Icmp6(Linked(ClientFrame6(kVip, 0, kClient), kClientMac), 1, 4, About6(0, outside.Build()));
    if (GetParam() == Stage::kTc) expected.src_mac = kRealMac;
    expected.hops = 63;
    ExpectSent(in, expected.Build());
  }
}

TEST_P(Ipv6AnswersTest, WhoseTunnelledPacketDoesNotFitIsTold) {
  Serve(KLVS_METHOD_TUNNEL);
  Frame6 in = ClientFrame6();
  in.payload = std::string(1400, 'x');  // 1460 with headers, 1500 in the tunnel
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kSent);
  in.payload += 'x';
  Frame6 answer = ClientFrame6(kVip, 0, kClient);
  answer.dst_mac = kClientMac;
  answer.src_mac = kOwnMac;
  ExpectSent(in, Icmp6(answer, 2, 0, About6(1460, in.Build(), 240)).Build());
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"too_big", 1}}));

  director_.real(6).mtu = 1319;  // less than IPv6 allows
  ExpectDropped(in, "too_big");
}

TEST_P(Ipv6AnswersTest, ExtensionHeadersAreWalkedOverToAnEnd) {
  Serve(KLVS_METHOD_DIRECT_ROUTING);
  const std::pair<uint8_t, Bytes> hop_by_hop = {0, {0, 0, 1, 4, 0, 0, 0, 0}},
                                  options = {60, {0, 0, 1, 4, 0, 0, 0, 0}},
                                  arrived = {43, {0, 0, 4, 0, 0, 0, 0, 0}},
                                  on_its_way = {43, {0, 0, 4, 1, 0, 0, 0, 0}};
  std::pair<uint8_t, Bytes> longer = {60, Bytes(64)}, longest = {60, Bytes(2048)};
  longer.second[1] = 7;
  longest.second[1] = 255;
  using Headers = std::vector<std::pair<uint8_t, Bytes>>;
  for (const Headers& headers :
       {Headers{hop_by_hop}, Headers{options}, Headers{hop_by_hop, options, arrived, options},
        Headers{hop_by_hop, longer, longer}, Headers{Fragment6(0, false, 9)},
        Headers{options, options, options, options, options, options}}) {
    Frame6 in = ClientFrame6();
    in.extensions = headers;
    Frame6 expected = Linked(in, kRealMac);
    expected.hops = 63;
    ExpectSent(in, expected.Build());
  }
  for (const Headers& headers :
       {Headers{options, hop_by_hop}, Headers{on_its_way}, Headers{longer, longer, longer},
        Headers{longest}, Headers{Fragment6(0, false, 9), Fragment6(0, false, 9)}}) {
    Frame6 in = ClientFrame6();
    in.extensions = headers;
    ExpectDropped(in, "bad_header");
  }
  Frame6 many = ClientFrame6();
  many.extensions = Headers(7, options);
  ExpectDropped(many, "protocol");
  Frame6 nothing = ClientFrame6();
  nothing.extensions = {options};
  nothing.headless = true;
  nothing.payload.clear();
  ExpectDropped(nothing, "short");
}

// IPv6 numbers its packets whatever their protocol.
TEST_P(Ipv6AnswersTest, AFirstFragmentOfIcmpIsNoLaterOneOfAnotherPacket) {
  Serve(KLVS_METHOD_DIRECT_ROUTING);
  Frame6 first = ClientFrame6();
  first.extensions = {Fragment6(0, true, 1)};
  EXPECT_EQ(director_.Run(first).verdict, Verdict::kSent);
  Frame6 piece = Icmp6(ClientFrame6(), 128, 0, {1, 2, 0, 9});
  piece.extensions = {Fragment6(0, true, 1)};
  ExpectDropped(piece, "fragment");
}

TEST_P(Ipv6AnswersTest, LaterFragmentsGoWhereTheFirstWent) {
  director_.SetAddress(kSource, KLVS_ADDRESS_SNAT);
  Serve(KLVS_METHOD_NAT, 17, KLVS_SERVICE_SOURCE_NAT);
  Frame6 first = ClientFrame6(kClient, 2000);
  first.protocol = 17;
  first.extensions = {Fragment6(0, true, 77)};
  Frame6 later = ClientFrame6();
  later.protocol = 17;
  later.headless = true;
  later.payload = "the rest";
  later.extensions = {Fragment6(2, false, 77)};
  ExpectDropped(later, "fragment");
  Frame6 expected = Linked(first, kRealMac);
  expected.src = kSource;
  expected.dst = kReal;
  expected.dport = 8080;
  expected.hops = 63;
  ExpectSent(first, expected.Build());
  expected = Linked(later, kRealMac);
  expected.src = kSource;
  expected.dst = kReal;
  expected.hops = 63;
  ExpectSent(later, expected.Build());
  later.extensions = {Fragment6(2, false, 78)};
  ExpectDropped(later, "fragment");
  later.extensions = {Fragment6(2, false, 77)};
  later.src = "2001:db8:1::7";
  ExpectDropped(later, "fragment");

  // And back.
  Frame6 reply = ClientFrame6(kReal, 8080, kSource, 2000);
  reply.protocol = 17;
  reply.extensions = {Fragment6(0, true, 5)};
  expected = Linked(reply, kClientMac);
  expected.src = kVip;
  expected.sport = 80;
  expected.dst = kClient;
  expected.dport = 2000;
  expected.hops = 63;
  ExpectSent(reply, expected.Build());
  reply.headless = true;
  reply.extensions = {Fragment6(3, false, 5)};
  expected = Linked(reply, kClientMac);
  expected.src = kVip;
  expected.dst = kClient;
  expected.hops = 63;
  ExpectSent(reply, expected.Build());
}

}  // namespace
}  // namespace kube_lvs::ebpf
