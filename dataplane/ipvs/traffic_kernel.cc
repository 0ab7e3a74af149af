// Real packets through the kernel's IPVS as the backend programs it: each forwarding method, both
// IP families, and the schedulers' choices.
#include <sys/socket.h>

#include <chrono>
#include <map>
#include <sstream>
#include <thread>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/plan/diff.h"
#include "e2e/vm/lab.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using vm::Answer;
using vm::ClientAddress;
using vm::InNamespace;
using vm::ServerAddress;
using vm::Servers;
using vm::Vip;

constexpr char kJournal[] = "/run/ipvs.journal";

class TrafficTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    static const bool made = (vm::MakeLab(), true);
    ASSERT_TRUE(made);
  }
  TrafficTest() { Restart(); }
  ~TrafficTest() override { Reach({}); }

  // As a new process of the agent.
  void Restart() {
    channel_ = std::make_unique<NetlinkChannel>();
    auto journal = Journal::Open(kJournal, "boot");
    ASSERT_EQ(journal.status(), absl::OkStatus());
    journal_ = std::make_unique<Journal>(*std::move(journal));
    backend_ = std::make_unique<IpvsBackend>(*channel_, *journal_);
  }

  void Reach(const State& desired) {
    const InNamespace in("ds");
    const auto actual = backend_->Read();
    ASSERT_EQ(actual.status(), absl::OkStatus());
    const Plan plan = Diff(desired, *actual);
    const auto results = backend_->Apply(plan.steps);
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(results[i], absl::OkStatus()) << ToString(plan.steps[i]);
    }
  }

  // A service at a port that no other test had: old connections would go where they went.
  static ServiceKey NewKey(Protocol protocol, Family family) {
    static uint16_t port = 1000;
    return {.dataplane = Dataplane::kIpvs,
            .match = Endpoint{Vip(family), ++port},
            .protocol = protocol};
  }
  // A port of the client for one test alone: to a real server, old connections of the same client
  // and port look like these.
  static uint16_t ClientPort(const ServiceKey& key) {
    return static_cast<uint16_t>(30000 + VipOf(key).port);
  }
  static const Endpoint& VipOf(const ServiceKey& key) { return std::get<Endpoint>(key.match); }

  static VirtualService ThreeServers(const std::string& scheduler, ForwardingMethod method,
                                     Family family, uint16_t port,
                                     const std::vector<uint32_t>& weights) {
    VirtualService out;
    out.config.scheduler = scheduler;
    for (int n = 1; n <= vm::kServers; ++n) {
      out.reals.push_back({.at = {ServerAddress(n, family), port},
                           .method = method,
                           .weight = weights[static_cast<size_t>(n) - 1]});
    }
    return out;
  }

  // With rr, six connections: in the canonical order of the real servers, twice, each from the
  // client's own address.
  void ExpectThreeServersInTurn(Protocol protocol, Family family, ForwardingMethod method) {
    const ServiceKey key = NewKey(protocol, family);
    const bool direct = method != ForwardingMethod::kNat;
    const uint16_t port = direct ? VipOf(key).port : 8080;
    const int type = protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
    Servers servers(type, family, port, direct);
    State desired;
    desired.services[key] = ThreeServers("rr", method, family, port, {1, 1, 1});
    Reach(desired);
    for (int i = 0; i < 6; ++i) {
      const Endpoint from{ClientAddress(i, family), ClientPort(key)};
      EXPECT_EQ(servers.Ask(from, VipOf(key)),
                (Answer{.server = i % 3 + 1, .client = ClientAddress(i, family)}))
          << "connection " << i << " to " << ToString(key);
    }
  }

  std::unique_ptr<NetlinkChannel> channel_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<IpvsBackend> backend_;
};

class MethodTest
    : public TrafficTest,
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

// What the kernel chose when it was asked for LVS's schedulers alone: real servers added in the
// order 1, 2, 3, so that its list is 3, 2, 1.
struct Golden {
  std::string name;
  std::string scheduler;
  HashFlags hash;
  std::vector<uint32_t> weights;
  bool by_port = false;  // one client with ports from 21200 or 21400 on, else 40 clients
  int first_port = 0;
  std::string chosen;
};

class GoldenTest : public TrafficTest, public ::testing::WithParamInterface<Golden> {};

