// Directors: the services that they hold, and by which interfaces.
#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "node-agent/desired/desired_fixture.h"

namespace kube_lvs {
namespace {

TEST_F(DesiredTest, AnEbpfDirectorHoldsTheServiceAndAttachesWhereClientsAndRealServersAre) {
  services_ = {
      Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.12", "10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  ExpectNoProblems(desired);
  EXPECT_EQ(Text(desired),
            "eBPF 192.0.2.200:80/tcp wrr\n"
            "  10.0.0.11:80 DirectRouting weight 1\n"
            "  10.0.0.12:80 DirectRouting weight 1\n"
            "sysctl net/ipv4/conf/eth0/rp_filter=2\n"
            "local link mtu 1500\n"
            "programs on eth0\n"
            "programs on eth1\n"
            "programs on kube-lvs1\n"
            "local vip 192.0.2.200 from 192.0.2.1\n");
  EXPECT_EQ(role_.peers.members.size(), 2u);
  EXPECT_EQ(role_.peers.epoch, 4);
  EXPECT_EQ(role_.vips, std::set<IpAddress>{Ip("192.0.2.200")});
}

TEST_F(DesiredTest, ADirectorIsAttachedToAllLegsTowardsClientsAndRealServers) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Multipath("d1", 1), {Ip("192.0.2.200")});
  EXPECT_EQ(Attached(desired),
            (std::set<std::string>{"eth0", "eth1", "eth2", "eth3", kLocalLinkFar}));
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth2"}));
}

TEST_F(DesiredTest, OnlyClaimedVipsAreAnswered) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("dns", "192.0.2.201", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.201"), Ip("192.0.2.77")});
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.201"), "eth0"}));
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.77"), "eth0"}));
}

TEST_F(DesiredTest, OfSeveralUplinksTheOneWithTheVipsSubnetAnswers) {
  services_ = {Service("in", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("out", "203.0.113.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  pool_.status.cidrs.push_back("203.0.113.0/24");
  group_.spec.interfaces = {"eth*"};
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.200"), Ip("203.0.113.200")});
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth1"}));
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("203.0.113.200"), "eth0"}));
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("203.0.113.200"), "eth1"}));
}

TEST_F(DesiredTest, LegsOfABondAreNoUplinks) {
  services_ = {Service("out", "203.0.113.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  pool_.status.cidrs.push_back("203.0.113.0/24");
  group_.spec.interfaces = {"eth*"};
  NodeFacts facts = Node("d1", 1);
  facts.interfaces["eth2"].name = "eth2";
  facts.interfaces["eth3"].name = "eth3";
  facts.interfaces["eth3"].master_kind = "bond";
  const Desired desired = Compute(facts, {Ip("203.0.113.200")});
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("203.0.113.200"), "eth2"}));
  EXPECT_TRUE(Has(desired, Attachment{"eth2"}));
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("203.0.113.200"), "eth3"}));
  EXPECT_FALSE(Has(desired, Attachment{"eth3"}));
}

TEST_F(DesiredTest, NoGroupWithoutLayer2Answers) {
  group_.spec.layer2 = false;
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.200")});
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  EXPECT_EQ(desired.state.services.size(), 1u);
}

TEST_F(DesiredTest, NamedUplinksThatAreNotThereAreAProblemOfThatGroupsServices) {
  group_.spec.interfaces = {"bond*"};
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(desired.state.services.empty());
  EXPECT_EQ(desired.unable, std::set<IpAddress>{Ip("192.0.2.200")});
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].reason, kPrerequisiteMissing);
}

