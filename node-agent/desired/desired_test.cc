#include "node-agent/desired/desired.h"

#include <gtest/gtest.h>

#include "dataplane/plan/text.h"
#include "node-agent/desired/vips.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

InterfaceFacts Interface(const std::string& name, const std::string& address, int prefix) {
  InterfaceFacts interface;
  interface.name = name;
  interface.mtu = 1500;
  interface.up = true;
  interface.loopback = name == "lo";
  interface.addresses = {{Ip(address), prefix}};
  return interface;
}

// A node with an uplink 192.0.2.N/24 and an inner leg 10.0.0.N/24.
NodeFacts Node(const std::string& name, int n) {
  NodeFacts facts;
  facts.node_name = name;
  facts.node_address = Ip("192.0.2." + std::to_string(n));
  facts.interfaces["lo"] = Interface("lo", "127.0.0.1", 8);
  facts.interfaces["eth0"] = Interface("eth0", "192.0.2." + std::to_string(n), 24);
  facts.interfaces["eth1"] = Interface("eth1", "10.0.0." + std::to_string(n), 24);
  facts.routes = {{*Cidr::Parse("0.0.0.0/0"), 0, "eth0", Ip("192.0.2.254")},
                  {*Cidr::Parse("192.0.2.0/24"), 0, "eth0", std::nullopt},
                  {*Cidr::Parse("10.0.0.0/24"), 0, "eth1", std::nullopt}};
  return facts;
}

api::LvsService Service(const std::string& name, const std::string& vip, ForwardingMethod method,
                        const std::vector<std::string>& reals) {
  api::LvsService service;
  service.meta.name = name;
  service.meta.name_space = "shop";
  service.meta.uid = "uid-" + name;
  service.spec.addresses = {{.type = api::AddressRequest::Type::kIp,
                             .pool_name = "",
                             .ip_family = std::nullopt,
                             .value = vip}};
  service.status.addresses = {{.value = vip, .pool_name = "edge", .ip_family = Family::kIpv4}};
  api::ServicePort port;
  port.name = "http";
  port.port = 80;
  service.spec.ports = {port};
  service.spec.method = method;
  service.spec.scheduler = "wrr";
  api::BackendSource source;
  source.name = "servers";
  source.is_static = true;
  for (const std::string& real : reals) {
    api::StaticBackend entry;
    entry.address = real;
    source.static_reals.push_back(entry);
  }
  service.spec.backends = {source};
  return service;
}

class DesiredTest : public testing::Test {
 protected:
  DesiredTest() {
    group_.meta.name = "default";
    group_.spec.dataplane = api::DataplaneChoice::kEbpf;
    group_.spec.static_allowed_ranges = {"10.0.0.0/24"};
    group_.status.epoch = 4;
    group_.status.members = {{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}};
    pool_.meta.name = "edge";
    pool_.status.cidrs = {"192.0.2.192/26"};
  }

  Desired Compute(const NodeFacts& facts, const std::set<IpAddress>& claims = {}) {
    std::map<ObjectId, api::AnyObject> objects;
    const auto put = [&objects](const api::AnyObject& object) {
      objects.emplace(IdOf(object), object);
    };
    for (const api::LvsService& service : services_) put(service);
    if (with_group_) put(group_);
    if (with_pool_) put(pool_);
    for (auto& [name, node] : nodes_) {
      node.meta.name = name;
      put(node);
    }
    Snapshot snapshot = SnapshotOf(objects);
    snapshot.kubernetes = kubernetes_;
    snapshot.complete = complete_;
    role_ = FindRole(snapshot, facts);
    return ComputeDesired(snapshot, facts, role_, claims, {});
  }
  std::string Text(const Desired& desired) { return ToText(desired.state); }

  std::vector<api::LvsService> services_;
  api::LvsDirectorGroup group_;
  api::LvsAddressPool pool_;
  std::map<std::string, api::KubeNode> nodes_;
  bool kubernetes_ = true, complete_ = true, with_group_ = true, with_pool_ = true;
  Role role_;
};

bool Has(const Desired& desired, const NodeItem& item) {
  return desired.state.items.contains(item);
}

