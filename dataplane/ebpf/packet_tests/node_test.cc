// Real servers: the outer header that goes, the MSS that shrinks.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class DecapTest : public testing::Test {
 protected:
  DecapTest() { director_.AddTunnelPeer("10.1.0.254", "10.9.0.1"); }
  Bytes Tunnelled(const Frame& inner = ClientFrame(), const char* director = "10.1.0.254") {
    return Encapsulate(inner.Build(), Ip(director), Ip("10.1.0.2"));
  }
  void ExpectUntouched(const Bytes& bytes) {
    const Outcome out = director_.RunDecap(bytes);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(bytes));
  }
  Director director_{Stage::kTc};
};

TEST_F(DecapTest, WhatADirectorSendsLosesItsOuterHeader) {
  const Frame inner = ClientFrame();
  const Outcome out = director_.RunDecap(Tunnelled(inner));
  EXPECT_EQ(out.verdict, Verdict::kToStack);
  EXPECT_EQ(Hex(out.frame), Hex(inner.Build()));
}

TEST_F(DecapTest, AnythingElseIsUntouched) {
  ExpectUntouched(Tunnelled(ClientFrame(), "10.1.0.253"));                 // not a director
  ExpectUntouched(Tunnelled(ClientFrame("10.1.0.1", 40000, "10.9.0.2")));  // not its VIP
  ExpectUntouched(ClientFrame().Build());
  Frame udp = ClientFrame("10.1.0.254");
  udp.protocol = 17;
  ExpectUntouched(udp.Build());
  Bytes flooded = Tunnelled();
  flooded[5] ^= 1;
  ExpectUntouched(flooded);
  Bytes fragment = Tunnelled();
  fragment[20] |= 0x20;
  ExpectUntouched(fragment);
  fragment = Tunnelled();
  fragment[21] |= 1;
  ExpectUntouched(fragment);
  Bytes six = Tunnelled();
  six[34] = 0x60;
  ExpectUntouched(six);
  Bytes longer = Tunnelled();
  longer[37] += 1;  // the inner length
  ExpectUntouched(longer);
}

TEST_F(DecapTest, OfAPrefixOfVipsEachIsUnpackedAndNoOther) {
  director_.AddTunnelPeer("10.1.0.254", "10.9.1.64/26");
  for (const char* vip : {"10.9.1.64", "10.9.1.100", "10.9.1.127", "10.9.0.1"}) {
    const Frame inner = ClientFrame("10.1.0.1", 40000, vip);
    const Outcome out = director_.RunDecap(Tunnelled(inner));
    EXPECT_EQ(out.verdict, Verdict::kToStack) << vip;
    EXPECT_EQ(Hex(out.frame), Hex(inner.Build()));
  }
  ExpectUntouched(Tunnelled(ClientFrame("10.1.0.1", 40000, "10.9.1.63")));
  ExpectUntouched(Tunnelled(ClientFrame("10.1.0.1", 40000, "10.9.1.128")));
  ExpectUntouched(Tunnelled(ClientFrame("10.1.0.1", 40000, "10.9.1.100"), "10.1.0.253"));
}

TEST_F(DecapTest, APacketThatEndsEarlyIsUntouched) {
  const Bytes whole = Tunnelled();
  for (size_t size = 34; size < whole.size(); ++size) {
    ExpectUntouched(Bytes(whole.begin(), whole.begin() + size));
  }
}

class GueDecapTest : public DecapTest {
 protected:
  static constexpr uint16_t kPort = 6080;
  GueDecapTest() {
    director_.AddGuePeer("10.1.0.254", "10.9.0.1", "10.1.0.2", kPort);
    director_.AddGuePeer("2001:db8:1::fe", "2001:db8:9::1", "2001:db8:1::2", kPort);
  }
  static Bytes ByGue(const Frame& inner = ClientFrame(), const char* director = "10.1.0.254",
                     const char* real = "10.1.0.2", uint16_t port = kPort) {
    return EncapsulateGue(inner.Build(), Ip(director), Ip(real), 0xc123, port);
  }
  static Bytes ByGue6(const Frame6& inner = ClientFrame6("2001:db8:5::1", 40000, "2001:db8:9::1"),
                      const char* director = "2001:db8:1::fe", const char* real = "2001:db8:1::2",
                      uint16_t port = kPort) {
    return EncapsulateGue6(inner.Build(), director, real, 0xc123, port);
  }
  void ExpectUnpacked(const Bytes& bytes, const Bytes& inner) {
    const Outcome out = director_.RunDecap(bytes);
    EXPECT_EQ(out.verdict, Verdict::kToStack);
    EXPECT_EQ(Hex(out.frame), Hex(inner));
  }
};

