#include "kube/api/resolve.h"

#include <gtest/gtest.h>

#include <string>

namespace kube_lvs::api {
namespace {

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

// A cluster with a Service "shop/web" (80 -> 8080), and an LVSService before it.
class ResolveTest : public testing::Test {
 protected:
  ResolveTest() {
    service_.meta = {.name = "web",
                     .name_space = "shop",
                     .uid = "",
                     .resource_version = "",
                     .generation = 1,
                     .creation_timestamp = "",
                     .labels = {},
                     .annotations = {}};
    service_.spec.ports = {Port("http", 80)};
    service_.spec.backends = {ServiceRef("stable", "web")};
    AddKubeService("web", {{.name = "http", .protocol = Protocol::kTcp, .port = 80}});
    group_.meta.name = "default";
    nodes_ = {Ip("192.0.2.1"), Ip("192.0.2.2")};
  }

  static ServicePort Port(std::string name, uint16_t port, std::optional<PortRef> target = {}) {
    return {.name = std::move(name),
            .protocol = Protocol::kTcp,
            .port = port,
            .end_port = {},
            .target_port = std::move(target)};
  }
  static BackendSource ServiceRef(std::string name, std::string service, uint32_t weight = 1) {
    BackendSource out;
    out.name = std::move(name);
    out.service_name = std::move(service);
    out.weight = weight;
    return out;
  }
  static BackendSource Static(std::vector<StaticBackend> reals) {
    BackendSource out;
    out.name = "legacy";
    out.is_static = true;
    out.static_reals = std::move(reals);
    return out;
  }
  static StaticBackend Real(std::string address, std::optional<uint16_t> port = {}) {
    StaticBackend out;
    out.address = std::move(address);
    out.port = port;
    return out;
  }
  void AddKubeService(const std::string& name, std::vector<KubeService::Port> ports) {
    KubeService service;
    service.meta.name = name;
    service.meta.name_space = "shop";
    service.ports = std::move(ports);
    kube_services_["shop/" + name] = std::make_shared<KubeService>(service);
  }
  // An endpoint: address and a word: ready, starting, draining, gone.
  static EndpointSlice::Endpoint Endpoint(const std::string& address, const std::string& state) {
    EndpointSlice::Endpoint out;
    out.addresses = {address};
    out.ready = state == "ready";
    out.serving = state == "ready" || state == "draining";
    out.terminating = state == "draining" || state == "gone";
    return out;
  }
  void AddSlice(const std::string& name, std::vector<EndpointSlice::Endpoint> endpoints,
                std::vector<EndpointSlice::Port> ports = {{.name = "http",
                                                           .protocol = Protocol::kTcp,
                                                           .port = 8080}},
                const std::string& of = "web",
                const std::string& managed_by = "endpointslice-controller.k8s.io") {
    EndpointSlice slice;
    slice.meta.name = name;
    slice.meta.name_space = "shop";
    slice.service_name = of;
    slice.managed_by = managed_by;
    slice.ports = std::move(ports);
    slice.endpoints = std::move(endpoints);
    slices_["shop/" + name] = std::make_shared<EndpointSlice>(slice);
  }

  Resolution Run() {
    const SlicesByService by_service = GroupByService(slices_);
    return Resolve({.service = service_,
                    .group = &group_,
                    .services = kube_services_,
                    .slices = by_service,
                    .node_addresses = nodes_,
                    .vips = vips_,
                    .service_cidrs = service_cidrs_,
                    .family = family_,
                    .vip_prefixes = vip_prefixes_,
                    .dataplane = dataplane_});
  }
  // "http: 10.0.0.1:8080 NAT weight 1, ... | reason message | 1/2"
  std::string Text() {
    const Resolution resolution = Run();
    std::string out;
    for (const ResolvedPort& port : resolution.ports) {
      out += port.port.name + ":";
      for (const RealServer& real : port.reals) out += " " + ToString(real) + ",";
      out += " | ";
    }
    for (const Problem& problem : resolution.problems) {
      out += problem.reason + " " + problem.message + " | ";
    }
    return out + std::to_string(resolution.ready) + "/" + std::to_string(resolution.total);
  }