TEST_F(DesiredTest, ManyPortsAreServicesOfEbpfToo) {
  services_ = {Service("media", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"}),
               Service("box", "192.0.2.201", ForwardingMethod::kDirectRouting, {"10.0.0.12"})};
  services_[0].spec.ports[0].end_port = uint16_t{89};
  services_[1].spec.ports.clear();
  services_[1].spec.all_ports = true;
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(desired.problems.empty());
  const std::string text = Text(desired);
  EXPECT_EQ(text.substr(0, text.find("sysctl")),
            "eBPF 192.0.2.200:80-89/tcp wrr\n"
            "  10.0.0.11:0 DirectRouting weight 1\n"
            "eBPF 192.0.2.201:all wrr\n"
            "  10.0.0.12:0 DirectRouting weight 1\n");
}

TEST_F(DesiredTest, ClientsOnADirectorHaveTheAddressOfTheVipsUplink) {
  services_ = {Service("in", "10.0.0.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("out", "203.0.113.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  pool_.status.cidrs = {"10.0.0.200/32", "203.0.113.0/24"};
  group_.spec.interfaces = {"eth*"};
  NodeFacts facts = Node("d1", 1);
  facts.interfaces["eth1"].mtu = 1400;
  const Desired desired = Compute(facts);
  EXPECT_TRUE(Has(desired, LocalVip{Ip("10.0.0.200"), Ip("10.0.0.1")}));
  EXPECT_TRUE(Has(desired, LocalVip{Ip("203.0.113.200"), Ip("192.0.2.1")}));
  EXPECT_TRUE(Has(desired, LocalLink{1400}));
  EXPECT_TRUE(Has(desired, Attachment{kLocalLinkFar}));
  // NAT's answers come to our programs first.
  EXPECT_FALSE(Has(desired, Sysctl{"net/ipv4/conf/eth0/rp_filter", "2"}));
}

TEST_F(DesiredTest, PacketsOfClientsOnADirectorFitTheTunnel) {
  services_ = {Service("in", "10.0.0.200", ForwardingMethod::kNat, {"10.0.0.11"}),
               Service("tunnel", "10.0.0.201", ForwardingMethod::kTunnel, {"10.0.0.11"})};
  pool_.status.cidrs = {"10.0.0.200/31"};
  NodeFacts facts = Node("d1", 1);
  const auto mtu = [&](uint32_t uplink) {
    for (auto& [name, interface] : facts.interfaces) interface.mtu = uplink;
    for (const NodeItem& item : Compute(facts).state.items) {
      if (const auto* link = std::get_if<LocalLink>(&item)) return link->mtu;
    }
    return uint32_t{0};
  };
  EXPECT_EQ(mtu(1500), 1480U);
  EXPECT_EQ(mtu(1290), 1280U);  // or it would have no IPv6
  EXPECT_EQ(mtu(1000), 1000U);
  services_[1].spec.tunnel_type = "GUE";
  services_[1].spec.tunnel_port = 6080;
  EXPECT_EQ(mtu(1500), 1468U);
}

TEST_F(DesiredTest, ClientsOnADirectorReachANetworkOfVips) {
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kTunnel)};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(Has(desired, LocalVip{Ip("192.0.2.192"), Ip("192.0.2.1"), 27}));
  EXPECT_TRUE(Has(desired, LocalLink{1480}));
  EXPECT_TRUE(Has(desired, Attachment{kLocalLinkFar}));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth0/rp_filter", "2"}));
}

TEST_F(DesiredTest, ThePortsOfSourceNatAreReservedWhereTheNodeWouldTakeThemAndOnlyThere) {
  const Sysctl reserved{"net/ipv4/ip_local_reserved_ports", "80,1024-32767"};
  NodeFacts facts = Node("d1", 1);
  facts.local_ports = {1024, 65535};
  facts.reserved_ports = "80";
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  services_[0].spec.source_nat = api::SourceNatChoice::kEnabled;
  EXPECT_TRUE(Has(Compute(facts), reserved));
  EXPECT_FALSE(Has(Compute(Node("d1", 1)), reserved));
  services_[0].spec.source_nat = api::SourceNatChoice::kDisabled;
  EXPECT_FALSE(Has(Compute(facts), reserved));
  services_[0].spec.source_nat = api::SourceNatChoice::kEnabled;
  facts.local_ports = {1024, 40000};
  const Desired desired = Compute(facts);
  EXPECT_EQ(desired.node_problems.count("LocalPorts"), 1u);
  EXPECT_FALSE(Has(desired, reserved));
  services_[0].spec.dataplane = api::DataplaneChoice::kIpvs;
  EXPECT_EQ(Compute(facts).node_problems.count("LocalPorts"), 0u);
}

TEST_F(DesiredTest, TimeoutsOfTheGroupHoldForTheDataplanesThatItsServicesUse) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  const auto timeouts = [this](const NodeFacts& node) {
    std::set<NodeItem> out = Compute(node).state.items;
    std::erase_if(
        out, [](const NodeItem& item) { return !std::holds_alternative<ConnectionTimeout>(item); });
    return out;
  };
  group_.spec.timeouts = {.tcp_seconds = 3600, .tcp_fin_seconds = {}, .udp_seconds = 300};
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  EXPECT_EQ(timeouts(Node("d1", 1)),
            (std::set<NodeItem>{
                ConnectionTimeout{Dataplane::kIpvs, ConnectionKind::kTcp, 3600},
                ConnectionTimeout{Dataplane::kIpvs, ConnectionKind::kUdp, 300},
            }));
  EXPECT_EQ(timeouts(Node("r1", 11)), (std::set<NodeItem>{}));
  // As eBPF has 300 s from the beginning, it would say nothing of them when read.
  group_.spec.dataplane = api::DataplaneChoice::kEbpf;
  EXPECT_EQ(timeouts(Node("d1", 1)),
            (std::set<NodeItem>{ConnectionTimeout{Dataplane::kEbpf, ConnectionKind::kTcp, 3600}}));
  services_.clear();
  EXPECT_EQ(timeouts(Node("d1", 1)), (std::set<NodeItem>{}));
}

TEST_F(DesiredTest, AVipHasTheDataplaneOfItsOldestService) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"}),
               Service("dns", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  services_[1].spec.ports[0].port = 53;
  services_[1].meta.creation_timestamp = "2026-02-01T00:00:00Z";
  EXPECT_EQ(Compute(Node("d1", 1)).state.services.size(), 2u);
  services_[1].spec.dataplane = api::DataplaneChoice::kIpvs;
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.state.services.size(), 1u);
  EXPECT_EQ(desired.state.services.begin()->first.dataplane, Dataplane::kEbpf);
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "dns");
  EXPECT_EQ(desired.problems[0].reason, "AddressConflict");
}

}  // namespace
}  // namespace kube_lvs
