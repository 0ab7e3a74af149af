// What is dropped, and with which reason; what is left alone; packets cut at every byte.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <map>
#include <string>
#include <utility>

#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class DropTest : public testing::TestWithParam<Stage> {
 protected:
  // That `bytes` is dropped, for this reason, and nothing else changes.
  void ExpectDropped(const Bytes& bytes, unsigned reason) {
    const auto before = director_.Drops();
    const size_t entries = director_.Entries().size();
    EXPECT_EQ(director_.Run(bytes).verdict, Verdict::kDropped) << DropReasonName(reason);
    auto expected = before;
    ++expected[DropReasonName(reason)];
    EXPECT_EQ(director_.Drops(), expected) << DropReasonName(reason);
    EXPECT_EQ(director_.Entries().size(), entries);
  }
  void ExpectDropped(const Frame& frame, unsigned reason) { ExpectDropped(frame.Build(), reason); }
  void ExpectUntouched(const Bytes& bytes) {
    const auto before = director_.Drops();
    const Outcome out = director_.Run(bytes);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(bytes));
    EXPECT_EQ(director_.Drops(), before);
    EXPECT_TRUE(director_.Entries().empty());
  }
  void ExpectUntouched(const Frame& frame) { ExpectUntouched(frame.Build()); }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, DropTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(DropTest, WhatIsNotForAVipIsUntouched) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  ExpectUntouched(ClientFrame("10.1.0.1", 40000, "10.9.0.2"));
  Frame frame = ClientFrame("10.1.0.1", 40000, "10.9.0.2");
  frame.more_fragments = true;
  ExpectUntouched(frame);
  frame = ClientFrame();
  frame.ether_type = 0x86dd;
  ExpectUntouched(frame);
  frame.ether_type = 0x8100;  // a VLAN tag
  ExpectUntouched(frame);
}

TEST_P(DropTest, AFrameFloodedToAnotherStationIsUntouched) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Frame frame = ClientFrame();
  frame.dst_mac = kRealMac;
  ExpectUntouched(frame);
  frame.dst_mac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  ExpectUntouched(frame);
}

TEST_P(DropTest, ADroppedPacketIsShown) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  const Bytes bytes = ClientFrame("10.1.0.1", 40000, "10.9.0.1", 81).Build();
  const uint64_t before = director_.Now().boot_ns;
  ExpectDropped(bytes, KLVS_DROP_NO_SERVICE);
  const auto samples = director_.DropSamples();
  ASSERT_EQ(samples.size(), 1U);
  const klvs_drop_sample& sample = samples[0];
  EXPECT_GE(sample.boot_ns, before);
  EXPECT_LE(sample.boot_ns, director_.Now().boot_ns);
  EXPECT_EQ(sample.ifindex, director_.ifindex());
  EXPECT_EQ(sample.reason, KLVS_DROP_NO_SERVICE);
  EXPECT_EQ(sample.stage, GetParam() == Stage::kXdp ? KLVS_STAGE_XDP : KLVS_STAGE_TC);
  EXPECT_EQ(sample.length, bytes.size());
  ASSERT_EQ(sample.captured, bytes.size());
  EXPECT_EQ(Hex(Bytes(sample.frame, sample.frame + sample.captured)), Hex(bytes));
}

TEST_P(DropTest, OfALongPacketItsBeginningIsShown) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Frame frame = ClientFrame("10.1.0.1", 40000, "10.9.0.1", 81);
  frame.payload = std::string(900, 'x');
  const Bytes bytes = frame.Build();
  ExpectDropped(bytes, KLVS_DROP_NO_SERVICE);
  const auto samples = director_.DropSamples();
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].length, bytes.size());
  ASSERT_EQ(samples[0].captured, KLVS_DROP_FRAME);
  EXPECT_EQ(Hex(Bytes(samples[0].frame, samples[0].frame + KLVS_DROP_FRAME)),
            Hex(Bytes(bytes.begin(), bytes.begin() + KLVS_DROP_FRAME)));
}

TEST_P(DropTest, OfAFloodAllIsCountedAndLittleIsShown) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  const Bytes bytes = ClientFrame("10.1.0.1", 40000, "10.9.0.1", 81).Build();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const uint64_t begin = director_.Now().boot_ns;
  for (int i = 0; i < 400; ++i) director_.Run(bytes);
  const uint64_t seconds = (director_.Now().boot_ns - begin) / 1000000000 + 1;
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_service", 400}}));
  // What a CPU may show at once, and what it earns meanwhile.
  const size_t shown = director_.DropSamples().size();
  EXPECT_GE(shown, 50U);
  EXPECT_LE(shown, 50 * (1 + seconds));
}