  LvsService service_;
  LvsDirectorGroup group_;
  KubeServiceMap kube_services_;
  EndpointSliceMap slices_;
  std::set<IpAddress> nodes_;
  std::set<IpAddress> vips_;
  std::vector<Cidr> vip_prefixes_;
  std::optional<Dataplane> dataplane_;
  std::vector<Cidr> service_cidrs_;
  Family family_ = Family::kIpv4;
};

TEST_F(ResolveTest, EndpointsAreInCanonicalOrderAndByReadiness) {
  AddSlice("web-1", {Endpoint("10.0.0.9", "ready"), Endpoint("10.0.0.10", "starting"),
                     Endpoint("10.0.0.2", "draining"), Endpoint("10.0.0.3", "gone"),
                     Endpoint("10.0.0.1", "ready")});
  service_.spec.backends[0].weight = 7;
  EXPECT_EQ(Text(),
            "http: 10.0.0.1:8080 NAT weight 7, 10.0.0.2:8080 NAT weight 0, 10.0.0.9:8080 NAT "
            "weight 7, | 2/3");
}

TEST_F(ResolveTest, AnEndpointInSeveralSlicesCountsOnceAndTheBestCounts) {
  AddSlice("web-1", {Endpoint("10.0.0.1", "gone"), Endpoint("10.0.0.2", "draining"),
                     Endpoint("10.0.0.3", "ready")});
  AddSlice("web-2", {Endpoint("10.0.0.1", "ready"), Endpoint("10.0.0.2", "gone"),
                     Endpoint("10.0.0.3", "draining")});
  EXPECT_EQ(Text(),
            "http: 10.0.0.1:8080 NAT weight 1, 10.0.0.2:8080 NAT weight 0, 10.0.0.3:8080 NAT "
            "weight 1, | 2/2");
}

TEST_F(ResolveTest, SlicesMayDifferInTheNumberOfANamedPort) {
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready")});
  AddSlice("web-2", {Endpoint("10.0.0.2", "ready")},
           {{.name = "http", .protocol = Protocol::kTcp, .port = 9090},
            {.name = "http", .protocol = Protocol::kUdp, .port = 53},
            {.name = "other", .protocol = Protocol::kTcp, .port = 1}});
  EXPECT_EQ(Text(), "http: 10.0.0.1:8080 NAT weight 1, 10.0.0.2:9090 NAT weight 1, | 2/2");
}

TEST_F(ResolveTest, TargetPortSelectsAPortOfTheService) {
  AddKubeService("web", {{.name = "http", .protocol = Protocol::kTcp, .port = 80},
                         {.name = "admin", .protocol = Protocol::kTcp, .port = 81},
                         {.name = "dns", .protocol = Protocol::kUdp, .port = 53}});
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready")},
           {{.name = "http", .protocol = Protocol::kTcp, .port = 8080},
            {.name = "admin", .protocol = Protocol::kTcp, .port = 8081},
            {.name = "dns", .protocol = Protocol::kUdp, .port = 5353}});
  const struct {
    ServicePort port;
    const char* text;
  } kCases[] = {
      {Port("http", 8000), "http: 10.0.0.1:8080 NAT weight 1, | 1/1"},  // by name
      {Port("x", 81), "x: 10.0.0.1:8081 NAT weight 1, | 1/1"},          // by number
      {Port("http", 81), "http: 10.0.0.1:8080 NAT weight 1, | 1/1"},    // name first
      {Port("x", 1, PortRef{81, ""}), "x: 10.0.0.1:8081 NAT weight 1, | 1/1"},
      {Port("x", 1, PortRef{0, "admin"}), "x: 10.0.0.1:8081 NAT weight 1, | 1/1"},
      {Port("x", 1),
       "x: | PortNotFound port x (1/TCP): Service shop/web has no TCP port of this name or number; "
       "set targetPort to one of its ports | 0/0"},
      {Port("x", 1, PortRef{8081, ""}),
       "x: | PortNotFound port x (1/TCP): Service shop/web has no TCP port of number 8081; set "
       "targetPort to one of its ports | 0/0"},
      {Port("http", 80, PortRef{0, "dns"}),
       "http: | PortNotFound port http (80/TCP): Service shop/web has no TCP port of name dns; set "
       "targetPort to one of its ports | 0/0"},
  };
  for (const auto& c : kCases) {
    service_.spec.ports = {c.port};
    EXPECT_EQ(Text(), c.text);
  }
  // Of UDP there is but one.
  service_.spec.ports = {Port("x", 1)};
  service_.spec.ports[0].protocol = Protocol::kUdp;
  EXPECT_EQ(Text(), "x: 10.0.0.1:5353 NAT weight 1, | 1/1");
}

TEST_F(ResolveTest, AnUnnamedPortOfAServiceIsItsOnlyOne) {
  AddKubeService("web", {{.name = "", .protocol = Protocol::kTcp, .port = 8000}});
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready")},
           {{.name = "", .protocol = Protocol::kTcp, .port = 9000}});
  EXPECT_EQ(Text(), "http: 10.0.0.1:9000 NAT weight 1, | 1/1");
}