TEST_F(GueDecapTest, WhatADirectorSendsLosesBothHeaders) {
  Frame inner = ClientFrame();
  ExpectUnpacked(ByGue(inner), inner.Build());
  inner.protocol = 17;
  inner.payload = std::string(1000, 'x');
  ExpectUnpacked(ByGue(inner), inner.Build());
  inner.more_fragments = true;  // of the client's packet, not of the tunnel's
  ExpectUnpacked(ByGue(inner), inner.Build());
  const Frame6 inner6 = ClientFrame6("2001:db8:5::1", 40000, "2001:db8:9::1");
  ExpectUnpacked(ByGue6(inner6), inner6.Build());
}

TEST_F(GueDecapTest, OptionsOfTheOuterHeaderGoWithIt) {
  Bytes bytes = ByGue();
  const uint32_t length = (bytes[16] << 8 | bytes[17]) + 8;
  bytes[14] += 2;
  bytes[16] = static_cast<uint8_t>(length >> 8);
  bytes[17] = static_cast<uint8_t>(length);
  bytes.insert(bytes.begin() + 34, 8, 1);
  ExpectUnpacked(bytes, ClientFrame().Build());
}

TEST_F(GueDecapTest, OfAPrefixOfVipsEachIsUnpackedAndNoOther) {
  director_.AddGuePeer("10.1.0.254", "10.9.1.64/26", "10.1.0.2", kPort);
  director_.AddGuePeer("2001:db8:1::fe", "2001:db8:9:1::/64", "2001:db8:1::2", kPort);
  for (const char* vip : {"10.9.1.64", "10.9.1.127", "10.9.0.1"}) {
    const Frame inner = ClientFrame("10.1.0.1", 40000, vip);
    ExpectUnpacked(ByGue(inner), inner.Build());
  }
  ExpectUntouched(ByGue(ClientFrame("10.1.0.1", 40000, "10.9.1.128")));
  const Frame6 inner6 = ClientFrame6("2001:db8:5::1", 40000, "2001:db8:9:1::7");
  ExpectUnpacked(ByGue6(inner6), inner6.Build());
  ExpectUntouched(ByGue6(ClientFrame6("2001:db8:5::1", 40000, "2001:db8:9:2::7")));
}

TEST_F(GueDecapTest, AnythingElseIsUntouched) {
  ExpectUntouched(ByGue(ClientFrame(), "10.1.0.253"));                   // not a director
  ExpectUntouched(ByGue(ClientFrame("10.1.0.1", 40000, "10.9.0.2")));    // not its VIP
  ExpectUntouched(ByGue(ClientFrame(), "10.1.0.254", "10.1.0.3"));       // another real server
  ExpectUntouched(ByGue(ClientFrame(), "10.1.0.254", "10.1.0.2", 6081));  // another port
  const Frame6 inner6 = ClientFrame6("2001:db8:5::1", 40000, "2001:db8:9::1");
  ExpectUntouched(ByGue6(inner6, "2001:db8:1::fd"));
  ExpectUntouched(ByGue6(ClientFrame6("2001:db8:5::1", 40000, "2001:db8:9::2")));
  ExpectUntouched(ByGue6(inner6, "2001:db8:1::fe", "2001:db8:1::3"));
  ExpectUntouched(ByGue6(inner6, "2001:db8:1::fe", "2001:db8:1::2", 6081));
  Bytes fragment = ByGue();
  fragment[20] |= 0x20;
  ExpectUntouched(fragment);
}

// One byte of the headers of GUE that is not as a director writes it.
TEST_F(GueDecapTest, OtherHeadersAreUntouched) {
  const std::vector<std::pair<size_t, uint8_t>> changes = {
      {4, 1},        // longer UDP
      {5, 1},        //
      {6, 1},        // a checksum
      {7, 1},        //
      {8, 0x40},     // variant 1
      {8, 0x20},     // a control message
      {8, 1},        // an option
      {9, 4 ^ 41},   // the other IP
      {9, 4 ^ 17},   // no IP
      {10, 0x80},    // a flag
      {11, 1},       //
      {12, 0x20},    // the version inside
  };
  for (const auto& [at, bits] : changes) {
    SCOPED_TRACE(at);
    Bytes bytes = ByGue();
    bytes[34 + at] ^= bits;
    ExpectUntouched(bytes);
    bytes = ByGue6();
    bytes[54 + at] ^= bits;
    ExpectUntouched(bytes);
  }
}

