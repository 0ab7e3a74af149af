// Objects from files: no operator has looked at them before the agent does.
#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "node-agent/desired/desired_fixture.h"

namespace kube_lvs {
namespace {

class FromFilesTest : public DesiredTest {
 protected:
  FromFilesTest() { kubernetes_ = false; }
};

TEST_F(FromFilesTest, TheNodeDirectsAloneUnlessMembersAreNamed) {
  with_group_ = with_pool_ = false;
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  Desired desired = Compute(Node("x", 9));
  EXPECT_EQ(desired.state.services.size(), 1u);
  EXPECT_EQ(role_.peers.members.size(), 1u);
  with_group_ = true;
  desired = Compute(Node("x", 9));
  EXPECT_TRUE(desired.state.services.empty());
}

TEST_F(FromFilesTest, ACidrIsTakenAsWritten) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {CidrService("net", "198.51.100.0/24", ForwardingMethod::kNat)};
  services_[0].status.addresses.clear();
  const Desired desired = Compute(Node("d1", 1), {Ip("198.51.100.0")});
  EXPECT_TRUE(desired.problems.empty());
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kIpvs, Ip("198.51.100.0"), "eth0", 24}));
}

TEST_F(FromFilesTest, APoolAddressIsRefused) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  services_[0].spec.addresses[0] = {};
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_NE(desired.problems[0].message.find("type: IP"), std::string::npos);
}

TEST_F(FromFilesTest, TheNodesOwnAddressIsNoVip) {
  services_ = {Service("web", "192.0.2.1", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(desired.state.services.empty());
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_NE(desired.problems[0].message.find("eth0"), std::string::npos);
}

TEST_F(FromFilesTest, AnAddressOfAFellowOrAGatewayIsNoVip) {
  for (const std::string vip : {"192.0.2.2", "192.0.2.254"}) {
    services_ = {Service("web", vip, ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
    const Desired desired = Compute(Node("d1", 1), {Ip(vip)});
    EXPECT_TRUE(desired.state.services.empty()) << vip;
    EXPECT_TRUE(desired.state.items.empty()) << vip;
    ASSERT_EQ(desired.problems.size(), 1u) << vip;
    EXPECT_EQ(desired.problems[0].reason, kAddressConflict) << vip;
    EXPECT_NE(desired.problems[0].message.find(vip), std::string::npos) << vip;
  }
}

TEST_F(FromFilesTest, WhoAsksForTheAddressOfAGatewayTakesNoRealServerFromOthers) {
  NodeFacts facts = Node("d1", 1);
  facts.routes.push_back({*Cidr::Parse("10.1.0.0/24"), 0, "eth1", Ip("10.0.0.11")});
  services_ = {Service("greedy", "10.0.0.11", ForwardingMethod::kNat, {"10.0.0.12"}),
               Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(facts);
  ASSERT_EQ(desired.state.services.size(), 1u);
  EXPECT_EQ(desired.state.services.begin()->second.reals.size(), 1u);
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "greedy");
}

TEST_F(FromFilesTest, AVipThatIsARealServerIsTheFaultOfItsOwnServiceOnly) {
  services_ = {Service("greedy", "10.0.0.11", ForwardingMethod::kNat, {"10.0.0.12"}),
               Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("dns", "192.0.2.201", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1), {Ip("10.0.0.11")});
  ASSERT_EQ(desired.state.services.size(), 2u);
  for (const auto& [key, rules] : desired.state.services) {
    EXPECT_EQ(rules.reals.size(), 1u) << ToString(key);
  }
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "greedy");
  EXPECT_EQ(desired.problems[0].reason, kAddressConflict);
  EXPECT_EQ(desired.problems[0].message,
            "10.0.0.11 is a real server of LVSService shop/dns; take another VIP");
  EXPECT_EQ(desired.hold.vips, std::set<IpAddress>{Ip("10.0.0.11")});
}

TEST_F(FromFilesTest, WhoNamesItsOwnVipOrOneNotPermittedTakesNoVipFromOthers) {
  services_ = {Service("self", "10.0.0.11", ForwardingMethod::kNat, {"10.0.0.11", "10.0.0.12"}),
               Service("same", "10.0.0.11", ForwardingMethod::kNat, {"10.0.0.12"}),
               Service("far", "192.0.2.201", ForwardingMethod::kNat, {"192.0.2.200"}),
               Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.12"})};
  services_[1].spec.ports[0].port = 81;
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_EQ(desired.state.services.size(), 4u);
  ASSERT_EQ(desired.problems.size(), 2u);
  for (const ServiceProblem& problem : desired.problems) {
    EXPECT_EQ(problem.reason, api::kBackendNotPermitted);
    EXPECT_NE(problem.name, "same");
    EXPECT_NE(problem.name, "web");
  }
}

}  // namespace
}  // namespace kube_lvs
