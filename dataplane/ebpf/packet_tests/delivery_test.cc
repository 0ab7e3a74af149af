// Directors that are each other's real servers: what comes to one that has not claimed the VIP goes
// to the real server on it, and nowhere else.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kForEver = ~uint64_t{0}, kOver = 1;

class DeliveryTest : public testing::TestWithParam<std::tuple<Stage, bool>> {
 protected:
  DeliveryTest() {
    director_.Add(Of(6));
    director_.settings().flags = KLVS_SETTING_CLAIMS;
  }
  // Real server 2 is on this node, 1 is the other director.
  Service Of(uint8_t protocol, uint8_t delivers = KLVS_DELIVERS) const {
    return {.vip = vip_,
            .protocol = protocol,
            .reals = {{.address = ipv6_ ? "2001:db8:1::2" : "10.1.0.2"},
                      {.address = ipv6_ ? "2001:db8:1::254" : "10.1.0.254",
                       .flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL}},
            .delivers = delivers,
            .local = 2};
  }
  Bytes Packet(uint16_t sport, uint8_t flags = kSyn, uint8_t protocol = 6,
               const Mac& from = kClientMac) const {
    const auto fill = [&](auto frame) {
      frame.src_mac = from;
      frame.protocol = protocol;
      frame.flags = flags;
      return frame.Build();
    };
    return ipv6_ ? fill(ClientFrame6("2001:db8:7::1", sport, vip_))
                 : fill(ClientFrame("10.7.0.1", sport, vip_));
  }
  void Claim(uint64_t until) {
    director_.SetAddress(vip_, KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP, until);
  }
  size_t Connections() { return director_.Entries().size() + director_.Entries6().size(); }
  // It goes to the stack as it is, and we know nothing of it.
  void ExpectDelivered(const Bytes& packet) {
    const size_t connections = Connections();
    const uint64_t packets = director_.ServiceCounters(1).packets;
    const Outcome out = director_.Run(packet);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(packet));
    EXPECT_EQ(Connections(), connections);
    EXPECT_EQ(director_.ServiceCounters(1).packets, packets);
    EXPECT_TRUE(director_.Drops().empty());
  }
  // Four in turn: to both real servers.
  void ExpectBalanced(uint16_t first_port) {
    int sent = 0;
    for (uint16_t i = 0; i < 4; ++i) {
      sent += director_.Run(Packet(static_cast<uint16_t>(first_port + i))).verdict ==
              Verdict::kSent;
    }
    EXPECT_EQ(sent, 2);
    EXPECT_EQ(director_.RealCounters(1).connections, 2U);
  }

  const bool ipv6_ = std::get<1>(GetParam());
  const std::string vip_ = ipv6_ ? "2001:db8:9::1" : "10.9.0.1";
  Director director_{std::get<0>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Stages, DeliveryTest,
                         testing::Combine(testing::Values(Stage::kXdp, Stage::kTc),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<1>(info.param) ? "Ipv6" : "Ipv4") +
                                  ToString(std::get<0>(info.param));
                         });

TEST_P(DeliveryTest, WithoutTheClaimAllGoesToTheRealServerHere) {
  for (uint16_t port = 2000; port < 2004; ++port) {
    ExpectDelivered(Packet(port));
    ExpectDelivered(Packet(port, kAck));
    ExpectDelivered(Packet(port, kFin | kAck));
    ExpectDelivered(Packet(port, kRst));
  }
}

TEST_P(DeliveryTest, DatagramsAsWell) {
  director_.Replace(Of(17));
  for (uint16_t port = 2000; port < 2004; ++port) ExpectDelivered(Packet(port, 0, 17));
}

TEST_P(DeliveryTest, WithTheClaimWeBalance) {
  Claim(kForEver);
  ExpectBalanced(2000);
}

TEST_P(DeliveryTest, AClaimThatIsOverIsNone) {
  Claim(kOver);
  for (uint16_t port = 2000; port < 2004; ++port) ExpectDelivered(Packet(port));
}