TEST_P(DropTest, APacketThatEndsEarlyIsDroppedOrUntouched) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  for (const uint8_t protocol : {6, 17}) {
    Frame frame = ClientFrame();
    frame.protocol = protocol;
    frame.ip_options = {1, 1, 1, 0};
    frame.payload = "some";
    const Bytes whole = frame.Build();
    // Since 6.18 the kernel tests no tc program with less than an IP header.
    for (size_t size = GetParam() == Stage::kTc ? 34 : 14; size < whole.size(); ++size) {
      const Bytes cut(whole.begin(), whole.begin() + size);
      if (size < 34) {
        ExpectUntouched(cut);  // its address cannot be read
      } else {
        ExpectDropped(cut, KLVS_DROP_SHORT);
      }
    }
  }
}

// The same packets with an IP header that agrees with where they end.
TEST_P(DropTest, AHeaderCutByTheTotalLengthIsDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  for (const auto& [protocol, header] : {std::pair<int, size_t>{6, 20}, {17, 8}}) {
    Frame frame = ClientFrame();
    frame.protocol = protocol;
    frame.payload.clear();
    Bytes whole = frame.Build();
    for (size_t length = 20; length < 20 + header; ++length) {
      whole[16] = length >> 8;
      whole[17] = length;
      ExpectDropped(whole, KLVS_DROP_SHORT);
    }
  }
}

TEST_P(DropTest, ABadHeaderIsDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.Add({.id = 2, .protocol = 17, .reals = {{.address = "10.1.0.2"}}, .first_real = 2});
  Bytes bytes = ClientFrame().Build();
  bytes[14] = 0x65;  // version 6
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);
  bytes[14] = 0x44;  // a header of 16 bytes
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);
  bytes[14] = 0x45;
  bytes[17] = 19;  // less than the header
  bytes[16] = 0;
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);

  bytes = ClientFrame().Build();
  bytes[46] = 0x40;  // a TCP header of 16 bytes
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);
  bytes[46] = 0xf0;  // of 60
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);

  Frame udp = ClientFrame();
  udp.protocol = 17;
  bytes = udp.Build();
  bytes[39] = 7;  // less than its header
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);
  bytes[39] = 14;  // beyond the packet
  ExpectDropped(bytes, KLVS_DROP_BAD_HEADER);
}

TEST_P(DropTest, LoneFragmentsIcmpAndOtherProtocolsToAVipAreDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Frame frame = ClientFrame();
  frame.dont_fragment = false;
  frame.fragment_offset = 185;
  ExpectDropped(frame, KLVS_DROP_FRAGMENT);
  frame.more_fragments = true;
  ExpectDropped(frame, KLVS_DROP_FRAGMENT);
  frame = ClientFrame();
  frame.protocol = 1;
  ExpectDropped(frame, KLVS_DROP_ICMP);
  frame.more_fragments = true;
  frame.payload = std::string("\x08\0\xf7\xff\0\0\0\0", 8);  // a ping, not the whole of it
  ExpectDropped(frame, KLVS_DROP_FRAGMENT);
  frame.more_fragments = false;
  for (const int protocol : {0, 4, 47, 50, 136, 255}) {
    frame.protocol = protocol;
    ExpectDropped(frame, KLVS_DROP_PROTOCOL);
  }
}

TEST_P(DropTest, AnEchoRequestToAVipIsAnswered) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  const auto icmp = [](uint8_t type, std::string rest) {
    rest = std::string(1, static_cast<char>(type)) + std::string(3, '\0') + rest;
    const uint16_t sum = Checksum(reinterpret_cast<const uint8_t*>(rest.data()), rest.size());
    rest[2] = static_cast<char>(sum >> 8);
    rest[3] = static_cast<char>(sum);
    return rest;
  };
  for (const char* rest : {"idsq", "idsqdata", "idsqodd"}) {
    Frame in = ClientFrame();
    in.protocol = 1;
    in.ttl = 3;
    in.ip_options = {1, 1, 1, 0};
    in.payload = icmp(8, rest);
    Frame expected = in;
    std::swap(expected.src, expected.dst);
    std::swap(expected.src_mac, expected.dst_mac);
    expected.ttl = 64;
    expected.payload = icmp(0, rest);
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(expected.Build()));
    in.payload.resize(7);
    ExpectDropped(in, KLVS_DROP_ICMP);
    in.payload = icmp(3, rest);
    ExpectDropped(in, KLVS_DROP_ICMP);
  }
}