TEST_F(DesiredTest, AnEbpfDirectorHoldsTheServiceAndAttachesWhereClientsAndRealServersAre) {
  services_ = {
      Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.12", "10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  for (const ServiceProblem& problem : desired.problems) ADD_FAILURE() << problem.message;
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

std::set<std::string> Attached(const Desired& desired) {
  std::set<std::string> interfaces;
  for (const NodeItem& item : desired.state.items) {
    if (const auto* attachment = std::get_if<Attachment>(&item)) {
      interfaces.insert(attachment->interface);
    }
  }
  return interfaces;
}

// Its default route and the one to 10.0.0.0/24 have two legs each.
NodeFacts Multipath(const std::string& name, int n) {
  NodeFacts facts = Node(name, n);
  facts.interfaces["eth2"] = Interface("eth2", "198.51.100." + std::to_string(n), 24);
  facts.interfaces["eth3"] = Interface("eth3", "10.0.3." + std::to_string(n), 24);
  facts.routes.push_back({*Cidr::Parse("0.0.0.0/0"), 0, "eth2", Ip("198.51.100.254")});
  facts.routes.push_back({*Cidr::Parse("10.0.0.0/24"), 0, "eth3", Ip("10.0.3.254")});
  return facts;
}

TEST_F(DesiredTest, ADirectorIsAttachedToAllLegsTowardsClientsAndRealServers) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Multipath("d1", 1), {Ip("192.0.2.200")});
  EXPECT_EQ(Attached(desired),
            (std::set<std::string>{"eth0", "eth1", "eth2", "eth3", kLocalLinkFar}));
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth2"}));
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

TEST_F(DesiredTest, ADirectorOfIpvsRedirectsNoRealServerByAnyLeg) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  services_[0].spec.source_nat = api::SourceNatChoice::kDisabled;
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  const Desired desired = Compute(Multipath("d1", 1));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth1/send_redirects", "0"}));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth3/send_redirects", "0"}));
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

TEST_F(DesiredTest, ClientsOnADirectorOfIpvsNeedNothingOfOurs) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  for (const NodeItem& item : Compute(Node("d1", 1)).state.items) {
    EXPECT_FALSE(std::holds_alternative<LocalLink>(item) || std::holds_alternative<LocalVip>(item))
        << ToString(item);
  }
}

TEST_F(DesiredTest, NoGroupWithoutLayer2Answers) {
  group_.spec.layer2 = false;
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1), {Ip("192.0.2.200")});
  EXPECT_FALSE(Has(desired, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.200"), "eth0"}));
  EXPECT_EQ(desired.state.services.size(), 1u);
}

TEST_F(DesiredTest, NatByIpvsNeedsForwardingAndSourceNatItsOwnItems) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
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

TEST_F(DesiredTest, ConnectionsOfIpvsAreCopiedBetweenDirectorsThatShallDoSo) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  const auto daemons = [](const Desired& desired) {
    return std::ranges::count_if(desired.state.items, [](const NodeItem& item) {
      return std::holds_alternative<SyncDaemon>(item);
    });
  };
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
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

TEST_F(DesiredTest, ARangeAndAllPortsAreServicesOfTheirOwnOnIpvs) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
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

api::LvsService CidrService(const std::string& name, const std::string& cidr,
                            ForwardingMethod method) {
  api::LvsService service = Service(name, cidr, method, {"10.0.0.11"});
  service.spec.addresses[0].type = api::AddressRequest::Type::kCidr;
  return service;
}

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
  for (const ServiceProblem& problem : desired.problems) ADD_FAILURE() << problem.message;
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
  for (const ServiceProblem& problem : desired.problems) ADD_FAILURE() << problem.message;
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
  for (const ServiceProblem& problem : desired.problems) ADD_FAILURE() << problem.message;
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
  for (const ServiceProblem& problem : six.problems) ADD_FAILURE() << problem.message;
  EXPECT_TRUE(Has(six, AnsweredVip{Dataplane::kEbpf, first, "eth0", 112}));
  // By itself it would be a VIP without services.
  EXPECT_FALSE(Has(six, AnsweredVip{Dataplane::kEbpf, first, "eth0"}));
}

TEST_F(DesiredTest, FromFilesACidrIsTakenAsWritten) {
  kubernetes_ = false;
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {CidrService("net", "198.51.100.0/24", ForwardingMethod::kNat)};
  services_[0].status.addresses.clear();
  const Desired desired = Compute(Node("d1", 1), {Ip("198.51.100.0")});
  EXPECT_TRUE(desired.problems.empty());
  EXPECT_TRUE(Has(desired, AnsweredVip{Dataplane::kIpvs, Ip("198.51.100.0"), "eth0", 24}));
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

TEST_F(DesiredTest, IpvsForgetsConnectionsOfRealServersThatAreGoneOrQuiesced) {
  group_.spec.dataplane = api::DataplaneChoice::kIpvs;
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kDirectRouting, {"10.0.0.11"})};
  const Sysctl gone{"net/ipv4/vs/expire_nodest_conn", "1"};
  EXPECT_EQ(Compute(Node("d1", 1)).state.items, (std::set<NodeItem>{gone}));
  services_[0].spec.persistence.emplace();
  EXPECT_EQ(Compute(Node("d1", 1)).state.items,
            (std::set<NodeItem>{gone, Sysctl{"net/ipv4/vs/expire_quiescent_template", "1"}}));
}

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

