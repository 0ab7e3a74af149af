// Networks of VIPs.
#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "node-agent/desired/desired_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(DesiredTest, ACidrIsOneServiceAPortAndAnsweredForAsOneVip) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kNat),
               CidrService("box", "192.0.2.224/28", ForwardingMethod::kNat)};
  for (api::LvsService& service : services_) {
    service.spec.source_nat = api::SourceNatChoice::kEnabled;
  }
  services_[0].spec.ports[0].target_port = api::PortRef{8080, ""};
  services_[0].spec.ports.push_back(services_[0].spec.ports[0]);
  services_[0].spec.ports[1].name = "more";
  services_[0].spec.ports[1].port = 90;
  services_[0].spec.ports[1].end_port = uint16_t{99};
  services_[0].spec.ports[1].target_port.reset();
  services_[1].spec.ports.clear();
  services_[1].spec.all_ports = true;
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.192")});
  ExpectNoProblems(desired);
  EXPECT_EQ(role_.vips, (std::set<IpAddress>{Ip("192.0.2.192"), Ip("192.0.2.224")}));
  EXPECT_EQ(Text(desired),
            "IPVS 192.0.2.192/27:80/tcp wrr source-nat\n"
            "  10.0.0.11:8080 NAT weight 1\n"
            "IPVS 192.0.2.192/27:90-99/tcp wrr source-nat\n"
            "  10.0.0.11:0 NAT weight 1\n"
            "IPVS 192.0.2.224/28:all wrr source-nat\n"
            "  10.0.0.11:0 NAT weight 1\n"
            "sysctl net/ipv4/ip_forward=1\n"
            "sysctl net/ipv4/vs/conntrack=1\n"
            "sysctl net/ipv4/vs/expire_nodest_conn=1\n"
            "masquerade 192.0.2.192/27:80/tcp\n"
            "masquerade 192.0.2.192/27:90-99/tcp\n"
            "masquerade 192.0.2.224/28:0/all\n"
            "answered vip IPVS 192.0.2.192/27 on eth0\n");
}

TEST_F(DesiredTest, ARealServerTakesEveryAddressOfACidr) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kDirectRouting)};
  const Desired desired = Compute(Node("r1", 11));
  EXPECT_EQ(Text(desired),
            "sysctl net/ipv4/conf/all/arp_announce=2\n"
            "sysctl net/ipv4/conf/all/arp_ignore=1\n"
            "sysctl net/ipv4/conf/eth1/arp_announce=2\n"
            "sysctl net/ipv4/conf/eth1/arp_ignore=1\n"
            "sysctl net/ipv4/conf/eth1/rp_filter=2\n"
            "silent vip 192.0.2.192/27\n");
  EXPECT_TRUE(desired.setups.contains({Ip("192.0.2.192"), ForwardingMethod::kDirectRouting}));
}

TEST_F(DesiredTest, ATunnelRealServerUnpacksForEveryAddressOfACidr) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kTunnel)};
  const Desired desired = Compute(Node("r1", 11));
  EXPECT_TRUE(desired.problems.empty());
  EXPECT_TRUE(Has(desired, TunnelPeer{Ip("192.0.2.1"), Ip("192.0.2.192"), 27}));
  EXPECT_TRUE(Has(desired, MssClamp{Ip("192.0.2.192"), 1440, 27}));
  EXPECT_TRUE(Has(desired, SilentVip{Ip("192.0.2.192"), 27}));
  EXPECT_EQ(Compute(Node("d1", 1)).state.services.size(), 1u);
}

TEST_F(DesiredTest, ADirectorThatMustBeSilentAnswersForNoCidrAndLeavesItToItsFellows) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kNat),
               Service("web", "192.0.2.240", ForwardingMethod::kDirectRouting, {"10.0.0.1"})};
  group_.status.members = {{"d1", "192.0.2.9"}, {"d2", "192.0.2.2"}};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_EQ(desired.unable, std::set<IpAddress>{Ip("192.0.2.192")});
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].reason, kPrerequisiteMissing);
  EXPECT_EQ(desired.problems[0].name, "net");
}

TEST_F(DesiredTest, WhatOverlapsACidrIsNoVipAndNoRealServer) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  group_.spec.static_allowed_ranges = {"0.0.0.0/0"};
  services_ = {CidrService("a", "192.0.2.192/27", ForwardingMethod::kNat),
               CidrService("b", "192.0.2.192/28", ForwardingMethod::kNat),
               Service("c", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               CidrService("d", "192.0.2.192/27", ForwardingMethod::kNat),
               Service("e", "192.0.2.230", ForwardingMethod::kNat, {"192.0.2.194", "10.0.0.12"}),
               CidrService("f", "192.0.2.228/30", ForwardingMethod::kNat)};
  services_[1].spec.ports[0].port = 81;
  services_[2].spec.ports[0].port = 82;
  services_[3].spec.ports[0].port = 83;
  pool_.status.cidrs = {"192.0.2.0/24"};
  const Desired desired = Compute(Node("d1", 1));
  std::string said;
  for (const ServiceProblem& problem : desired.problems) {
    said += problem.name + " " + problem.reason + " " + problem.message + "\n";
  }
  EXPECT_EQ(said,
            "b AddressConflict 192.0.2.192/28 overlaps 192.0.2.192/27 of LVSService shop/a; take "
            "another VIP\n"
            "c AddressConflict 192.0.2.200 overlaps 192.0.2.192/27 of LVSService shop/a; take "
            "another VIP\n"
            "e BackendNotPermitted a VIP cannot be a real server (backend servers: 192.0.2.194)\n"
            "f AddressConflict 192.0.2.228/30 overlaps 192.0.2.230 of LVSService shop/e; take "
            "another VIP\n");
  EXPECT_EQ(desired.state.services.size(), 3u);
  EXPECT_TRUE(desired.hold.vips.contains(Ip("192.0.2.228")));
}

