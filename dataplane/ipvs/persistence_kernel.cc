// Which real server a client comes back to, and when nothing is remembered of it.
#include <sys/socket.h>

#include <string>
#include <vector>

#include "dataplane/ipvs/traffic_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using vm::ClientAddress;
using vm::Servers;

class PersistenceTest : public TrafficTest {
 protected:
  // The real server of a new connection of each client in turn, by NAT and rr.
  std::vector<int> Chosen(Protocol protocol, Family family, const Persistence& persistence,
                          const std::vector<int>& clients) {
    const ServiceKey key = NewKey(protocol, family);
    Servers servers(protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM, family, 8080, false);
    State desired;
    VirtualService& service = desired.services[key];
    service = ThreeServers("rr", ForwardingMethod::kNat, family, 8080, {1, 1, 1});
    service.config.persistence = persistence;
    Reach(desired);
    std::vector<int> chosen;
    for (const int client : clients) {
      static uint16_t port = 40000;
      chosen.push_back(servers.Ask({ClientAddress(client, family), ++port}, VipOf(key)).server);
    }
    return chosen;
  }
};

TEST_F(PersistenceTest, KeepsTheClientsOfAPrefixTogether) {
  // Clients are 10.1.0.1, fd01::1 and so on: of networks of four, the first has three.
  const std::vector<int> clients = {0, 1, 2, 0, 3, 4, 7, 3, 8, 0, 8};
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    EXPECT_THAT(Chosen(protocol, Family::kIpv4,
                       {.timeout_seconds = 60, .prefix_length = 30, .engine = ""}, clients),
                ElementsAre(1, 1, 1, 1, 2, 2, 3, 2, 3, 1, 3));
    EXPECT_THAT(Chosen(protocol, Family::kIpv6,
                       {.timeout_seconds = 60, .prefix_length = 126, .engine = ""}, clients),
                ElementsAre(1, 1, 1, 1, 2, 2, 3, 2, 3, 1, 3));
  }
}

TEST_F(PersistenceTest, KeepsTheClientsTogetherThatAMaskWithHolesMakesEqual) {
  const Persistence odd_and_even{
      .timeout_seconds = 60, .prefix_length = 0, .engine = "", .mask_with_holes = 0xffffff01};
  EXPECT_THAT(Chosen(Protocol::kTcp, Family::kIpv4, odd_and_even, {0, 1, 2, 3, 20, 31, 0, 1}),
              ElementsAre(1, 2, 1, 2, 1, 2, 1, 2));
}

// The netmask makes all clients one: it is the Call-ID that tells calls apart.
TEST_F(TrafficTest, SipKeepsACallAtItsRealServerWhoeverSends) {
  const ServiceKey key = NewKey(Protocol::kUdp, Family::kIpv4);
  Servers servers(SOCK_DGRAM, Family::kIpv4, 8080, false);
  State desired;
  VirtualService& service = desired.services[key];
  service = ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
  service.config.persistence =
      Persistence{.timeout_seconds = 60, .prefix_length = 24, .engine = "sip"};
  Reach(desired);
  std::vector<int> chosen;
  int client = 0;
  for (const std::string call : {"a", "b", "c", "a", "c", "b", "d", "a", "d"}) {
    const std::string invite =
        "INVITE sip:shop@example.com SIP/2.0\r\nMax-Forwards: 70\r\nCall-ID: " + call +
        "@client.example.com\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    const Endpoint from{ClientAddress(++client, Family::kIpv4), ClientPort(key)};
    chosen.push_back(servers.Ask(from, VipOf(key), invite).server);
  }
  EXPECT_THAT(chosen, ElementsAre(1, 2, 3, 1, 3, 2, 1, 1, 1));
}

TEST_F(TrafficTest, OnePacketSchedulingChoosesForEveryPacket) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const ServiceKey key = NewKey(Protocol::kUdp, family);
    // Not NAT: of a packet alone nothing is left that would put the VIP into the answer.
    const uint16_t port = VipOf(key).port;
    Servers servers(SOCK_DGRAM, family, port, true);
    State desired;
    desired.services[key] =
        ThreeServers("rr", ForwardingMethod::kDirectRouting, family, port, {1, 1, 1});
    desired.services[key].config.one_packet = true;
    Reach(desired);
    std::vector<int> chosen;
    const Endpoint from{ClientAddress(0, family), ClientPort(key)};
    for (int i = 0; i < 6; ++i) chosen.push_back(servers.Ask(from, VipOf(key)).server);
    EXPECT_THAT(chosen, ElementsAre(1, 2, 3, 1, 2, 3));
  }
}

}  // namespace
}  // namespace kube_lvs::ipvs
