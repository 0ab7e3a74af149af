// Services that are refused, and whose rules are held while they are.
#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "node-agent/desired/desired_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(DesiredTest, AnInvalidServiceIsHeldAndTheOthersGoOn) {
  services_ = {Service("bad", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("good", "192.0.2.201", ForwardingMethod::kNat, {"10.0.0.11"})};
  services_[0].spec.scheduler = "nonsense";
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.200")});
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "bad");
  EXPECT_EQ(desired.problems[0].reason, api::kInvalidSpec);
  EXPECT_EQ(desired.state.services.size(), 1u);
  EXPECT_EQ(desired.hold.vips, std::set<IpAddress>{Ip("192.0.2.200")});
  EXPECT_EQ(desired.hold.answered, std::set<IpAddress>{Ip("192.0.2.200")});
  EXPECT_FALSE(desired.hold.all);
}

TEST_F(DesiredTest, AVipOutsideItsPoolIsNotProgrammedAndNotRemoved) {
  services_ = {Service("web", "198.51.100.1", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(desired.state.services.empty());
  EXPECT_EQ(desired.hold.vips, std::set<IpAddress>{Ip("198.51.100.1")});
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].reason, kNotPermitted);
}

TEST_F(DesiredTest, ARealServerOutsideTheAllowedRangesIsLeftOut) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11", "10.9.9.9"})};
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.state.services.size(), 1u);
  EXPECT_EQ(desired.state.services.begin()->second.reals.size(), 1u);
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].reason, api::kBackendNotPermitted);
}

TEST_F(DesiredTest, OfTwoServicesWithOneAddressAndPortTheOlderHasIt) {
  services_ = {Service("a", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("b", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.12"})};
  services_[0].meta.creation_timestamp = "2026-02-01T00:00:00Z";
  services_[1].meta.creation_timestamp = "2026-01-01T00:00:00Z";
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.origins.size(), 1u);
  EXPECT_EQ(desired.origins.begin()->second.name, "b");
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "a");
  EXPECT_EQ(desired.problems[0].reason, kAddressConflict);
}

// In a cluster the operator sees to it; files have nobody before the agent.
TEST_F(DesiredTest, TheOlderOfTwoServicesWhosePortsOverlapHasThem) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  const auto service = [](const std::string& name, uint16_t first, uint16_t last) {
    api::LvsService out = Service(name, "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"});
    out.spec.ports[0].port = first;
    if (last != first) out.spec.ports[0].end_port = last;
    return out;
  };
  services_ = {service("a", 100, 200), service("b", 200, 200), service("c", 99, 99),
               service("d", 50, 100),  service("e", 201, 300), service("f", 40, 99)};
  services_.push_back(service("g", 1, 1));
  services_.back().spec.ports.clear();
  services_.back().spec.all_ports = true;
  for (const auto& [name, first] : {std::pair("h", 99), std::pair("i", 90)}) {
    services_.push_back(service(name, static_cast<uint16_t>(first), 99));
    services_.back().spec.ports[0].protocol = Protocol::kUdp;
  }
  const Desired desired = Compute(Node("d1", 1));
  std::string refused;
  for (const ServiceProblem& problem : desired.problems) {
    EXPECT_EQ(problem.reason, kAddressConflict);
    refused += problem.name + ": " + problem.message.substr(0, problem.message.find(';')) + "\n";
  }
  EXPECT_EQ(refused,
            "b: IPVS 192.0.2.200:100-200/tcp belongs to LVSService shop/a\n"
            "d: IPVS 192.0.2.200:99/tcp belongs to LVSService shop/c\n"
            "f: IPVS 192.0.2.200:99/tcp belongs to LVSService shop/c\n"
            "g: IPVS 192.0.2.200:99/tcp belongs to LVSService shop/c\n"
            "i: IPVS 192.0.2.200:99/udp belongs to LVSService shop/h\n");
}

TEST_F(DesiredTest, InKubernetesAGrantedVipIsNoRealServer) {
  group_.spec.static_allowed_ranges = {"192.0.2.0/24"};
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"192.0.2.11"}),
               Service("greedy", "192.0.2.201", ForwardingMethod::kNat, {"192.0.2.200"})};
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "greedy");
  EXPECT_EQ(desired.problems[0].reason, api::kBackendNotPermitted);
}

TEST_F(DesiredTest, WithoutGroupsOrPoolsOrACompleteListNothingIsRemoved) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  EXPECT_FALSE(Compute(Node("d1", 1)).hold.all);
  with_group_ = false;
  EXPECT_TRUE(Compute(Node("d1", 1)).hold.all);
  with_group_ = true;
  with_pool_ = false;
  EXPECT_TRUE(Compute(Node("d1", 1)).hold.all);
  with_pool_ = true;
  complete_ = false;
  EXPECT_TRUE(Compute(Node("d1", 1)).hold.all);
  complete_ = true;
  services_.clear();
  with_group_ = with_pool_ = false;
  EXPECT_FALSE(Compute(Node("d1", 1)).hold.all);
}

}  // namespace
}  // namespace kube_lvs