TEST_F(DesiredTest, ACidrWithAnAddressThatSomebodyHasIsRefused) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  pool_.status.cidrs = {"192.0.2.0/24"};
  const auto refusal = [&](const std::string& cidr) {
    services_ = {CidrService("net", cidr, ForwardingMethod::kNat)};
    const Desired desired = Compute(Node("d1", 17));
    EXPECT_TRUE(desired.state.services.empty()) << cidr;
    return desired.problems.empty() ? "" : desired.problems[0].message;
  };
  EXPECT_EQ(refusal("192.0.2.252/30"),
            "192.0.2.252/30 has 192.0.2.254, which is a gateway of this node; take another VIP");
  EXPECT_EQ(refusal("192.0.2.0/29"),
            "192.0.2.0/29 has 192.0.2.1, which is the address of director d1; take another VIP");
  EXPECT_EQ(refusal("192.0.2.16/28"),
            "192.0.2.17 of 192.0.2.16/28 is an address of this node's interface eth0; take another "
            "VIP, or remove the address");
  EXPECT_EQ(refusal("198.51.100.0/24"),
            "198.51.100.0/24 lies in no range that LVSAddressPool edge grants; what is programmed "
            "for it stays, nothing new is");
  // The pool has a part of it.
  pool_.status.cidrs = {"192.0.2.192/26"};
  EXPECT_NE(refusal("192.0.2.128/25"), "");
  // As the API may have assigned it, before the specification changed.
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kTunnel)};
  services_[0].spec.addresses.clear();
  services_[0].spec.scheduler = "lblc";
  group_.spec.dataplane = api::DataplaneChoice::kEbpf;
  Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].reason, api::kUnsupportedByDataplane);
  EXPECT_TRUE(desired.state.services.empty());
}

TEST_F(DesiredTest, OfACidrOfIpv6TheFirstAddressIsAnsweredForAndTheRestRouted) {
  kubernetes_ = false;
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  group_.spec.static_allowed_ranges = {"2001:db8::/64"};
  services_ = {CidrService("net", "2001:db8::5:0/112", ForwardingMethod::kDirectRouting)};
  services_[0].spec.backends[0].static_reals[0].address = "2001:db8::1";
  const IpAddress first = Ip("2001:db8::5:0");
  NodeFacts facts = Node("d1", 1);
  facts.interfaces["eth0"].addresses.push_back({Ip("2001:db8::1"), 64});
  // A director that is its own real server, too: only IPv4's would be silent.
  const Desired desired = Compute(facts, {first});
  ExpectNoProblems(desired);
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kIpvs, first, "eth0", 112}));
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kIpvs, first, "eth0"}));
  EXPECT_TRUE(Has(desired, SilentVip{first, 112}));
  EXPECT_FALSE(Has(desired, SilentVip{first}));
}

TEST_F(DesiredTest, ByEbpfACidrIsAnsweredAsOneAndWhateverElseTheDirectorIs) {
  group_.spec.dataplane = api::DataplaneChoice::kEbpf;
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kNat),
               Service("web", "192.0.2.240", ForwardingMethod::kDirectRouting, {"10.0.0.1"})};
  group_.status.members = {{"d1", "192.0.2.9"}, {"d2", "192.0.2.2"}};
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.192")});
  ExpectNoProblems(desired);
  EXPECT_TRUE(desired.unable.empty());
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.192"), "eth0", 27}));
  const ServiceKey key{Dataplane::kEbpf, Prefix{*Cidr::Parse("192.0.2.192/27"), 80, 80},
                       Protocol::kTcp};
  EXPECT_TRUE(desired.state.services.contains(key));

  kubernetes_ = false;
  group_.spec.static_allowed_ranges = {"2001:db8::/64"};
  services_ = {CidrService("net", "2001:db8::5:0/112", ForwardingMethod::kDirectRouting)};
  services_[0].spec.backends[0].static_reals[0].address = "2001:db8::1";
  const IpAddress first = Ip("2001:db8::5:0");
  NodeFacts facts = Node("d1", 1);
  facts.interfaces["eth0"].addresses.push_back({Ip("2001:db8::9"), 64});
  const Desired six = Compute(facts, {first});
  ExpectNoProblems(six);
  EXPECT_TRUE(Has(six, AnsweredVip{Dataplane::kEbpf, first, "eth0", 112}));
  // By itself it would be a VIP without services.
  EXPECT_FALSE(Has(six, AnsweredVip{Dataplane::kEbpf, first, "eth0"}));
}

}  // namespace
}  // namespace kube_lvs
