// Which real server each scheduler takes, connection by connection.
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/status.h"
#include "dataplane/ipvs/traffic_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::HasSubstr;
using vm::ClientAddress;
using vm::Servers;

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
        Golden{"fo312", "fo", {}, {3, 1, 2}, false, 0, "1 1 1 1"},
        Golden{"ovf312", "ovf", {}, {3, 1, 2}, false, 0, "1 1 1 1"},
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

// The same with TCP connections that stay open, which alone count as active. 0: refused.
struct Held {
  std::string name;
  std::string scheduler;
  uint32_t upper = 0, lower = 0;
  std::string chosen;
};

class HeldTest : public TrafficTest, public ::testing::WithParamInterface<Held> {};

TEST_P(HeldTest, ChoosesWhatTheKernelAlwaysChose) {
  const Held& held = GetParam();
  const ServiceKey key = NewKey(Protocol::kTcp, Family::kIpv4);
  Servers servers(SOCK_STREAM, Family::kIpv4, 80, false);
  VirtualService service =
      ThreeServers(held.scheduler, ForwardingMethod::kNat, Family::kIpv4, 80, {3, 1, 2});
  for (RealServer& real : service.reals) {
    real.upper_threshold = held.upper;
    real.lower_threshold = held.lower;
  }
  std::ranges::reverse(service.reals);
  State desired;
  desired.services[key] = service;
  Reach(desired);
  std::istringstream chosen(held.chosen);
  std::vector<Servers::Connection> connections;
  int wanted = 0;
  for (int i = 0; chosen >> wanted; ++i) {
    connections.push_back(
        servers.Connect({ClientAddress(i, Family::kIpv4), ClientPort(key)}, VipOf(key)));
    EXPECT_EQ(connections.back().answer.server, wanted) << "connection " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Schedulers, HeldTest,
                         ::testing::Values(Held{"lc", "lc", 0, 0, "3 2 1 3 2 1 3 2 1"},
                                           Held{"wlc", "wlc", 0, 0, "3 2 1 1 3 1 3 2 1 1 3 1"},
                                           Held{"sed", "sed", 0, 0, "1 3 1 3 2 1 1 3 1 3 2 1"},
                                           Held{"nq", "nq", 0, 0,
                                                "3 2 1 1 3 1 1 3 1 3 2 1 1 3 1 3 2 1"},
                                           Held{"ovf", "ovf", 0, 0, "1 1 1 1 3 3 3 2"},
                                           Held{"fo", "fo", 0, 0, "1 1 1 1"},
                                           Held{"Thresholds", "wlc", 2, 1, "3 2 1 1 3 2 0"}),
                         [](const auto& info) { return info.param.name; });

// Schedulers by the destination: a service of a mark, which a whole network of VIPs gets.
class DestinationTest : public TrafficTest {
 protected:
  static void SetUpTestSuite() {
    TrafficTest::SetUpTestSuite();
    vm::Run(
        "ip -n cl route replace 10.9.1.0/24 via 10.1.0.254\n"
        "ip -n ds route replace local 10.9.1.0/24 dev lo\n"
        "nsenter --net=/run/netns/ds nft 'table ip marks { chain in { type filter hook prerouting "
        "priority -150; }; }'");
  }
  static void TearDownTestSuite() {
    vm::Run("nsenter --net=/run/netns/ds nft delete table ip marks");
  }

  // Each time with another mark: a real server that comes back to its service soon still has the
  // connections that it had.
  void Program(const std::string& scheduler, const std::vector<uint32_t>& weights) {
    static uint32_t mark = 9;
    ++mark;
    vm::Run(
        "nsenter --net=/run/netns/ds nft 'flush chain ip marks in; add rule ip marks in "
        "ip daddr 10.9.1.0/24 meta mark set " +
        std::to_string(mark) + "'");
    VirtualService service =
        ThreeServers(scheduler, ForwardingMethod::kNat, Family::kIpv4, 80, weights);
    std::ranges::reverse(service.reals);
    State desired;
    desired.services[{.dataplane = Dataplane::kIpvs,
                      .match = FwMark{mark, Family::kIpv4},
                      .protocol = Protocol::kTcp}] = service;
    Reach(desired);
  }
  // Of a new connection to the VIP of that number.
  int Choose(int vip) {
    static uint16_t port = 50000;
    IpAddress to = IpAddress::FromV4(0x0a090101u + static_cast<uint32_t>(vip));
    return servers_.Ask({ClientAddress(0, Family::kIpv4), ++port}, {to, 80}).server;
  }

  Servers servers_{SOCK_DGRAM, Family::kIpv4, 80, false};
};

TEST_F(DestinationTest, DhIsATableThatKnowsNoWeights) {
  Program("dh", {1, 9, 4});
  std::istringstream golden(
      "3 2 3 1 1 2 3 2 3 3 1 2 1 3 2 3 1 3 2 3 2 3 2 1 2 1 2 1 3 1 3 1 3 2 3 2 3 2 1 2");
  int wanted = 0;
  for (int i = 0; golden >> wanted; ++i) EXPECT_EQ(Choose(i), wanted) << i;
}

TEST_F(DestinationTest, LblcAndLblcrSendADestinationWhereItWentBefore) {
  for (const std::string scheduler : {"lblc", "lblcr"}) {
    SCOPED_TRACE(scheduler);
    Program(scheduler, {1, 1, 1});
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 12; ++i) EXPECT_EQ(Choose(i), 3 - i % 3) << i;
    }
    Reach({});
  }
}

// Power of two choices: by chance, but never one without weight.
TEST_F(TrafficTest, TwosIsThereOrNamedAsMissing) {
  const ServiceKey key = NewKey(Protocol::kUdp, Family::kIpv4);
  Servers servers(SOCK_DGRAM, Family::kIpv4, 80, false);
  State desired;
  desired.services[key] =
      ThreeServers("twos", ForwardingMethod::kNat, Family::kIpv4, 80, {0, 1, 2});
  {
    const vm::InNamespace in("ds");
    const Plan plan = Diff(desired, *backend_->Read());
    const absl::Status status = backend_->Apply(plan.steps).front();
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(Message(status), HasSubstr("no scheduler twos: load or install the module "
                                             "ip_vs_twos"));
      return;
    }
  }
  std::map<int, int> count;
  for (int i = 0; i < 40; ++i) {
    ++count[servers.Ask({ClientAddress(i, Family::kIpv4), ClientPort(key)}, VipOf(key)).server];
  }
  EXPECT_EQ(count[0] + count[1], 0);
  EXPECT_GT(count[2], 0);
  EXPECT_GT(count[3], 0);
}

}  // namespace
}  // namespace kube_lvs::ipvs
