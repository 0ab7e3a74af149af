// Directors of IPVS: what its kernel needs beside services.
#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <variant>

#include "node-agent/desired/desired_fixture.h"

namespace kube_lvs {
namespace {

class IpvsDirectorTest : public DesiredTest {
 protected:
  IpvsDirectorTest() { group_.spec.dataplane = api::DataplaneChoice::kIpvs; }
};

TEST_F(IpvsDirectorTest, NatByIpvsNeedsForwardingAndSourceNatItsOwnItems) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.200")});
  EXPECT_EQ(Text(desired),
            "IPVS 192.0.2.200:80/tcp wrr\n"
            "  10.0.0.11:80 NAT weight 1\n"
            "sysctl net/ipv4/conf/all/send_redirects=0\n"
            "sysctl net/ipv4/conf/eth1/send_redirects=0\n"
            "sysctl net/ipv4/ip_forward=1\n"
            "sysctl net/ipv4/vs/expire_nodest_conn=1\n"
            "answered vip IPVS 192.0.2.200 on eth0\n");
  services_[0].spec.source_nat = api::SourceNatChoice::kEnabled;
  desired = Compute(Node("d1", 1));
  EXPECT_EQ(Text(desired),
            "IPVS 192.0.2.200:80/tcp wrr source-nat\n"
            "  10.0.0.11:80 NAT weight 1\n"
            "sysctl net/ipv4/ip_forward=1\n"
            "sysctl net/ipv4/vs/conntrack=1\n"
            "sysctl net/ipv4/vs/expire_nodest_conn=1\n"
            "masquerade 192.0.2.200:80/tcp\n");
}

TEST_F(IpvsDirectorTest, IpvsForgetsConnectionsOfRealServersThatAreGoneOrQuiesced) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  const Sysctl gone{"net/ipv4/vs/expire_nodest_conn", "1"};
  EXPECT_EQ(Compute(Node("d1", 1)).state.items, (std::set<NodeItem>{gone}));
  services_[0].spec.persistence.emplace();
  EXPECT_EQ(Compute(Node("d1", 1)).state.items,
            (std::set<NodeItem>{gone, Sysctl{"net/ipv4/vs/expire_quiescent_template", "1"}}));
}

TEST_F(IpvsDirectorTest, ARangeAndAllPortsAreServicesOfTheirOwnOnIpvs) {
  services_ = {Service("media", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("box", "192.0.2.201", ForwardingMethod::kNat, {"10.0.0.12"})};
  for (api::LvsService& service : services_) {
    service.spec.source_nat = api::SourceNatChoice::kEnabled;
  }
  services_[0].spec.ports.push_back(services_[0].spec.ports[0]);
  services_[0].spec.ports[1].name = "media";
  services_[0].spec.ports[1].port = 10000;
  services_[0].spec.ports[1].end_port = uint16_t{10100};
  services_[1].spec.ports.clear();
  services_[1].spec.all_ports = true;
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.201")});
  EXPECT_TRUE(desired.problems.empty());
  EXPECT_EQ(Text(desired),
            "IPVS 192.0.2.200:80/tcp wrr source-nat\n"
            "  10.0.0.11:80 NAT weight 1\n"
            "IPVS 192.0.2.200:10000-10100/tcp wrr source-nat\n"
            "  10.0.0.11:0 NAT weight 1\n"
            "IPVS 192.0.2.201:all wrr source-nat\n"
            "  10.0.0.12:0 NAT weight 1\n"
            "sysctl net/ipv4/ip_forward=1\n"
            "sysctl net/ipv4/vs/conntrack=1\n"
            "sysctl net/ipv4/vs/expire_nodest_conn=1\n"
            "masquerade 192.0.2.200:80/tcp\n"
            "masquerade 192.0.2.200:10000-10100/tcp\n"
            "masquerade 192.0.2.201:0/all\n"
            "answered vip IPVS 192.0.2.201 on eth0\n");
}

TEST_F(IpvsDirectorTest, ADirectorOfIpvsRedirectsNoRealServerByAnyLeg) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  services_[0].spec.source_nat = api::SourceNatChoice::kDisabled;
  const Desired desired = Compute(Multipath("d1", 1));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth1/send_redirects", "0"}));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth3/send_redirects", "0"}));
}

TEST_F(IpvsDirectorTest, ClientsOnADirectorOfIpvsNeedNothingOfOurs) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  for (const NodeItem& item : Compute(Node("d1", 1)).state.items) {
    EXPECT_FALSE(std::holds_alternative<LocalLink>(item) || std::holds_alternative<LocalVip>(item))
        << ToString(item);
  }
}

TEST_F(IpvsDirectorTest, ConnectionsOfIpvsAreCopiedBetweenDirectorsThatShallDoSo) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  const auto daemons = [](const Desired& desired) {
    return std::ranges::count_if(desired.state.items, [](const NodeItem& item) {
      return std::holds_alternative<SyncDaemon>(item);
    });
  };
  EXPECT_EQ(daemons(Compute(Node("d1", 1))), 0);
  group_.spec.connection_sync = true;
  EXPECT_EQ(daemons(Compute(Node("d1", 1))), 2);
  EXPECT_EQ(daemons(Compute(Node("r1", 11))), 0);
  group_.status.members[1].address = "203.0.113.2";
  const Desired behind_a_router = Compute(Node("d1", 1));
  EXPECT_EQ(daemons(behind_a_router), 0);
  EXPECT_TRUE(behind_a_router.node_problems.contains("ConnectionSync"));
  group_.spec.dataplane = api::DataplaneChoice::kEbpf;
  EXPECT_TRUE(Compute(Node("d1", 1)).node_problems.empty());
}

}  // namespace
}  // namespace kube_lvs
