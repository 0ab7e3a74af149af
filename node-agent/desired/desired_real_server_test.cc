// Real servers: their VIPs, tunnels and clamps.
#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "node-agent/desired/desired_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(DesiredTest, ADirectRoutingRealServerTakesTheVipSilently) {
  services_ = {
      Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11", "10.0.0.12"})};
  const Desired desired = Compute(Node("r1", 11));
  EXPECT_EQ(Text(desired),
            "sysctl net/ipv4/conf/all/arp_announce=2\n"
            "sysctl net/ipv4/conf/all/arp_ignore=1\n"
            "sysctl net/ipv4/conf/eth1/arp_announce=2\n"
            "sysctl net/ipv4/conf/eth1/arp_ignore=1\n"
            "sysctl net/ipv4/conf/eth1/rp_filter=2\n"
            "silent vip 192.0.2.200\n");
  EXPECT_EQ(role_.group, nullptr);
}

TEST_F(DesiredTest, ATunnelRealServerTakesPacketsFromDirectorsOnly) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"})};
  const Desired desired = Compute(Node("r1", 11));
  EXPECT_TRUE(Has(desired, TunnelPeer{Ip("192.0.2.1"), Ip("192.0.2.200")}));
  EXPECT_TRUE(Has(desired, TunnelPeer{Ip("192.0.2.2"), Ip("192.0.2.200")}));
  EXPECT_TRUE(Has(desired, MssClamp{Ip("192.0.2.200"), 1440}));
  EXPECT_TRUE(Has(desired, Attachment{"eth1"}));
  EXPECT_TRUE(Has(desired, SilentVip{Ip("192.0.2.200")}));
}

TEST_F(DesiredTest, ATunnelOfIpv6IsFromTheDirectorsIpv6Addresses) {
  services_ = {Service("web", "2001:db8:9::1", ForwardingMethod::kTunnel, {"2001:db8::11"})};
  services_[0].status.addresses[0].ip_family = Family::kIpv6;
  group_.spec.static_allowed_ranges = {"2001:db8::/64"};
  pool_.status.cidrs = {"2001:db8:9::/64"};
  NodeFacts facts = Node("r1", 11);
  facts.interfaces["eth1"].addresses.push_back({Ip("2001:db8::11"), 64});
  facts.routes.push_back({*Cidr::Parse("::/0"), 0, "eth1", Ip("2001:db8::fe")});
  const Desired without = Compute(facts);
  ASSERT_EQ(without.problems.size(), 1u);
  EXPECT_NE(without.problems[0].message.find("whose Node has an IPv6 InternalIP"),
            std::string::npos);

  nodes_["d1"].internal_addresses = {"192.0.2.1", "2001:db8::1"};
  group_.status.members[1].address = "2001:db8::2";
  const Desired desired = Compute(facts);
  EXPECT_TRUE(desired.problems.empty());
  EXPECT_TRUE(Has(desired, TunnelPeer{Ip("2001:db8::1"), Ip("2001:db8:9::1")}));
  EXPECT_TRUE(Has(desired, TunnelPeer{Ip("2001:db8::2"), Ip("2001:db8:9::1")}));
  EXPECT_FALSE(Has(desired, TunnelPeer{Ip("192.0.2.1"), Ip("2001:db8:9::1")}));
  EXPECT_TRUE(Has(desired, MssClamp{Ip("2001:db8:9::1"), 1400}));
  EXPECT_TRUE(Has(desired, SilentVip{Ip("2001:db8:9::1")}));
}