// As a group's whose routers choose a director for each connection.
TEST_P(DeliveryTest, WithoutClaimsWeBalance) {
  director_.settings().flags = 0;
  ExpectBalanced(2000);
}

TEST_P(DeliveryTest, WithoutARealServerHereWeBalance) {
  director_.Replace(Of(6, KLVS_DELIVERS_NOTHING));
  ExpectBalanced(2000);
}

TEST_P(DeliveryTest, AfterItLeftItsConnectionsGoOn) {
  director_.Replace(Of(6, KLVS_DELIVERED));
  for (uint16_t port = 1000; port < 1004; ++port) ExpectDelivered(Packet(port, kAck));
  ExpectBalanced(2000);
}

TEST_P(DeliveryTest, OurOwnClientsAreBalanced) {
  director_.interface().flags = KLVS_INTERFACE_LOCAL;
  int sent = 0;
  for (uint16_t port = 2000; port < 2004; ++port) {
    sent += director_.Run(Packet(port)).verdict == Verdict::kSent;
  }
  EXPECT_EQ(sent, 2);
}

// Opened with the claim; the client's packets come from the new owner now.
TEST_P(DeliveryTest, AConnectionOfBeforeGoesOnUnlessItsRealServerSendsIt) {
  Claim(kForEver);
  ExpectBalanced(2000);  // rr: the last of the list first
  uint16_t port = 2000;
  while (director_.Run(Packet(port, kAck)).verdict != Verdict::kSent) ++port;
  director_.SetAddress(vip_, KLVS_ADDRESS_VIP);
  EXPECT_EQ(director_.Run(Packet(port, kAck)).verdict, Verdict::kSent);
  ExpectDelivered(Packet(port, kAck, 6, kRealMac));
  director_.Replace(Of(6, KLVS_DELIVERS_NOTHING));
  EXPECT_EQ(director_.Run(Packet(port, kAck, 6, kRealMac)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"loop", 1}}));
}

TEST_P(DeliveryTest, APortUsedAgainLeavesTheClosedConnection) {
  Claim(kForEver);
  for (uint16_t port = 2000; port < 2002; ++port) {
    for (const int flags : {int{kSyn}, int{kAck}, int{kRst}}) {
      director_.RunTc(Packet(port, static_cast<uint8_t>(flags)));  // sees those to this node, too
    }
  }
  EXPECT_EQ(Connections(), 2U);
  director_.SetAddress(vip_, KLVS_ADDRESS_VIP);
  for (uint16_t port = 2000; port < 2002; ++port) {
    EXPECT_EQ(director_.Run(Packet(port)).verdict, Verdict::kUntouched);
    ExpectDelivered(Packet(port, kAck));
  }
  EXPECT_EQ(Connections(), 0U);
}

TEST_P(DeliveryTest, FragmentsFollowTheFirst) {
  if (ipv6_) return;  // the same program
  director_.Replace(Of(17));
  Frame frame = ClientFrame("10.7.0.1", 2000, vip_);
  frame.protocol = 17;
  frame.dont_fragment = false;
  frame.more_fragments = true;
  frame.payload = std::string(64, 'x');
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kUntouched);
  frame.more_fragments = false;
  frame.fragment_offset = 9;
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kUntouched);
  EXPECT_TRUE(director_.Drops().empty());
}

// What a router tells the client's real server.
TEST_P(DeliveryTest, ErrorsReachIt) {
  if (ipv6_) return;  // the same program
  Frame answer;
  answer.src = Ip(vip_);
  answer.dst = Ip("10.7.0.1");
  answer.sport = 80;
  answer.dport = 2000;
  answer.flags = kAck;
  Frame error = ClientFrame("10.7.0.9", 0, vip_, 0);
  error.protocol = 1;
  error.payload = IcmpError(3, 4, 1300, answer.Build());
  ExpectDelivered(error.Build());
}

}  // namespace
}  // namespace kube_lvs::ebpf