TEST_F(ResolveTest, AServiceThatIsNotThereIsSaid) {
  service_.spec.backends = {ServiceRef("stable", "nobody")};
  EXPECT_EQ(Text(), "http: | NoBackends Service shop/nobody does not exist (backend stable) | 0/0");
}

TEST_F(ResolveTest, SeveralPortsOfOneRealServerCountOnce) {
  service_.spec.ports = {Port("http", 80), Port("again", 81, PortRef{80, ""})};
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready"), Endpoint("10.0.0.2", "starting")});
  EXPECT_EQ(Text(), "http: 10.0.0.1:8080 NAT weight 1, | again: 10.0.0.1:8080 NAT weight 1, | 1/2");
}

TEST_F(ResolveTest, BackendsMixAndTheFirstKeepsItsOwn) {
  AddKubeService("canary", {{.name = "http", .protocol = Protocol::kTcp, .port = 80}});
  service_.spec.backends = {ServiceRef("stable", "web", 9), ServiceRef("canary", "canary", 1)};
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready"), Endpoint("10.0.0.2", "ready")});
  AddSlice("canary-1", {Endpoint("10.0.0.2", "ready"), Endpoint("10.0.0.3", "ready")},
           {{.name = "http", .protocol = Protocol::kTcp, .port = 8080}}, "canary");
  EXPECT_EQ(Text(),
            "http: 10.0.0.1:8080 NAT weight 9, 10.0.0.2:8080 NAT weight 9, 10.0.0.3:8080 NAT "
            "weight 1, | 3/3");
}

TEST_F(ResolveTest, RealServersHaveTheServicesTunnel) {
  service_.spec.backends = {Static({Real("10.1.0.5")})};
  group_.spec.static_allowed_ranges = {"10.1.0.0/16"};
  service_.spec.tunnel_type = "GUE";
  service_.spec.tunnel_port = 6080;
  EXPECT_EQ(Text(), "http: 10.1.0.5:80 NAT weight 1, | 1/1");
  service_.spec.method = ForwardingMethod::kTunnel;
  EXPECT_EQ(Text(), "http: 10.1.0.5:80 Tunnel weight 1 by GUE port 6080, | 1/1");
  service_.spec.tunnel_type = "GRE";
  service_.spec.tunnel_port = std::nullopt;
  EXPECT_EQ(Text(), "http: 10.1.0.5:80 Tunnel weight 1 by GRE, | 1/1");
  service_.spec.tunnel_type = "IPIP";
  EXPECT_EQ(Text(), "http: 10.1.0.5:80 Tunnel weight 1, | 1/1");
}

TEST_F(ResolveTest, StaticRealServersMustBeInTheGroupsRanges) {
  service_.spec.backends = {Static({Real("10.1.0.5"), Real("10.1.0.6", 8443), Real("10.2.0.1"),
                                    Real("10.2.0.2"), Real("2001:db8::1")})};
  service_.spec.backends[0].static_reals[0].weight = 3;
  service_.spec.backends[0].static_reals[1].upper_threshold = 1000;
  service_.spec.backends[0].static_reals[1].lower_threshold = 800;
  group_.spec.static_allowed_ranges = {"10.1.0.0/16", "nonsense"};
  EXPECT_EQ(Text(),
            "http: 10.1.0.5:80 NAT weight 3, 10.1.0.6:8443 NAT weight 1 upper 1000 lower 800, | "
            "BackendNotPermitted not in staticBackends.allowedRanges of group default (backend "
            "legacy: 10.2.0.1 and 1 more) | 2/2");
  service_.spec.ports[0].target_port = PortRef{8080, ""};
  EXPECT_EQ(Run().ports[0].reals[0].at.port, 8080);
  service_.spec.ports[0].target_port = PortRef{0, "http"};
  EXPECT_EQ(Run().problems[0].reason, kPortNotFound);
  // No group, no static real servers.
  const SlicesByService none;
  EXPECT_TRUE(Resolve({.service = service_,
                       .services = kube_services_,
                       .slices = none,
                       .node_addresses = nodes_,
                       .vips = vips_,
                       .service_cidrs = service_cidrs_})
                  .ports[0]
                  .reals.empty());
}