TEST_F(GueDecapTest, EachRuleIsOfOneTunnel) {
  director_.AddTunnelPeer("10.1.0.253", "10.9.0.1");
  ExpectUntouched(ByGue(ClientFrame(), "10.1.0.253"));
  director_.AddGuePeer("10.1.0.252", "10.9.0.1", "10.1.0.2", kPort);
  ExpectUntouched(Tunnelled(ClientFrame(), "10.1.0.252"));
}

TEST_F(GueDecapTest, APacketThatEndsEarlyIsUntouched) {
  const Bytes whole = ByGue(), whole6 = ByGue6();
  for (size_t size = 34; size < whole.size(); ++size) {
    ExpectUntouched(Bytes(whole.begin(), whole.begin() + size));
  }
  for (size_t size = 54; size < whole6.size(); ++size) {
    ExpectUntouched(Bytes(whole6.begin(), whole6.begin() + size));
  }
}

class MssTest : public testing::Test {
 protected:
  MssTest() { director_.AddMssClamp("10.9.0.1", 1440); }
  static Frame SynAck(Bytes options) {
    Frame frame = ClientFrame("10.9.0.1", 80, "10.1.0.1", 40000);
    frame.flags = kSyn | kAck;
    frame.tcp_options = std::move(options);
    frame.payload.clear();
    return frame;
  }
  void Expect(const Frame& in, Bytes options) {
    const Outcome out = director_.RunMssClamp(in.Build());
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    Frame expected = in;
    expected.tcp_options = std::move(options);
    EXPECT_EQ(Hex(out.frame), Hex(expected.Build()));
  }
  Director director_{Stage::kTc};
};

TEST_F(MssTest, AGreaterMssBecomesTheClamp) {
  Expect(SynAck({2, 4, 1460 >> 8, 1460 & 255}), {2, 4, 1440 >> 8, 1440 & 255});
  Expect(SynAck({1, 1, 4, 2, 2, 4, 0xff, 0xff}), {1, 1, 4, 2, 2, 4, 1440 >> 8, 1440 & 255});
}

TEST_F(MssTest, OfAPrefixOfVipsToo) {
  director_.AddMssClamp("10.9.1.64/26", 1400);
  Frame in = SynAck({2, 4, 1460 >> 8, 1460 & 255});
  in.src = Ip("10.9.1.100");
  Expect(in, {2, 4, 1400 >> 8, 1400 & 255});
  in.src = Ip("10.9.1.128");
  Expect(in, {2, 4, 1460 >> 8, 1460 & 255});
}

TEST_F(MssTest, AlsoAtAnOddOffset) {
  Expect(SynAck({1, 2, 4, 1460 >> 8, 1460 & 255, 1, 1, 0}),
         {1, 2, 4, 1440 >> 8, 1440 & 255, 1, 1, 0});
}

TEST_F(MssTest, BehindTheOtherOptionsOfLinux) {
  const Bytes rest = {4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7};
  Bytes in = rest, out = rest;
  for (const uint8_t b : {2, 4, 5, 180}) in.push_back(b);
  for (const uint8_t b : {2, 4, 5, 160}) out.push_back(b);
  Expect(SynAck(in), out);
}

TEST_F(MssTest, EverythingElseStaysAsItIs) {
  const Bytes big = {2, 4, 5, 180};
  Expect(SynAck({2, 4, 1440 >> 8, 1440 & 255}), {2, 4, 1440 >> 8, 1440 & 255});
  Expect(SynAck({2, 4, 2, 0}), {2, 4, 2, 0});
  Expect(SynAck({}), {});
  Expect(SynAck({0, 4, 5, 180}), {0, 4, 5, 180});  // the end comes first
  Expect(SynAck({2, 0, 5, 180}), {2, 0, 5, 180});  // lengths that make no sense
  Expect(SynAck({2, 3, 5, 180}), {2, 3, 5, 180});
  Expect(SynAck({1, 1, 2, 4}), {1, 1, 2, 4});
  Expect(SynAck({9, 200, 5, 180}), {9, 200, 5, 180});
  Expect(SynAck({9, 1, 5, 180}), {9, 1, 5, 180});
  Frame other = SynAck(big);
  other.flags = kSyn;
  Expect(other, big);
  other.flags = kAck;
  Expect(other, big);
  other = SynAck(big);
  other.src = Ip("10.9.0.2");
  Expect(other, big);
}

TEST_F(MssTest, APacketThatEndsEarlyIsUntouched) {
  const Bytes whole = SynAck({1, 1, 4, 2, 2, 4, 5, 180}).Build();
  for (size_t size = 34; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + size);
    EXPECT_EQ(Hex(director_.RunMssClamp(cut).frame), Hex(cut));
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