TEST_P(DropTest, APortWithoutServiceIsDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  ExpectDropped(ClientFrame("10.1.0.1", 40000, "10.9.0.1", 81), KLVS_DROP_NO_SERVICE);
  Frame udp = ClientFrame();
  udp.protocol = 17;
  ExpectDropped(udp, KLVS_DROP_NO_SERVICE);
}

TEST_P(DropTest, AListThatNamesNoValidRealServerIsDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.real(1).flags = 0;
  ExpectDropped(ClientFrame(), KLVS_DROP_BAD_REAL);
  director_.lists()[0].real = 1 << 30;
  ExpectDropped(ClientFrame(), KLVS_DROP_BAD_REAL);
}

TEST_P(DropTest, NatStopsAPacketAtItsLastHop) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
  director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
  director_.Run(ClientFrame());
  Frame frame = ClientFrame();
  for (const int ttl : {0, 1}) {
    frame.ttl = ttl;
    ExpectDropped(frame, KLVS_DROP_TTL);
    Frame reply = ClientFrame("10.1.0.2", 80, "10.1.0.1", 40000);
    reply.ttl = ttl;
    ExpectDropped(reply, KLVS_DROP_TTL);
  }
}

TEST_P(DropTest, DirectRoutingStopsAPacketAtItsLastHop) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.Run(ClientFrame());
  Frame frame = ClientFrame();
  for (const int ttl : {0, 1}) {
    frame.ttl = ttl;
    ExpectDropped(frame, KLVS_DROP_TTL);
  }
}

// As lvsadm sets it up: the host has its own use of the VIP.
TEST_P(DropTest, WhatNoServiceOfASharedVipTakesIsTheHosts) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  director_.settings().flags |= KLVS_SETTING_SHARED_VIPS;
  ExpectUntouched(ClientFrame("10.1.0.1", 40000, "10.9.0.1", 22));
  Frame frame = ClientFrame();
  frame.flags = kAck;  // no connection is known
  ExpectUntouched(frame);
  frame = ClientFrame();
  frame.protocol = 17;
  ExpectUntouched(frame);
  frame.protocol = 47;
  ExpectUntouched(frame);
  frame.protocol = 1;
  frame.payload = std::string("\x08\0\0\0\0\0\0\0", 8);  // an echo request
  ExpectUntouched(frame);
  frame.payload = IcmpError(3, 4, 1400, ClientFrame().Build());  // about no connection
  ExpectUntouched(frame);
  frame = ClientFrame();
  frame.dont_fragment = false;
  frame.fragment_offset = 185;
  ExpectUntouched(frame);
  Bytes cut = ClientFrame().Build();
  cut.resize(40);
  ExpectUntouched(cut);

  // What a service takes, it takes; and what it cannot serve is not the host's.
  director_.lists()[0].weight = 0;
  director_.real(1).weight = 0;
  EXPECT_NE(director_.Run(ClientFrame()).verdict, Verdict::kUntouched);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_real_server", 1}}));
  director_.lists()[0].weight = 1;
  director_.real(1).weight = 1;
  EXPECT_NE(director_.Run(ClientFrame()).verdict, Verdict::kUntouched);
  EXPECT_EQ(director_.Entries().size(), 1u);
}

TEST_P(DropTest, AMartianSourceOpensNoConnection) {
  for (const uint8_t protocol : {6, 17}) {
    director_.Add({.id = protocol,
                   .protocol = protocol,
                   .reals = {{.address = "10.1.0.2"}},
                   .first_real = protocol});
  }
  director_.Add(
      {.id = 3, .port = 81, .scheduler = KLVS_SCHEDULER_MH, .reals = {}, .first_real = 3});
  director_.SetAddress("10.9.0.2", KLVS_ADDRESS_VIP);
  director_.SetAddress("10.1.0.250", KLVS_ADDRESS_SNAT);
  const uint64_t cursor = director_.state(6).cursor;
  for (const char* source : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255",  // nobody's
                             "224.0.0.1", "239.255.255.250", "240.0.0.1",  // groups, reserved
                             "255.255.255.255", "10.9.0.1", "10.9.0.2", "10.1.0.250"}) {  // ours
    SCOPED_TRACE(source);
    Frame frame = ClientFrame(source, 80);
    ExpectDropped(frame, KLVS_DROP_MARTIAN);
    frame.protocol = 17;
    ExpectDropped(frame, KLVS_DROP_MARTIAN);
    frame = ClientFrame(source, 80, "10.9.0.1", 81);  // in mid-stream
    frame.flags = kAck;
    ExpectDropped(frame, KLVS_DROP_MARTIAN);
  }
  EXPECT_EQ(director_.state(6).cursor, cursor) << "a martian took somebody's turn";
  // The source address of a tunnel, which klvs_addresses need not have.
  ExpectDropped(ClientFrame("10.1.0.254"), KLVS_DROP_MARTIAN);
  for (const char* source : {"1.0.0.1", "126.0.0.1", "128.0.0.1", "223.255.255.254"}) {
    EXPECT_EQ(director_.Run(ClientFrame(source)).verdict, Verdict::kSent) << source;
  }
}