TEST_F(ResolveTest, EntriesMayHaveTheirOwnMethod) {
  service_.spec.backends = {Static({Real("10.1.0.5"), Real("10.1.0.6")})};
  service_.spec.backends[0].static_reals[1].method = ForwardingMethod::kTunnel;
  group_.spec.static_allowed_ranges = {"10.0.0.0/8"};
  EXPECT_EQ(Text(), "http: 10.1.0.5:80 NAT weight 1, 10.1.0.6:80 Tunnel weight 1, | 2/2");
}

TEST_F(ResolveTest, SlicesOfOthersAreBoundedAsStaticRealServersAre) {
  AddSlice("own", {Endpoint("10.1.0.1", "ready"), Endpoint("10.9.0.1", "ready")},
           {{.name = "http", .protocol = Protocol::kTcp, .port = 8080}}, "web", "me");
  group_.spec.static_allowed_ranges = {"10.1.0.0/16"};
  EXPECT_EQ(Text(),
            "http: 10.1.0.1:8080 NAT weight 1, | BackendNotPermitted not in "
            "staticBackends.allowedRanges of group default (backend stable: 10.9.0.1) | 1/1");
}

TEST_F(ResolveTest, SomeAddressesAreNeverRealServers) {
  group_.spec.static_allowed_ranges = {"0.0.0.0/0"};
  group_.status.members = {{.node = "a", .address = "192.0.2.1"}};
  vips_ = {Ip("203.0.113.1")};
  vip_prefixes_ = {*Cidr::Parse("198.51.100.0/24")};
  service_cidrs_ = {*Cidr::Parse("10.96.0.0/16")};
  for (const char* address : {"127.0.0.1", "169.254.169.254", "224.0.0.1", "192.0.2.1",
                              "203.0.113.1", "198.51.100.255", "10.96.0.10"}) {
    service_.spec.backends = {Static({Real(address)})};
    const Resolution resolution = Run();
    EXPECT_TRUE(resolution.ports[0].reals.empty()) << address;
    ASSERT_EQ(resolution.problems.size(), 1u) << address;
    EXPECT_EQ(resolution.problems[0].reason, kBackendNotPermitted) << address;
  }
  // The cluster's own controller cannot make these right, but it may name a director's address.
  service_.spec.backends = {ServiceRef("stable", "web")};
  AddSlice("web-1", {Endpoint("127.0.0.1", "ready"), Endpoint("203.0.113.1", "ready"),
                     Endpoint("10.96.0.10", "ready"), Endpoint("192.0.2.1", "ready")});
  const Resolution resolution = Run();
  ASSERT_EQ(resolution.ports[0].reals.size(), 1u);
  EXPECT_EQ(resolution.ports[0].reals[0].at.ip, Ip("192.0.2.1"));
  EXPECT_EQ(resolution.problems.size(), 3u);
}

TEST_F(ResolveTest, PersistenceOfACidrMapsNoPort) {
  service_.spec.addresses.emplace_back();
  service_.spec.addresses[0].type = AddressRequest::Type::kCidr;
  service_.spec.addresses[0].value = "198.51.100.0/24";
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready")});
  EXPECT_EQ(Text(), "http: 10.0.0.1:8080 NAT weight 1, | 1/1");
  service_.spec.persistence = PersistenceRequest{};
  EXPECT_EQ(Text(),
            "http: | InvalidSpec persistence with an address of type CIDR cannot map ports: real "
            "servers listen on 8080, the service on 80; make them equal or leave persistence out "
            "(backend stable: 10.0.0.1) | 0/0");
  service_.spec.ports[0].port = 8080;
  EXPECT_EQ(Text(), "http: 10.0.0.1:8080 NAT weight 1, | 1/1");
  service_.spec.ports[0].end_port = 8090;
  EXPECT_EQ(Text(), "http: 10.0.0.1:0 NAT weight 1, | 1/1");
}

TEST_F(ResolveTest, EbpfMapsNoPortOfSctp) {
  service_.spec.ports[0].protocol = Protocol::kSctp;
  service_.spec.backends = {Static({Real("192.0.2.9", 8080)})};
  group_.spec.static_allowed_ranges = {"192.0.2.0/24"};
  EXPECT_EQ(Text(), "http: 192.0.2.9:8080 NAT weight 1, | 1/1");
  dataplane_ = Dataplane::kEbpf;
  EXPECT_EQ(Text(),
            "http: | UnsupportedByDataplane dataplane eBPF cannot map ports of SCTP: real servers "
            "listen on 8080, the service on 80; make them equal or use dataplane IPVS (backend "
            "legacy: 192.0.2.9) | 0/0");
  service_.spec.ports[0].port = 8080;
  EXPECT_EQ(Text(), "http: 192.0.2.9:8080 NAT weight 1, | 1/1");
}