TEST_F(DesiredTest, ARealServerTakesGueAtItsAddressAndPort) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"})};
  services_[0].spec.tunnel_type = "GUE";
  services_[0].spec.tunnel_port = 6080;
  Desired desired = Compute(Node("r1", 11));
  for (const char* director : {"192.0.2.1", "192.0.2.2"}) {
    const TunnelPeer peer{Ip(director), Ip("192.0.2.200"), 0, {Ip("10.0.0.11"), 6080}};
    EXPECT_TRUE(Has(desired, peer));
    EXPECT_FALSE(Has(desired, TunnelPeer{Ip(director), Ip("192.0.2.200")}));
    const VipSetup setup{Ip("192.0.2.200"), ForwardingMethod::kTunnel};
    EXPECT_TRUE(desired.setups[setup].contains(peer));
  }
  EXPECT_TRUE(Has(desired, MssClamp{Ip("192.0.2.200"), 1428}));
  EXPECT_TRUE(Has(desired, Attachment{"eth1"}));
  EXPECT_TRUE(Has(desired, SilentVip{Ip("192.0.2.200")}));
}

TEST_F(DesiredTest, OfTwoTunnelsOfOneVipTheLesserClampCounts) {
  services_ = {Service("gue", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"}),
               Service("ipip", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"})};
  services_[0].spec.tunnel_type = "GUE";
  services_[0].spec.tunnel_port = 6080;
  services_[1].spec.ports[0].port = 81;
  const Desired desired = Compute(Node("r1", 11));
  EXPECT_TRUE(Has(desired, TunnelPeer{Ip("192.0.2.1"), Ip("192.0.2.200")}));
  EXPECT_TRUE(Has(desired,
                  TunnelPeer{Ip("192.0.2.1"), Ip("192.0.2.200"), 0, {Ip("10.0.0.11"), 6080}}));
  EXPECT_TRUE(Has(desired, MssClamp{Ip("192.0.2.200"), 1428}));
  EXPECT_FALSE(Has(desired, MssClamp{Ip("192.0.2.200"), 1440}));
}

TEST_F(DesiredTest, ARealServerOfAnotherTunnelDecapsulatesByItself) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"})};
  services_[0].spec.dataplane = api::DataplaneChoice::kIpvs;
  services_[0].spec.tunnel_type = "GRE";
  const Desired real = Compute(Node("r1", 11));
  EXPECT_TRUE(Has(real, SilentVip{Ip("192.0.2.200")}));
  EXPECT_FALSE(Has(real, TunnelPeer{Ip("192.0.2.1"), Ip("192.0.2.200")}));
  const Desired director = Compute(Node("d1", 1));
  ASSERT_EQ(director.state.services.size(), 1u);
  EXPECT_EQ(director.state.services.begin()->second.reals.front().tunnel.type, TunnelType::kGre);
}

TEST_F(DesiredTest, ARealServerWhoseAddressIsOnNoUplinkTakesTunnelsByAllLegs) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"})};
  NodeFacts facts = Multipath("r1", 11);
  facts.interfaces["eth1"].addresses.clear();
  facts.interfaces["lo"].addresses.push_back({Ip("10.0.0.11"), 32});
  facts.interfaces["eth2"].mtu = 1400;
  const Desired desired = Compute(facts);
  EXPECT_EQ(Attached(desired), (std::set<std::string>{"eth0", "eth2"}));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth0/arp_ignore", "1"}));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth2/arp_ignore", "1"}));
  EXPECT_TRUE(Has(desired, MssClamp{Ip("192.0.2.200"), 1340}));
  // A strict check passes what comes in by any leg of the way back.
  EXPECT_FALSE(Has(desired, Sysctl{"net/ipv4/conf/eth0/rp_filter", "2"}));
  EXPECT_FALSE(Has(desired, Sysctl{"net/ipv4/conf/eth2/rp_filter", "2"}));
}

TEST_F(DesiredTest, ANodeThatIsNeitherDirectorNorRealServerHoldsNothing) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"}),
               Service("nat", "192.0.2.201", ForwardingMethod::kNat, {"10.0.0.12"})};
  const Desired desired = Compute(Node("r2", 12));
  EXPECT_EQ(desired.state, State{});
  EXPECT_TRUE(desired.problems.empty());
}

}  // namespace
}  // namespace kube_lvs
