// A real server by NAT that is this node itself, without source NAT: requests go to the stack with
// its address, and what it answers gets the VIP's on the way out.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class HomeTest : public testing::TestWithParam<std::tuple<Stage, bool>> {
 protected:
  void Serve(uint8_t protocol, uint8_t flags = 0) {
    director_.Add({.vip = vip_,
                   .protocol = protocol,
                   .flags = flags,
                   .method = KLVS_METHOD_NAT,
                   .reals = {{.address = own_,
                              .port = static_cast<uint16_t>(protocol == 132 ? 80 : 8080),
                              .flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL}}});
    director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
    director_.SetAddress(own_, KLVS_ADDRESS_NAT_REAL);
  }
  struct Ends {
    std::string src;
    uint16_t sport;
    std::string dst;
    uint16_t dport;
  };
  Bytes Packet(const Ends& ends, uint8_t protocol, uint8_t flags, uint8_t ttl = 64) const {
    const auto fill = [&](auto frame) {
      frame.protocol = protocol;
      frame.flags = flags;
      SetTtl(frame, ttl);
      return frame.Build();
    };
    return ipv6_ ? fill(ClientFrame6(ends.src, ends.sport, ends.dst, ends.dport))
                 : fill(ClientFrame(ends.src, ends.sport, ends.dst, ends.dport));
  }
  static void SetTtl(Frame& frame, uint8_t ttl) { frame.ttl = ttl; }
  static void SetTtl(Frame6& frame, uint8_t ttl) { frame.hops = ttl; }

  // The packet as tc gets it behind this stage.
  Outcome Arrive(const Bytes& packet) {
    if (std::get<0>(GetParam()) == Stage::kXdp) {
      const Outcome out = director_.Run(packet);
      EXPECT_EQ(out.verdict, Verdict::kUntouched);
      EXPECT_EQ(Hex(out.frame), Hex(packet));
    }
    return director_.RunTc(packet);
  }
  Bytes TooBig(const std::string& src, const std::string& dst, const Bytes& about, uint8_t ttl) {
    return ipv6_ ? Error6(src, dst, 2, 0, About6(1400, about), ttl)
                 : Error4(src, dst, IcmpError(3, 4, 1400, about), ttl);
  }
  Bytes NoPort(const std::string& src, const std::string& dst, const Bytes& about, uint8_t ttl) {
    return ipv6_ ? Error6(src, dst, 1, 4, About6(0, about), ttl)
                 : Error4(src, dst, IcmpError(3, 3, 0, about), ttl);
  }
  static Bytes Error4(const std::string& src, const std::string& dst, const std::string& message,
                      uint8_t ttl) {
    Frame frame = ClientFrame(src, 0, dst, 0);
    frame.protocol = 1;
    frame.payload = message;
    frame.ttl = ttl;
    return frame.Build();
  }
  static Bytes Error6(const std::string& src, const std::string& dst, uint8_t type, uint8_t code,
                      const Bytes& body, uint8_t ttl) {
    Frame6 frame = Icmp6(ClientFrame6(src, 0, dst, 0), type, code, body);
    frame.hops = ttl;
    return frame.Build();
  }
  static void ExpectHandedOn(const Outcome& out, const Bytes& expected) {
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(expected));
  }

  const bool ipv6_ = std::get<1>(GetParam());
  const std::string vip_ = ipv6_ ? "2001:db8:9::1" : "10.9.0.1";
  const std::string own_ = ipv6_ ? "2001:db8:1::254" : "10.1.0.254";
  const std::string client_ = ipv6_ ? "2001:db8:7::1" : "10.7.0.1";
  Director director_{std::get<0>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Stages, HomeTest,
                         testing::Combine(testing::Values(Stage::kXdp, Stage::kTc),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<1>(info.param) ? "Ipv6" : "Ipv4") +
                                  ToString(std::get<0>(info.param));
                         });

TEST_P(HomeTest, RequestsGoToTheStackAndAnswersLeaveAsTheVips) {
  for (const uint8_t protocol : {6, 17, 132}) {
    SCOPED_TRACE(int{protocol});
    if (ipv6_ && protocol == 132) continue;  // frames of IPv6 have none
    Serve(protocol);
    const uint16_t port = protocol == 132 ? 80 : 8080;
    // A packet that has come to its last hop is at its end here.
    for (const uint8_t ttl : {64, 1}) {
      ExpectHandedOn(Arrive(Packet({client_, 2000, vip_, 80}, protocol, kSyn, ttl)),
                     Packet({client_, 2000, own_, port}, protocol, kSyn, ttl));
    }
    ExpectHandedOn(director_.RunReply(Packet({own_, port, client_, 2000}, protocol, kSyn | kAck)),
                   Packet({vip_, 80, client_, 2000}, protocol, kSyn | kAck));
  }
  const uint64_t protocols = ipv6_ ? 2 : 3;
  EXPECT_EQ(director_.ServiceCounters(1).connections, protocols);
  EXPECT_EQ(director_.ServiceCounters(1).packets, 2 * protocols);
  EXPECT_EQ(director_.ServiceCounters(1).reply_packets, protocols);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(HomeTest, WhatElseThisNodeSendsLeavesAsItIs) {
  Serve(6);
  Arrive(Packet({client_, 2000, vip_, 80}, 6, kSyn));
  for (const Ends& ends : {Ends{own_, 8080, client_, 2001}, Ends{own_, 22, client_, 2000},
                           Ends{client_, 2000, own_, 8080}, Ends{own_, 2000, vip_, 80}}) {
    const Bytes packet = Packet(ends, 6, kAck);
    ExpectHandedOn(director_.RunReply(packet), packet);
  }
  // Nobody's answer, without such a service.
  const Bytes answer = Packet({own_, 8080, client_, 2000}, 6, kAck);
  director_.settings().flags = 0;
  ExpectHandedOn(director_.RunReply(answer), answer);
  EXPECT_EQ(director_.ServiceCounters(1).reply_packets, 0u);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(HomeTest, ErrorsPassBothWays) {
  Serve(17);
  Arrive(Packet({client_, 2000, vip_, 80}, 17, kSyn));
  // A router's about the answer, as the client's side saw it.
  const std::string router = ipv6_ ? "2001:db8:ff::9" : "203.0.113.9";
  const Bytes answer = Packet({vip_, 80, client_, 2000}, 17, kAck);
  const Bytes here = Packet({own_, 8080, client_, 2000}, 17, kAck);
  ExpectHandedOn(Arrive(TooBig(router, vip_, answer, 64)), TooBig(router, own_, here, 63));
  // Nobody listens there.
  const Bytes request = Packet({client_, 2000, own_, 8080}, 17, kSyn);
  const Bytes asked = Packet({client_, 2000, vip_, 80}, 17, kSyn);
  ExpectHandedOn(director_.RunReply(NoPort(own_, client_, request, 64)),
                 NoPort(vip_, client_, asked, 63));
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(HomeTest, WithSourceNatOrForThisNodeItselfThereIsNoWayBack) {
  Serve(6, KLVS_SERVICE_SOURCE_NAT);
  EXPECT_EQ(director_.Run(Packet({client_, 2000, vip_, 80}, 6, kSyn)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"local_nat", 1}}));
  Serve(6);
  director_.interface().flags |= KLVS_INTERFACE_LOCAL;
  EXPECT_EQ(director_.RunTc(Packet({client_, 2000, vip_, 80}, 6, kSyn)).verdict,
            Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"local_nat", 2}}));
  EXPECT_TRUE(director_.Entries().empty());
}

}  // namespace
}  // namespace kube_lvs::ebpf
