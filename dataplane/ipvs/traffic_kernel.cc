// Real packets through the kernel's IPVS as the backend programs it: each forwarding method,
// protocol and IP family; what restarts, quiescing and counters make of connections.
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "base/status.h"
#include "dataplane/ipvs/traffic_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using vm::ClientAddress;
using vm::ServerAddress;
using vm::Servers;

class MethodTest
    : public InTurnTest,
      public ::testing::WithParamInterface<std::tuple<ForwardingMethod, Family, Protocol>> {};

TEST_P(MethodTest, ReachesThreeServersInTurn) {
  const auto [method, family, protocol] = GetParam();
  if (protocol == Protocol::kSctp) vm::Run("modprobe sctp");
  ExpectThreeServersInTurn(protocol, family, method);
}

INSTANTIATE_TEST_SUITE_P(
    All, MethodTest,
    ::testing::Combine(::testing::Values(ForwardingMethod::kNat, ForwardingMethod::kDirectRouting,
                                         ForwardingMethod::kTunnel),
                       ::testing::Values(Family::kIpv4, Family::kIpv6),
                       ::testing::Values(Protocol::kTcp, Protocol::kUdp, Protocol::kSctp)),
    [](const auto& info) {
      return ToString(std::get<0>(info.param)) +
             (std::get<1>(info.param) == Family::kIpv4 ? "Ipv4" : "Ipv6") +
             ToString(std::get<2>(info.param));
    });

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

// A setting of the director's IPVS, 0 again at the end.
class Setting {
 public:
  Setting(const std::string& name, bool on) : path_("/proc/sys/net/ipv4/vs/" + name) {
    Write(on ? "1" : "0");
  }
  ~Setting() { Write("0"); }

 private:
  void Write(const std::string& value) {
    vm::Run("nsenter --net=/run/netns/ds sh -c 'echo " + value + " >" + path_ + "'");
  }
  const std::string path_;
};

// Why the agent sets expire_nodest_conn.
TEST_F(TrafficTest, AClientWhoseServerWasRemovedGetsAnotherOneOnlyWhereConnectionsAreForgotten) {
  for (const bool forgotten : {false, true}) {
    const Setting setting("expire_nodest_conn", forgotten);
    const ServiceKey key = NewKey(Protocol::kUdp, Family::kIpv4);
    Servers servers(SOCK_DGRAM, Family::kIpv4, 8080, false);
    State desired;
    desired.services[key] =
        ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
    Reach(desired);
    const Endpoint from{ClientAddress(0, Family::kIpv4), ClientPort(key)};
    EXPECT_EQ(servers.Ask(from, VipOf(key)).server, 1);
    desired.services[key].reals.erase(desired.services[key].reals.begin());
    Reach(desired);
    EXPECT_EQ(servers.Ask(from, VipOf(key)).server, forgotten ? 2 : 0);
  }
}

// Why the agent sets expire_quiescent_template.
TEST_F(TrafficTest, PersistenceLeavesAQuiescedServerOnlyWhereTemplatesAreForgotten) {
  for (const bool forgotten : {false, true}) {
    const Setting setting("expire_quiescent_template", forgotten);
    const ServiceKey key = NewKey(Protocol::kTcp, Family::kIpv4);
    Servers servers(SOCK_STREAM, Family::kIpv4, 8080, false);
    State desired;
    desired.services[key] =
        ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 8080, {1, 1, 1});
    desired.services[key].config.persistence.emplace();
    Reach(desired);
    Endpoint from{ClientAddress(0, Family::kIpv4), ClientPort(key)};
    EXPECT_EQ(servers.Ask(from, VipOf(key)).server, 1);
    desired.services[key].reals.front().weight = 0;
    Reach(desired);
    from.port = static_cast<uint16_t>(from.port + 10000);
    EXPECT_EQ(servers.Ask(from, VipOf(key)).server, forgotten ? 2 : 1);
  }
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
