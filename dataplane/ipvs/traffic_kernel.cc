// Real packets through the kernel's IPVS as the backend programs it: each forwarding method, both
// IP families, tunnels, persistence.
#include <sys/socket.h>

#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "base/status.h"
#include "dataplane/ipvs/traffic_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using vm::Answer;
using vm::ClientAddress;
using vm::ServerAddress;
using vm::Servers;

// With rr, six connections: in the canonical order of the real servers, twice, each from the
// client's own address.
class InTurnTest : public TrafficTest {
 protected:
  // `reals`: the IP family of the real servers' own addresses.
  void ExpectThreeServersInTurn(Protocol protocol, Family family, ForwardingMethod method,
                                const Tunnel& tunnel = {}, std::optional<Family> reals = {}) {
    const ServiceKey key = NewKey(protocol, family);
    const bool direct = method != ForwardingMethod::kNat;
    const uint16_t port = direct ? VipOf(key).port : 8080;
    const int type = protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
    Servers servers(type, family, port, direct);
    State desired;
    desired.services[key] = ThreeServers("rr", method, reals.value_or(family), port, {1, 1, 1});
    for (RealServer& real : desired.services[key].reals) real.tunnel = tunnel;
    Reach(desired);
    for (int i = 0; i < 6; ++i) {
      const Endpoint from{ClientAddress(i, family), ClientPort(key)};
      EXPECT_EQ(servers.Ask(from, VipOf(key)),
                (Answer{.server = i % 3 + 1, .client = ClientAddress(i, family)}))
          << "connection " << i << " to " << ToString(key);
    }
  }
};

class MethodTest
    : public InTurnTest,
      public ::testing::WithParamInterface<std::tuple<ForwardingMethod, Family, Protocol>> {};

TEST_P(MethodTest, ReachesThreeServersInTurn) {
  const auto [method, family, protocol] = GetParam();
  ExpectThreeServersInTurn(protocol, family, method);
}

INSTANTIATE_TEST_SUITE_P(All, MethodTest,
                         ::testing::Combine(::testing::Values(ForwardingMethod::kNat,
                                                              ForwardingMethod::kDirectRouting,
                                                              ForwardingMethod::kTunnel),
                                            ::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(Protocol::kTcp, Protocol::kUdp)),
                         [](const auto& info) {
                           return ToString(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == Family::kIpv4 ? "Ipv4" : "Ipv6") +
                                  ToString(std::get<2>(info.param));
                         });

// Commands for `ip` in each real server's namespace, undone at the end. "{}" is its IPv4 address.
class AtRealServers {
 public:
  AtRealServers(const std::string& make, std::string undo) : undo_(std::move(undo)) { Each(make); }
  ~AtRealServers() { Each(undo_); }

 private:
  static void Each(const std::string& commands) {
    std::string lines;
    for (int n = 1; n <= vm::kServers; ++n) {
      std::string own = "cd /run && nsenter --net=/run/netns/rs" + std::to_string(n) + " sh -ec '" +
                        commands + "'\n";
      for (size_t at; (at = own.find("{}")) != std::string::npos;) {
        own.replace(at, 2, ServerAddress(n, Family::kIpv4).ToString());
      }
      lines += own;
    }
    vm::Run("set -e\n" + lines);
  }

  std::string undo_;
};

class GueTest : public InTurnTest, public ::testing::WithParamInterface<std::pair<bool, bool>> {};

TEST_P(GueTest, ReachesThreeServersInTurn) {
  const auto [checksum, remote] = GetParam();
  vm::Run("modprobe fou");
  const AtRealServers listening("ip fou add port 6080 gue", "ip fou del port 6080");
  const Tunnel gue{
      .type = TunnelType::kGue, .port = 6080, .checksum = checksum, .remote_checksum = remote};
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    ExpectThreeServersInTurn(protocol, Family::kIpv4, ForwardingMethod::kTunnel, gue);
  }
}

INSTANTIATE_TEST_SUITE_P(Checksums, GueTest,
                         ::testing::Values(std::pair(false, false), std::pair(true, false),
                                           std::pair(false, true), std::pair(true, true)));

TEST_F(InTurnTest, GreReachesThreeServers) {
  vm::Run("modprobe ip_gre");
  for (const bool checksum : {false, true}) {
    const AtRealServers device("ip link add name g4 type gre local {} remote any" +
                                   std::string(checksum ? " icsum" : "") + "; ip link set g4 up",
                               "ip link del g4");
    const Tunnel gre{.type = TunnelType::kGre, .port = 0, .checksum = checksum};
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      ExpectThreeServersInTurn(protocol, Family::kIpv4, ForwardingMethod::kTunnel, gre);
    }
  }
}

// A service of IPv6 whose real servers are reached over IPv4.
TEST_F(InTurnTest, ATunnelLeadsToTheOtherFamily) {
  vm::Run("modprobe sit");
  const AtRealServers device("ip link add name s4 type sit local {} remote any; ip link set s4 up",
                             "ip link del s4");
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    ExpectThreeServersInTurn(protocol, Family::kIpv6, ForwardingMethod::kTunnel, {}, Family::kIpv4);
  }
}