TEST_P(DropTest, AMartianIsNotPingedBack) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  for (const char* source : {"127.0.0.1", "224.0.0.1", "255.255.255.255"}) {
    Frame echo = ClientFrame(source);
    echo.protocol = 1;
    echo.payload = std::string("\x08\0\xf7\xff\0\0\0\0", 8);
    ExpectDropped(echo, KLVS_DROP_MARTIAN);
  }
}

// Two directors that are each other's real servers would hand it to and fro.
TEST_P(DropTest, WhatARealServerSendsBackIsDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  EXPECT_EQ(director_.Run(ClientFrame()).verdict, Verdict::kSent);
  Frame back = ClientFrame();
  back.src_mac = kRealMac;
  ExpectDropped(back, KLVS_DROP_LOOP);
  // A client's other router is none.
  back.src_mac = {2, 0, 0, 0, 0, 0xe};
  EXPECT_EQ(director_.Run(back).verdict, Verdict::kSent);
  // A real server's own connection may be its own.
  Frame own = ClientFrame("10.1.0.2");
  own.src_mac = kRealMac;
  EXPECT_EQ(director_.Run(own).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Run(own).verdict, Verdict::kSent);
}

TEST_P(DropTest, NatToThisNodeIsDroppedWhereItsAnswersWouldBeLost) {
  director_.Add({.flags = KLVS_SERVICE_SOURCE_NAT,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "10.1.0.2", .flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL}}});
  ExpectDropped(ClientFrame(), KLVS_DROP_LOCAL_NAT);
}

TEST_P(DropTest, ARealServerWithoutInterfaceIsDroppedByTc) {
  director_.Add({.reals = {{.address = "10.1.0.2", .flags = KLVS_REAL_VALID}}});
  director_.real(1).ifindex = 0;
  if (GetParam() == Stage::kXdp) {
    EXPECT_EQ(director_.Run(ClientFrame()).verdict, Verdict::kUntouched);
    EXPECT_TRUE(director_.Drops().empty());
  }
  EXPECT_EQ(director_.RunTc(ClientFrame().Build()).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_route", 1}}));
}

TEST_P(DropTest, APacketAboveTheMtuThatMayBeCutIsDropped) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Frame frame = ClientFrame();
  frame.dont_fragment = false;
  frame.payload = std::string(1460, 'x');
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  frame.payload += 'x';
  ExpectDropped(frame, KLVS_DROP_TOO_BIG);
}

TEST_P(DropTest, AConnectionBeingSetUpElsewhereIsDropped) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  director_.Run(ClientFrame());
  director_.Connection().ctl |= KLVS_CONN_PENDING << 8;
  ExpectDropped(ClientFrame(), KLVS_DROP_RACE);
}

// Who sets it up still writes to the entry: it is nobody else's to take out, whatever it looks
// like.
TEST_P(DropTest, AConnectionBeingSetUpElsewhereKeepsItsPlace) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  director_.Run(ClientFrame());
  klvs_conn& connection = director_.Connection();
  for (const uint64_t expires : {connection.expires, __u64{0}}) {
    for (const uint32_t state : {KLVS_SYN_RECV, KLVS_TIME_WAIT, KLVS_CLOSE}) {
      SCOPED_TRACE("state " + std::to_string(state) + ", expires " + std::to_string(expires));
      const uint64_t ctl = (connection.ctl & ~0xffULL) | state | KLVS_CONN_PENDING << 8;
      connection.ctl = ctl;
      connection.expires = expires;
      EXPECT_EQ(director_.Run(ClientFrame()).verdict, Verdict::kDropped);
      EXPECT_EQ(director_.Sweep(), 0u);
      EXPECT_EQ(connection.ctl, ctl);
    }
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"race", 6}}));
}

TEST(DropReasons, HaveNamesOfOneWord) {
  for (unsigned reason = 1; reason < KLVS_DROP_REASONS; ++reason) {
    const std::string name = DropReasonName(reason);
    EXPECT_NE(name, "unknown");
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << name;
  }
  EXPECT_STREQ(DropReasonName(0), "unknown");
  EXPECT_STREQ(DropReasonName(KLVS_DROP_REASONS), "unknown");
}

}  // namespace
}  // namespace kube_lvs::ebpf