TEST_P(GoldenTest, ChoosesWhatTheKernelAlwaysChose) {
  const Golden& golden = GetParam();
  const ServiceKey key = NewKey(Protocol::kUdp, Family::kIpv4);
  Servers servers(SOCK_DGRAM, Family::kIpv4, 80, false);
  VirtualService service =
      ThreeServers(golden.scheduler, ForwardingMethod::kNat, Family::kIpv4, 80, golden.weights);
  service.config.hash = golden.hash;
  std::ranges::reverse(service.reals);
  State desired;
  desired.services[key] = service;
  Reach(desired);
  std::istringstream chosen(golden.chosen);
  int wanted = 0;
  for (int i = 0; chosen >> wanted; ++i) {
    const Endpoint from = golden.by_port
                              ? Endpoint{ClientAddress(0, Family::kIpv4),
                                         static_cast<uint16_t>(golden.first_port + i)}
                              : Endpoint{ClientAddress(i, Family::kIpv4), ClientPort(key)};
    EXPECT_EQ(servers.Ask(from, VipOf(key)).server, wanted) << "connection " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Schedulers, GoldenTest,
    ::testing::Values(
        Golden{"rr", "rr", {}, {1, 1, 1}, false, 0, "3 2 1 3 2 1 3 2 1"},
        Golden{"wrr432", "wrr", {}, {4, 3, 2}, false, 0, "3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1"},
        Golden{"wrr234", "wrr", {}, {2, 3, 4}, false, 0, "3 2 1 3 3 2 3 2 1 3 2 1 3 3 2 3 2 1"},
        Golden{"wrr642", "wrr", {}, {6, 4, 2}, false, 0, "3 2 1 1 2 1 3 2 1 1 2 1 3 2 1 1 2 1"},
        Golden{"wlc312", "wlc", {}, {3, 1, 2}, false, 0, "3 2 1 1 3 1 3 2 1 1 3 1"},
        Golden{"sed312", "sed", {}, {3, 1, 2}, false, 0, "1 1 1 1"},
        Golden{"nq312", "nq", {}, {3, 1, 2}, false, 0, "3 3 3 3"},
        Golden{"sh111",
               "sh",
               {},
               {1, 1, 1},
               false,
               0,
               "3 3 1 2 1 3 1 3 1 3 2 3 2 3 2 1 2 1 2 1 3 1 3 1 3 2 3 1 1 2 1 2 3 3 1 3 1 2 2 3"},
        Golden{"sh312",
               "sh",
               {},
               {3, 1, 2},
               false,
               0,
               "3 1 1 3 1 3 2 3 2 3 3 1 3 1 3 2 1 2 1 1 1 1 1 1 3 1 3 2 1 3 1 3 1 3 2 3 2 1 3 1"},
        Golden{"shFallback",
               "sh",
               {.source_port = false, .fallback = true},
               {0, 1, 2},
               false,
               0,
               "2 2 3 2 3 2 3 2 3 2 2 3 2 3 2 3 2 3 2 2 3 2 3 2 3 2 3 2 2 3 2 3 2 3 2 3 2 3 3 2"},
        Golden{"shPort",
               "sh",
               {.source_port = true, .fallback = false},
               {3, 1, 2},
               true,
               21200,
               "3 1 3 1 1 2 1 2 1 3 1 1 3 1 3 1 3 2 3 3 1 3 1 3 2 1 2 1 3 1 1 1 1 3 1 3 1 1 3 1"},
        Golden{"mh312",
               "mh",
               {},
               {3, 1, 2},
               false,
               0,
               "3 1 2 1 1 3 1 1 1 1 1 2 1 1 1 1 3 1 2 1 2 1 1 1 2 1 1 1 3 3 1 3 3 3 3 1 2 2 3 3"},
        Golden{"mhPort",
               "mh",
               {.source_port = true, .fallback = false},
               {3, 1, 2},
               true,
               21400,
               "1 1 3 1 1 3 3 3 3 1 1 2 2 1 1 2 2 2 3 1 1 3 3 2 1 1 3 1 3 3 2 1 1 3 3 1 1 3 3 1"},
        Golden{"mhFallback",
               "mh",
               {.source_port = false, .fallback = true},
               {0, 1, 2},
               false,
               0,
               "3 3 2 3 3 3 3 3 2 3 3 2 3 2 3 2 3 3 2 3 2 3 3 3 2 3 3 2 3 3 3 3 3 3 3 2 2 2 3 3"}),
    [](const auto& info) { return info.param.name; });

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
}

}  // namespace
}  // namespace kube_lvs::ipvs