TEST_F(ResolveTest, DirectReturnNeedsNodesAddressesAndEqualPorts) {
  service_.spec.method = ForwardingMethod::kDirectRouting;
  AddSlice("web-1",
           {Endpoint("10.244.1.5", "ready"), Endpoint("10.244.1.6", "ready"),
            Endpoint("192.0.2.2", "ready")},
           {{.name = "http", .protocol = Protocol::kTcp, .port = 80}});
  EXPECT_EQ(Text(),
            "http: 192.0.2.2:80 DirectRouting weight 1, | UnsupportedByDataplane DirectRouting to "
            "pods is not supported yet: use hostNetwork pods, static backends or method NAT "
            "(backend stable: 10.244.1.5 and 1 more) | 1/1");
  AddSlice("web-1", {Endpoint("192.0.2.2", "ready")});
  service_.spec.method = ForwardingMethod::kTunnel;
  EXPECT_EQ(Text(),
            "http: | InvalidSpec Tunnel cannot map ports: real servers listen on 8080, the service "
            "on 80; make them equal or use method NAT (backend stable: 192.0.2.2) | 0/0");
}

TEST_F(ResolveTest, OnlyTheFamilyOfTheVipCounts) {
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready")});
  AddSlice("web-2", {Endpoint("2001:db8::1", "ready")});
  EndpointSlice six = *slices_["shop/web-2"];
  six.family = Family::kIpv6;
  slices_["shop/web-2"] = std::make_shared<EndpointSlice>(six);
  EXPECT_EQ(Text(), "http: 10.0.0.1:8080 NAT weight 1, | 1/1");
  family_ = Family::kIpv6;
  EXPECT_EQ(Text(), "http: [2001:db8::1]:8080 NAT weight 1, | 1/1");
}

TEST_F(ResolveTest, NonsenseInSlicesIsLeftOut) {
  EndpointSlice::Endpoint empty;
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready"), Endpoint("not an address", "ready"), empty,
                     Endpoint("2001:db8::1", "ready")});
  EXPECT_EQ(Text(), "http: 10.0.0.1:8080 NAT weight 1, | 1/1");
}

TEST_F(ResolveTest, SlicesOfOtherNamespacesAreNotOurs) {
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready")});
  EndpointSlice other = *slices_["shop/web-1"];
  other.meta.name_space = "bank";
  other.endpoints = {Endpoint("10.6.6.6", "ready")};
  slices_ = {{"bank/web-1", std::make_shared<EndpointSlice>(other)}};
  EXPECT_EQ(Text(), "http: | 0/0");
}

TEST_F(ResolveTest, ARangeTakesEveryEndpointWhateverPortsItHasAndKeepsPorts) {
  service_.spec.ports.push_back(Port("media", 10000));
  service_.spec.ports.back().protocol = Protocol::kUdp;
  service_.spec.ports.back().end_port = uint16_t{10100};
  service_.spec.backends.push_back(Static({Real("10.1.0.1")}));
  group_.spec.static_allowed_ranges = {"10.1.0.0/24"};
  AddSlice("web-1", {Endpoint("10.0.0.1", "ready"), Endpoint("10.0.0.2", "starting")});
  AddSlice("web-2", {Endpoint("10.0.0.3", "ready"), Endpoint("10.0.0.1", "draining")}, {});
  EXPECT_EQ(Text(),
            "http: 10.0.0.1:8080 NAT weight 1, 10.1.0.1:80 NAT weight 1, | "
            "media: 10.0.0.1:0 NAT weight 1, 10.0.0.3:0 NAT weight 1, 10.1.0.1:0 NAT weight 1, | "
            "3/4");
}

TEST_F(ResolveTest, AllPortsIsOnePortForAllAndMapsNone) {
  service_.spec.ports.clear();
  service_.spec.all_ports = true;
  service_.spec.method = ForwardingMethod::kDirectRouting;
  AddSlice("web-1", {Endpoint("192.0.2.2", "ready")});
  EXPECT_EQ(Text(), ": 192.0.2.2:0 DirectRouting weight 1, | 1/1");
  EXPECT_EQ(Run().ports[0].port, ServicePort{});
  service_.spec.all_ports = false;
  service_.spec.ports = {Port("media", 10000)};
  service_.spec.ports[0].end_port = uint16_t{10100};
  EXPECT_EQ(Text(), "media: 192.0.2.2:0 DirectRouting weight 1, | 1/1");
}

}  // namespace
}  // namespace kube_lvs::api