TEST_F(DesiredTest, ClientsOnADirectorReachANetworkOfVips) {
  services_ = {CidrService("net", "192.0.2.192/27", ForwardingMethod::kTunnel)};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(Has(desired, LocalVip{Ip("192.0.2.192"), Ip("192.0.2.1"), 27}));
  EXPECT_TRUE(Has(desired, LocalLink{1480}));
  EXPECT_TRUE(Has(desired, Attachment{kLocalLinkFar}));
  EXPECT_TRUE(Has(desired, Sysctl{"net/ipv4/conf/eth0/rp_filter", "2"}));
}

TEST_F(DesiredTest, ANodeThatIsNeitherDirectorNorRealServerHoldsNothing) {
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kTunnel, {"10.0.0.11"}),
               Service("nat", "192.0.2.201", ForwardingMethod::kNat, {"10.0.0.12"})};
  const Desired desired = Compute(Node("r2", 12));
  EXPECT_EQ(desired.state, State{});
  EXPECT_TRUE(desired.problems.empty());
}

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

TEST_F(DesiredTest, TheNodesOwnAddressIsNoVip) {
  kubernetes_ = false;
  services_ = {Service("web", "192.0.2.1", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(desired.state.services.empty());
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_NE(desired.problems[0].message.find("eth0"), std::string::npos);
}

TEST_F(DesiredTest, AnAddressOfAFellowOrAGatewayIsNoVip) {
  kubernetes_ = false;
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

TEST_F(DesiredTest, WhoAsksForTheAddressOfAGatewayTakesNoRealServerFromOthers) {
  kubernetes_ = false;
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

TEST_F(DesiredTest, FromFilesAVipThatIsARealServerIsTheFaultOfItsOwnServiceOnly) {
  kubernetes_ = false;
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

TEST_F(DesiredTest, FromFilesWhoNamesItsOwnVipOrOneNotPermittedTakesNoVipFromOthers) {
  kubernetes_ = false;
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

TEST_F(DesiredTest, InKubernetesAGrantedVipIsNoRealServer) {
  group_.spec.static_allowed_ranges = {"192.0.2.0/24"};
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"192.0.2.11"}),
               Service("greedy", "192.0.2.201", ForwardingMethod::kNat, {"192.0.2.200"})};
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].name, "greedy");
  EXPECT_EQ(desired.problems[0].reason, api::kBackendNotPermitted);
}

TEST_F(DesiredTest, FromFilesTheNodeDirectsAloneUnlessMembersAreNamed) {
  kubernetes_ = false;
  with_group_ = with_pool_ = false;
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  Desired desired = Compute(Node("x", 9));
  EXPECT_EQ(desired.state.services.size(), 1u);
  EXPECT_EQ(role_.peers.members.size(), 1u);
  with_group_ = true;
  desired = Compute(Node("x", 9));
  EXPECT_TRUE(desired.state.services.empty());
}

TEST_F(DesiredTest, FromFilesAPoolAddressIsRefused) {
  kubernetes_ = false;
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  services_[0].spec.addresses[0] = {};
  const Desired desired = Compute(Node("d1", 1));
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_NE(desired.problems[0].message.find("type: IP"), std::string::npos);
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

TEST_F(DesiredTest, NamedUplinksThatAreNotThereAreAProblemOfThatGroupsServices) {
  group_.spec.interfaces = {"bond*"};
  services_ = {Service("web", "192.0.2.200", ForwardingMethod::kNat, {"10.0.0.11"})};
  const Desired desired = Compute(Node("d1", 1));
  EXPECT_TRUE(desired.state.services.empty());
  EXPECT_EQ(desired.unable, std::set<IpAddress>{Ip("192.0.2.200")});
  ASSERT_EQ(desired.problems.size(), 1u);
  EXPECT_EQ(desired.problems[0].reason, kPrerequisiteMissing);
}

}  // namespace
}  // namespace kube_lvs
