#include "node-agent/desired/shared_ipvs.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const Sysctl kForward{"net/ipv4/ip_forward", "1"};
const Sysctl kNodest{kExpireNodestConn, "1"};
const Sysctl kQuiescent{kExpireQuiescentTemplate, "1"};

TEST(SharedIpvs, WhatIsOursAloneIsSet) {
  State desired{.services = {}, .items = {kForward, kNodest, kQuiescent}};
  EXPECT_EQ(LeaveSharedAlone({}, desired), "");
  EXPECT_EQ(desired.items, (std::set<NodeItem>{kForward, kNodest, kQuiescent}));
}

TEST(SharedIpvs, BesideOthersItIsLeftAloneAndToldWithTheMend) {
  State desired{.services = {}, .items = {kForward, kNodest, kQuiescent}};
  const std::string problem = LeaveSharedAlone({.other_services = 3, .on = {}}, desired);
  EXPECT_EQ(desired.items, (std::set<NodeItem>{kForward}));
  EXPECT_THAT(problem, HasSubstr("3 of other owners"));
  EXPECT_THAT(problem, EndsWith("; if that is right for the others, set it yourself: sysctl -w "
                                "net.ipv4.vs.expire_nodest_conn=1 "
                                "net.ipv4.vs.expire_quiescent_template=1"));
}

TEST(SharedIpvs, WhatOthersSetAlreadyIsNoProblem) {
  State desired{.services = {}, .items = {kNodest}};
  EXPECT_EQ(LeaveSharedAlone({.other_services = 3, .on = {kExpireNodestConn}}, desired), "");
  EXPECT_TRUE(desired.items.empty());
  desired.items = {kNodest, kQuiescent};
  const std::string problem =
      LeaveSharedAlone({.other_services = 1, .on = {kExpireNodestConn}}, desired);
  EXPECT_THAT(problem, HasSubstr("net.ipv4.vs.expire_quiescent_template"));
  EXPECT_THAT(problem, Not(HasSubstr("expire_nodest_conn")));
}

TEST(SharedIpvs, TimeoutsOfIpvsAreLeftToOthersToo) {
  const ConnectionTimeout ours{Dataplane::kEbpf, ConnectionKind::kUdp, 30};
  const ConnectionTimeout shared{Dataplane::kIpvs, ConnectionKind::kUdp, 30};
  State desired{.services = {}, .items = {ours, shared}};
  EXPECT_EQ(LeaveSharedAlone({}, desired), "");
  EXPECT_EQ(desired.items.size(), 2u);
  desired.items.insert(kNodest);
  const std::string problem = LeaveSharedAlone({.other_services = 3, .on = {}}, desired);
  EXPECT_EQ(desired.items, (std::set<NodeItem>{ours}));
  EXPECT_THAT(problem, HasSubstr("expire_nodest_conn"));
  EXPECT_THAT(problem, HasSubstr("spec.timeouts of the LVSDirectorGroup (udp 30 s) would hold for "
                                 "all services, but IPVS has 3 of other owners"));
  EXPECT_THAT(problem, EndsWith("set it yourself: ipvsadm --set"));
}

TEST(SharedIpvs, WhoNeedsNoneHasNoProblem) {
  State desired{.services = {}, .items = {kForward}};
  EXPECT_EQ(LeaveSharedAlone({.other_services = 3, .on = {}}, desired), "");
}

}  // namespace
}  // namespace kube_lvs