TEST_F(TrafficTest, PersistenceKeepsTheClientsOfAPrefixTogether) {
  const ServiceKey key = NewKey(Protocol::kTcp, Family::kIpv4);
  Servers servers(SOCK_STREAM, Family::kIpv4, 8080, false);
  State desired;
  VirtualService& service = desired.services[key];
  service = ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
  // Clients are 10.1.0.1, 10.1.0.2, ...: of /30 networks, the first has three.
  service.config.persistence =
      Persistence{.timeout_seconds = 60, .prefix_length = 30, .engine = ""};
  Reach(desired);
  std::vector<int> chosen;
  for (const int client : {0, 1, 2, 0, 3, 4, 7, 3, 8, 0, 8}) {
    static uint16_t port = 40000;
    chosen.push_back(
        servers.Ask({ClientAddress(client, Family::kIpv4), ++port}, VipOf(key)).server);
  }
  EXPECT_THAT(chosen, ElementsAre(1, 1, 1, 1, 2, 2, 3, 2, 3, 1, 3));
}

TEST_F(TrafficTest, OnePacketSchedulingChoosesForEveryPacket) {
  const ServiceKey key = NewKey(Protocol::kUdp, Family::kIpv4);
  // Not NAT: of a packet alone nothing is left that would put the VIP into the answer.
  const uint16_t port = VipOf(key).port;
  Servers servers(SOCK_DGRAM, Family::kIpv4, port, true);
  State desired;
  desired.services[key] =
      ThreeServers("rr", ForwardingMethod::kDirectRouting, Family::kIpv4, port, {1, 1, 1});
  desired.services[key].config.one_packet = true;
  Reach(desired);
  std::vector<int> chosen;
  const Endpoint from{ClientAddress(0, Family::kIpv4), ClientPort(key)};
  for (int i = 0; i < 6; ++i) chosen.push_back(servers.Ask(from, VipOf(key)).server);
  EXPECT_THAT(chosen, ElementsAre(1, 2, 3, 1, 2, 3));
}

TEST_F(TrafficTest, ARestartWithNothingToDoSendsNothingAndKeepsConnections) {
  const ServiceKey key = NewKey(Protocol::kTcp, Family::kIpv4);
  Servers servers(SOCK_STREAM, Family::kIpv4, 8080, false);
  State desired;
  desired.services[key] =
      ThreeServers("wrr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
  Reach(desired);
  EXPECT_GT(channel_->changes_sent(), 0u);
  const auto connection =
      servers.Connect({ClientAddress(0, Family::kIpv4), ClientPort(key)}, VipOf(key));
  ASSERT_NE(connection.answer.server, 0);
  Restart();
  Reach(desired);
  EXPECT_EQ(channel_->changes_sent(), 0u);
  EXPECT_TRUE(Servers::Echo(connection));
}

TEST_F(TrafficTest, AQuiescedServerKeepsItsConnectionsAndGetsNoNewOnes) {
  const ServiceKey key = NewKey(Protocol::kTcp, Family::kIpv4);
  Servers servers(SOCK_STREAM, Family::kIpv4, 8080, false);
  State desired;
  desired.services[key] =
      ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
  Reach(desired);
  const auto connection =
      servers.Connect({ClientAddress(0, Family::kIpv4), ClientPort(key)}, VipOf(key));
  ASSERT_NE(connection.answer.server, 0);
  const auto quiesced = static_cast<size_t>(connection.answer.server) - 1;
  desired.services[key].reals[quiesced].weight = 0;
  Reach(desired);
  for (int i = 1; i <= 6; ++i) {
    const Endpoint from{ClientAddress(i, Family::kIpv4), ClientPort(key)};
    const int server = servers.Ask(from, VipOf(key)).server;
    EXPECT_NE(server, 0);
    EXPECT_NE(server, connection.answer.server);
  }
  EXPECT_TRUE(Servers::Echo(connection));
}

TEST_F(TrafficTest, CountersTellWhatWentThrough) {
  const ServiceKey key = NewKey(Protocol::kTcp, Family::kIpv4);
  Servers servers(SOCK_STREAM, Family::kIpv4, 8080, false);
  State desired;
  desired.services[key] =
      ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
  Reach(desired);
  std::vector<Servers::Connection> connections;
  for (int i = 0; i < 6; ++i) {
    connections.push_back(
        servers.Connect({ClientAddress(i, Family::kIpv4), ClientPort(key)}, VipOf(key)));
    EXPECT_NE(connections.back().answer.server, 0);
  }
  // The kernel publishes its counters every two seconds.
  Stats stats;
  for (int tries = 0; tries < 100 && stats.services[key].connections != 6; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto now = backend_->ReadStats();
    ASSERT_EQ(now.status(), absl::OkStatus());
    stats = *now;
  }
  EXPECT_EQ(stats.services[key].connections, 6u);
  EXPECT_GE(stats.services[key].packets, 6u * 3);
  EXPECT_GE(stats.services[key].bytes, stats.services[key].packets * 40);
  for (int n = 1; n <= vm::kServers; ++n) {
    const RealServerStats& real = stats.reals[{key, {ServerAddress(n, Family::kIpv4), 8080}}];
    EXPECT_EQ(real.counters.connections, 2u);
    EXPECT_EQ(real.active_connections, 2u);
    EXPECT_EQ(real.inactive_connections, 0u);
    EXPECT_EQ(real.weight, 1u);
  }
  EXPECT_GE(stats.services[key].reply_packets, 6u * 2);
  EXPECT_GE(stats.services[key].reply_bytes, stats.services[key].reply_packets * 40);
  // Zeroed, they begin anew; connections that are there stay.
  const vm::InNamespace in("ds");
  const std::vector<Bytes> zero = {EncodeKey(Command::kZero, key)};
  EXPECT_EQ(channel_->Send(zero)->front(), 0);
  stats = *backend_->ReadStats();
  EXPECT_EQ(stats.services[key], Counters{});
  EXPECT_TRUE(Servers::Echo(connections.front()));
}

}  // namespace
}  // namespace kube_lvs::ipvs
