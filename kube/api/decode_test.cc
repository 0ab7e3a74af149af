#include "kube/api/decode.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "base/status.h"
#include "kube/api/encode.h"

namespace kube_lvs::api {
namespace {

using nlohmann::json;

// ---- Decode(Encode(x)) == x, for random x of every kind.

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t Int(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  bool Coin() { return Int(0, 1) == 1; }
  uint16_t Port() { return static_cast<uint16_t>(Int(1, 65535)); }
  std::string Text() {
    static constexpr const char* kTexts[] = {"a", "web", "10.0.0.1", "x\"y\\z", "\xc3\xa9", "a/b"};
    return kTexts[Int(0, 5)];
  }
  std::string TextOrNone() { return Coin() ? Text() : ""; }
  template <typename T>
  T Of(std::initializer_list<T> values) {
    return values.begin()[Int(0, static_cast<int64_t>(values.size()) - 1)];
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> out(static_cast<size_t>(Int(0, 3)));
    for (std::string& text : out) text = Text();
    return out;
  }
  template <typename F>
  auto Many(F make) {
    std::vector<decltype(make())> out;
    for (int64_t i = Int(0, 3); i > 0; --i) out.push_back(make());
    return out;
  }
  template <typename F>
  auto Maybe(F make) {
    std::optional<decltype(make())> out;
    if (Coin()) out = make();
    return out;
  }

  ObjectMeta Meta(bool namespaced) {
    ObjectMeta out{.name = Text(),
                   .name_space = namespaced ? Text() : "",
                   .uid = TextOrNone(),
                   .resource_version = TextOrNone(),
                   .generation = Int(0, 9),
                   .creation_timestamp = TextOrNone(),
                   .labels = {},
                   .annotations = {}};
    if (Coin()) out.labels["k"] = Text();
    if (Coin()) out.annotations["n"] = Text();
    return out;
  }
  LabelSelector Selector() {
    LabelSelector out;
    if (Coin()) out.match_labels["l"] = Text();
    out.match_expressions = Many(
        [&] { return LabelSelector::Requirement{.key = Text(), .op = Text(), .values = Texts()}; });
    return out;
  }
  std::vector<Condition> Conditions() {
    return Many([&] {
      return Condition{.type = Text(),
                       .status = Text(),
                       .observed_generation = Int(0, 5),
                       .last_transition_time = TextOrNone(),
                       .reason = Text(),
                       .message = TextOrNone()};
    });
  }
  Protocol AnyProtocol() { return Of({Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}); }
  ForwardingMethod Method() {
    return Of(
        {ForwardingMethod::kNat, ForwardingMethod::kDirectRouting, ForwardingMethod::kTunnel});
  }
  DataplaneChoice Choice() {
    return Of({DataplaneChoice::kAuto, DataplaneChoice::kIpvs, DataplaneChoice::kEbpf});
  }
  Family AnyFamily() { return Of({Family::kIpv4, Family::kIpv6}); }

 private:
  std::mt19937_64 engine_;
};

LvsServiceSpec RandomSpec(Random& r) {
  LvsServiceSpec out;
  out.director_group = r.Text();
  out.ip_family_policy = r.Of<std::string>({"SingleStack", "PreferDualStack"});
  for (int64_t i = r.Int(0, 2); i > 0; --i) {
    out.addresses.push_back({.type = r.Of({AddressRequest::Type::kPool, AddressRequest::Type::kIp,
                                           AddressRequest::Type::kCidr}),
                             .pool_name = r.TextOrNone(),
                             .ip_family = r.Maybe([&] { return r.AnyFamily(); }),
                             .value = r.TextOrNone()});
  }
  out.ports = r.Many([&] {
    return ServicePort{.name = r.Text(),
                       .protocol = r.AnyProtocol(),
                       .port = r.Port(),
                       .end_port = r.Maybe([&] { return r.Port(); }),
                       .target_port = r.Maybe([&] {
                         return r.Coin() ? PortRef{.number = r.Port(), .name = ""}
                                         : PortRef{.number = 0, .name = r.Text()};
                       })};
  });
  out.all_ports = r.Coin();
  out.method = r.Method();
  out.source_nat =
      r.Of({SourceNatChoice::kAuto, SourceNatChoice::kEnabled, SourceNatChoice::kDisabled});
  out.tunnel_type = r.Of<std::string>({"IPIP", "GUE", "GRE"});
  out.tunnel_port = r.Maybe([&] { return r.Port(); });
  out.mss_clamp = r.Coin();
  out.fallback = r.Of<std::string>({"None", "NAT"});
  out.scheduler = r.Text();
  out.hash = {.source_port = r.Coin(),
              .fallback = r.Coin(),
              .table_size = r.Coin() ? kMaglevDefaultSize : 65521};
  out.slow_start_seconds = static_cast<uint32_t>(r.Int(0, 3600));
  out.backends = r.Many([&] {
    BackendSource backend{.name = r.Text(),
                          .weight = static_cast<uint32_t>(r.Int(0, 65535)),
                          .service_name = r.TextOrNone(),
                          .selector = r.Maybe([&] { return r.Selector(); }),
                          .static_reals = {},
                          .is_static = r.Coin()};
    if (backend.is_static) {
      backend.static_reals = r.Many([&] {
        return StaticBackend{
            .address = r.Text(),
            .port = r.Maybe([&] { return r.Port(); }),
            .weight = r.Maybe([&] { return static_cast<uint32_t>(r.Int(0, 65535)); }),
            .method = r.Maybe([&] { return r.Method(); }),
            .upper_threshold = static_cast<uint32_t>(r.Int(0, 9)),
            .lower_threshold = static_cast<uint32_t>(r.Int(0, 9))};
      });
    }
    return backend;
  });
  out.persistence = r.Maybe([&] {
    return PersistenceRequest{.engine = r.Of<std::string>({"SourceAddress", "SIP"}),
                              .timeout_seconds = static_cast<uint32_t>(r.Int(1, 86400)),
                              .prefix_length_ipv4 = static_cast<int>(r.Int(1, 32)),
                              .prefix_length_ipv6 = static_cast<int>(r.Int(1, 128))};
  });
  out.one_packet = r.Coin();
  out.health_check = r.Maybe([&] {
    return HealthCheck{.type = r.Of<std::string>({"TCP", "HTTP", "None"}),
                       .via = r.Of<std::string>({"Direct", "VIP"}),
                       .port = r.Maybe([&] { return r.Port(); }),
                       .interval_seconds = static_cast<uint32_t>(r.Int(1, 3600)),
                       .timeout_seconds = static_cast<uint32_t>(r.Int(1, 3600)),
                       .failure_threshold = static_cast<uint32_t>(r.Int(1, 100)),
                       .success_threshold = static_cast<uint32_t>(r.Int(1, 100)),
                       .http = r.Maybe([&] {
                         return HealthCheck::Http{.host = r.TextOrNone(),
                                                  .path = r.Text(),
                                                  .expected_statuses = r.Texts()};
                       })};
  });
  out.availability = {.quorum = static_cast<uint32_t>(r.Int(0, 9)),
                      .hysteresis = static_cast<uint32_t>(r.Int(0, 9)),
                      .real_server_failure_policy = r.Of<std::string>({"Quiesce", "Remove"}),
                      .on_quorum_lost = r.Of<std::string>({"KeepLast", "Reject"}),
                      .sorry_server = r.Maybe([&] {
                        return Availability::SorryServer{.address = r.Text(),
                                                         .port = r.Maybe([&] { return r.Port(); })};
                      })};
  out.drain_timeout_seconds = static_cast<uint32_t>(r.Int(0, 86400));
  out.allowed_source_ranges = r.Texts();
  out.icmp_echo = r.Of<std::string>({"", "Respond", "Ignore"});
  out.topology_prefer = r.Of<std::string>({"", "PreferSameZone", "PreferSameNode"});
  out.dataplane = r.Choice();
  return out;
}

LvsService RandomService(Random& r) {
  LvsService out{.meta = r.Meta(true), .spec = RandomSpec(r), .status = {}};
  out.status.observed_generation = r.Int(0, 9);
  out.status.addresses = r.Many([&] {
    return AssignedAddress{
        .value = r.Text(), .pool_name = r.TextOrNone(), .ip_family = r.AnyFamily()};
  });
  out.status.effective = {.method = r.TextOrNone(),
                          .source_nat = r.TextOrNone(),
                          .dataplane = r.TextOrNone(),
                          .fallback_used = r.Coin()};
  out.status.directors = r.Many([&] { return DirectorStatus{.node = r.Text(), .role = r.Text()}; });
  out.status.summary = {.addresses = r.TextOrNone(),
                        .ports = r.TextOrNone(),
                        .real_servers = r.TextOrNone(),
                        .directors = r.TextOrNone()};
  out.status.conditions = r.Conditions();
  return out;
}

LvsAddressPool RandomPool(Random& r) {
  LvsAddressPool out{.meta = r.Meta(false), .spec = {}, .status = {}};
  out.spec = {.addresses = r.Texts(),
              .excluded_addresses = r.Texts(),
              .automatic = r.Coin(),
              .priority = static_cast<int32_t>(r.Int(-1000, 1000)),
              .namespace_selector = r.Maybe([&] { return r.Selector(); })};
  out.status = {.observed_generation = r.Int(0, 9),
                .cidrs = r.Texts(),
                .total_ipv4 = r.Int(0, 9),
                .allocated_ipv4 = r.Int(0, 9),
                .available_ipv4 = r.Int(0, 9),
                .total_ipv6 = r.Int(0, 9007199254740991),
                .allocated_ipv6 = r.Int(0, 9),
                .available_ipv6 = r.Int(0, 9),
                .conditions = r.Conditions()};
  return out;
}

LvsDirectorGroup RandomGroup(Random& r) {
  LvsDirectorGroup out{.meta = r.Meta(false), .spec = {}, .status = {}};
  out.spec.node_selector = r.Selector();
  out.spec.interfaces = r.Texts();
  out.spec.dataplane = r.Choice();
  out.spec.layer2 = r.Coin();
  out.spec.heartbeat_milliseconds = static_cast<int32_t>(r.Int(10, 10000));
  out.spec.missed_heartbeats = static_cast<int32_t>(r.Int(2, 20));
  out.spec.connection_table_size = static_cast<uint32_t>(r.Int(1024, 16777216));
  out.spec.maintenance_nodes = r.Texts();
  out.spec.static_allowed_ranges = r.Texts();
  out.spec.connection_sync = r.Coin();
  out.spec.timeouts = r.Maybe([&] {
    const auto seconds = [&] { return static_cast<uint32_t>(r.Int(1, 86400)); };
    return LvsDirectorGroup::Spec::Timeouts{.tcp_seconds = r.Maybe(seconds),
                                            .tcp_fin_seconds = r.Maybe(seconds),
                                            .udp_seconds = r.Maybe(seconds)};
  });
  out.status.observed_generation = r.Int(0, 9);
  out.status.epoch = r.Int(0, 99);
  out.status.members = r.Many([&] { return GroupMember{.node = r.Text(), .address = r.Text()}; });
  out.status.dataplane = r.Of<std::string>({"", "IPVS", "eBPF"});
  out.status.counts = {.selected = 3, .members = 2, .maintenance = 1, .services = 7};
  out.status.conditions = r.Conditions();
  return out;
}

LvsNode RandomNode(Random& r) {
  LvsNode out{.meta = r.Meta(false), .status = {}};
  out.status.agent_version = r.TextOrNone();
  out.status.address = r.TextOrNone();
  out.status.role = r.Of<std::string>({"", "Director", "RealServer", "None"});
  out.status.kernel = r.TextOrNone();
  out.status.dataplanes = r.Texts();
  out.status.schedulers = r.Texts();
  out.status.tunnels = r.Texts();
  out.status.interfaces = r.Many([&] {
    return NodeInterface{.name = r.Text(),
                         .mtu = static_cast<int32_t>(r.Int(0, 9000)),
                         .xdp_native = r.Coin(),
                         .xdp_reason = r.TextOrNone()};
  });
  out.status.problems = r.Many(
      [&] { return NodeProblem{.check = r.Text(), .message = r.Text(), .mend = r.TextOrNone()}; });
  out.status.advice = r.Many([&] {
    return NodeAdvice{.interface = r.Text(), .message = r.Text(), .mend = r.TextOrNone()};
  });
  out.status.director_group = r.TextOrNone();
  out.status.epoch = r.Int(0, 9);
  out.status.dataplane = r.Of<std::string>({"", "IPVS", "eBPF"});
  out.status.answers_for = r.Texts();
  out.status.programmed_resource_version = r.TextOrNone();
  out.status.services_programmed = static_cast<int32_t>(r.Int(0, 9));
  out.status.services = r.Many([&] {
    return NodeServiceReport{.name_space = r.TextOrNone(),
                             .name = r.TextOrNone(),
                             .uid = r.Text(),
                             .generation = r.Int(0, 9),
                             .reason = r.Text(),
                             .message = r.TextOrNone(),
                             .ready = static_cast<int32_t>(r.Int(0, 9)),
                             .total = static_cast<int32_t>(r.Int(0, 9))};
  });
  out.status.services_omitted = r.Int(0, 9);
  return out;
}

KubeService RandomKubeService(Random& r) {
  return {.meta = r.Meta(true),
          .type = r.Of<std::string>({"ClusterIP", "LoadBalancer"}),
          .cluster_ips = r.Texts(),
          .ports = r.Many([&] {
            return KubeService::Port{
                .name = r.TextOrNone(), .protocol = r.AnyProtocol(), .port = r.Port()};
          })};
}

EndpointSlice RandomSlice(Random& r) {
  EndpointSlice out;
  out.meta = r.Meta(true);
  out.service_name = r.TextOrNone();
  out.managed_by = r.TextOrNone();
  // Both are labels.
  if (!out.service_name.empty()) out.meta.labels["kubernetes.io/service-name"] = out.service_name;
  if (!out.managed_by.empty()) {
    out.meta.labels["endpointslice.kubernetes.io/managed-by"] = out.managed_by;
  }
  out.family = r.AnyFamily();
  out.ports = r.Many([&] {
    return EndpointSlice::Port{
        .name = r.TextOrNone(), .protocol = r.AnyProtocol(), .port = r.Port()};
  });
  out.endpoints = r.Many([&] {
    return EndpointSlice::Endpoint{.addresses = r.Texts(),
                                   .ready = r.Coin(),
                                   .serving = r.Coin(),
                                   .terminating = r.Coin(),
                                   .node_name = r.TextOrNone(),
                                   .zone = r.TextOrNone()};
  });
  return out;
}

template <typename T, typename Make, typename Decode>
void ExpectRoundTrips(Make make, Decode decode) {
  Random random(20260101);
  for (int i = 0; i < 150; ++i) {
    const T object = make(random);
    const json text = Encode(object);
    for (const bool strict : {false, true}) {
      const absl::StatusOr<T> back = decode(text, DecodeOptions{.strict = strict});
      ASSERT_TRUE(back.ok()) << back.status() << "\n" << text.dump(1);
      ASSERT_TRUE(*back == object) << text.dump(1) << "\n" << Encode(*back).dump(1);
      const absl::StatusOr<AnyObject> any = DecodeAny(text, {.strict = strict});
      ASSERT_TRUE(any.ok()) << any.status();
      ASSERT_TRUE(std::get<T>(*any) == object);
    }
  }
}

TEST(DecodeTest, WhatWasEncodedComesBack) {
  ExpectRoundTrips<LvsService>(RandomService, DecodeLvsService);
  ExpectRoundTrips<LvsAddressPool>(RandomPool, DecodeLvsAddressPool);
  ExpectRoundTrips<LvsDirectorGroup>(RandomGroup, DecodeLvsDirectorGroup);
  ExpectRoundTrips<LvsNode>(RandomNode, DecodeLvsNode);
  ExpectRoundTrips<KubeService>(RandomKubeService, DecodeKubeService);
  ExpectRoundTrips<EndpointSlice>(RandomSlice, DecodeEndpointSlice);
  ExpectRoundTrips<KubeNode>(
      [](Random& r) {
        return KubeNode{.meta = r.Meta(false),
                        .internal_addresses = r.Texts(),
                        .pod_cidrs = r.Texts(),
                        .unschedulable = r.Coin(),
                        .ready = r.Coin()};
      },
      DecodeKubeNode);
  ExpectRoundTrips<KubeNamespace>([](Random& r) { return KubeNamespace{.meta = r.Meta(false)}; },
                                  DecodeKubeNamespace);
  ExpectRoundTrips<KubeServiceCidr>(
      [](Random& r) { return KubeServiceCidr{.meta = r.Meta(false), .cidrs = r.Texts()}; },
      DecodeKubeServiceCidr);
}

// ---- Defaults and Kubernetes' own rules

TEST(DecodeTest, AbsentFieldsGetTheDefaultsOfTheSchema) {
  const json object = json::parse(R"({
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"ports": [{"name": "http", "port": 80}],
             "backends": [{"name": "stable", "serviceRef": {"name": "web"}}]}})");
  const absl::StatusOr<LvsService> service = DecodeLvsService(object, {.strict = true});
  ASSERT_TRUE(service.ok()) << service.status();
  LvsService wanted;
  wanted.meta.name = "web";
  wanted.meta.name_space = "shop";
  wanted.spec.ports = {
      {.name = "http", .protocol = Protocol::kTcp, .port = 80, .end_port = {}, .target_port = {}}};
  wanted.spec.backends.resize(1);
  wanted.spec.backends[0].name = "stable";
  wanted.spec.backends[0].service_name = "web";
  EXPECT_EQ(*service, wanted);
  EXPECT_EQ(service->spec.scheduler, "wrr");
  EXPECT_EQ(service->spec.drain_timeout_seconds, 300u);
}

TEST(DecodeTest, EndpointConditionsThatAreNotSaidFollowTheApisRules) {
  const json object = json::parse(R"({
    "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
    "metadata": {"name": "s", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}},
    "ports": [{"name": "http", "port": 80}, {"name": "all"}, {"name": "null", "port": null}],
    "endpoints": [{"addresses": ["10.0.0.1"]},
                  {"addresses": ["10.0.0.2"], "conditions": {"ready": null, "serving": null}},
                  {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
                  {"addresses": ["10.0.0.4"],
                   "conditions": {"ready": false, "serving": true, "terminating": true}}]})");
  const absl::StatusOr<EndpointSlice> slice = DecodeEndpointSlice(object);
  ASSERT_TRUE(slice.ok()) << slice.status();
  EXPECT_EQ(slice->service_name, "web");
  ASSERT_EQ(slice->ports.size(), 1u);
  const auto conditions = [&](size_t i) {
    const EndpointSlice::Endpoint& e = slice->endpoints.at(i);
    return std::tuple(e.ready, e.serving, e.terminating);
  };
  EXPECT_EQ(conditions(0), std::tuple(true, true, false));
  EXPECT_EQ(conditions(1), std::tuple(true, true, false));
  EXPECT_EQ(conditions(2), std::tuple(false, false, false));
  EXPECT_EQ(conditions(3), std::tuple(false, true, true));
}

TEST(DecodeTest, SlicesOfNamesHaveNoEndpoints) {
  const absl::StatusOr<EndpointSlice> slice = DecodeEndpointSlice(json::parse(
      R"({"metadata": {"name": "s"}, "addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]})"));
  ASSERT_TRUE(slice.ok());
  EXPECT_TRUE(slice->endpoints.empty());
}

TEST(DecodeTest, NodesAreReadyByTheirCondition) {
  const absl::StatusOr<KubeNode> node = DecodeKubeNode(json::parse(R"({
    "kind": "Node", "apiVersion": "v1", "metadata": {"name": "a"},
    "spec": {"podCIDRs": ["10.244.0.0/24"], "taints": [{"key": "x"}]},
    "status": {"addresses": [{"type": "Hostname", "address": "a"},
                             {"type": "InternalIP", "address": "192.0.2.1"}],
               "conditions": [{"type": "DiskPressure", "status": "True"},
                              {"type": "Ready", "status": "True"}]}})"));
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_TRUE(node->ready);
  EXPECT_EQ(node->internal_addresses, std::vector<std::string>{"192.0.2.1"});
  EXPECT_EQ(node->pod_cidrs, std::vector<std::string>{"10.244.0.0/24"});
}

// ---- Bad input

std::string ErrorOf(const char* text, bool strict = false) {
  const absl::StatusOr<LvsService> service =
      DecodeLvsService(json::parse(text), {.strict = strict});
  if (service.ok()) return "OK";
  EXPECT_EQ(service.status().code(), absl::StatusCode::kInvalidArgument);
  return Message(service.status());
}

TEST(DecodeTest, WhatIsWrongIsNamedWithItsPath) {
  const struct {
    const char* text;
    const char* message;
  } kCases[] = {
      {"[]", "LVSService: must be an object, not array"},
      {"null", "LVSService: metadata.name: is missing"},
      {R"({"kind": "Pod"})", "LVSService: is a kube-lvs.io/v1alpha1 Pod"},
      {R"({"kind": 7})", "LVSService: kind: must be a string, not number"},
      {R"({"metadata": {"name": "w"}})", "LVSService default/w: spec: is missing"},
      {R"({"metadata": {"name": "w"}, "spec": "x"})",
       "LVSService default/w: spec: must be an object, not string"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": {"a": 1}}})",
       "LVSService default/w: spec.ports: must be a list, not object"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [3]}})",
       "LVSService default/w: spec.ports[0]: must be an object, not number"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"name": "a"}]}})",
       "LVSService default/w: spec.ports[0].port: is missing"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 65536}]}})",
       "LVSService default/w: spec.ports[0].port: must be from 1 to 65535"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 18446744073709551615}]}})",
       "LVSService default/w: spec.ports[0].port: must be from 1 to 65535"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": -1}]}})",
       "LVSService default/w: spec.ports[0].port: must be from 1 to 65535"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 80.5}]}})",
       "LVSService default/w: spec.ports[0].port: must be an integer, not number"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 80, "protocol": "ICMP"}]}})",
       "LVSService default/w: spec.ports[0].protocol: \"ICMP\" is not one of TCP, UDP, SCTP"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 80, "targetPort": true}]}})",
       "LVSService default/w: spec.ports[0].targetPort: must be an integer, not boolean"},
      {R"({"metadata": {"name": "w"}, "spec": {"forwarding": {"method": "DR"}}})",
       "LVSService default/w: spec.forwarding.method: \"DR\" is not one of NAT, DirectRouting, "
       "Tunnel"},
      {R"({"metadata": {"name": "w"}, "spec": {"addresses": [{"value": "192.0.2.1"}]}})",
       "LVSService default/w: spec.addresses[0].type: must be one of Pool, IP, CIDR"},
      {R"({"metadata": {"name": "w"}, "spec": {"backends": [{"static": [{"weight": 70000}]}]}})",
       "LVSService default/w: spec.backends[0].static[0].weight: must be from 0 to 65535"},
      {R"({"metadata": {"name": "w", "labels": {"a": 1}}, "spec": {}})",
       "LVSService default/w: metadata.labels.a: must be a string, not number"},
      {R"({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 80, "extra": 1}]}})", "OK"},
  };
  for (const auto& c : kCases) EXPECT_EQ(ErrorOf(c.text), c.message) << c.text;
}

TEST(DecodeTest, ListsHaveLimits) {
  json object = json::parse(R"({"metadata": {"name": "w"}, "spec": {"ports": []}})");
  for (int i = 0; i < 65; ++i) object["spec"]["ports"].push_back({{"name", "p"}, {"port", 80}});
  EXPECT_EQ(ErrorOf(object.dump().c_str()),
            "LVSService default/w: spec.ports: has 65 items; at most 64 are allowed");
}

TEST(DecodeTest, StrictRefusesFieldsThatAreNotThere) {
  EXPECT_EQ(ErrorOf(R"({"metadata": {"name": "w", "ownerReferences": []},
                        "spec": {"ports": [{"port": 80, "extra": 1}]}})",
                    true),
            "LVSService default/w: spec.ports[0].extra: there is no such field");
  EXPECT_EQ(ErrorOf(R"({"metadata": {"name": "w"}, "spec": {"draining": {"timeout": 1}}})", true),
            "LVSService default/w: spec.draining.timeout: there is no such field");
  EXPECT_EQ(ErrorOf(R"({"metadata": {"name": "w"}, "spec": {}, "data": 1})", true),
            "LVSService default/w: data: there is no such field");
}

TEST(DecodeTest, UnknownKindsAreNotFound) {
  EXPECT_EQ(
      DecodeAny(json::parse(R"({"apiVersion": "apps/v1", "kind": "Deployment"})")).status().code(),
      absl::StatusCode::kNotFound);
  EXPECT_EQ(DecodeAny(json::parse(R"({"kind": "LVSService"})")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DecodeAny(json::parse("[1]")).status().code(), absl::StatusCode::kInvalidArgument);
}

// No change of one value in an object makes a decoder crash or throw.
TEST(DecodeTest, AbsurdValuesAnywhereAreSurvived) {
  Random random(7);
  const json absurd[] = {json(nullptr),
                         json(-1),
                         json(UINT64_MAX),
                         json(1e300),
                         json(""),
                         json(std::string(100000, 'x')),
                         json::array({1, "a", nullptr}),
                         json::object({{"a", json::array()}}),
                         json(true)};
  int refused = 0;
  for (int round = 0; round < 4; ++round) {
    const json whole = Encode(RandomService(random));
    const json flat = whole.flatten();
    for (auto it = flat.begin(); it != flat.end(); ++it) {
      for (const json& value : absurd) {
        json broken = whole;
        broken[json::json_pointer(it.key())] = value;
        refused += !DecodeLvsService(broken).ok();
      }
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(DecodeTest, SelectorsMatchAsKubernetesDoes) {
  const std::map<std::string, std::string> labels = {{"app", "web"}, {"tier", "edge"}};
  const auto matches = [&](LabelSelector selector) { return selector.Matches(labels); };
  const auto one = [](std::string key, std::string op, std::vector<std::string> values) {
    LabelSelector out;
    out.match_expressions = {
        {.key = std::move(key), .op = std::move(op), .values = std::move(values)}};
    return out;
  };
  EXPECT_TRUE(matches({}));
  EXPECT_TRUE(matches({.match_labels = {{"app", "web"}}, .match_expressions = {}}));
  EXPECT_FALSE(matches({.match_labels = {{"app", "db"}}, .match_expressions = {}}));
  EXPECT_TRUE(matches(one("app", "In", {"db", "web"})));
  EXPECT_FALSE(matches(one("zone", "In", {"a"})));
  EXPECT_TRUE(matches(one("zone", "NotIn", {"a"})));
  EXPECT_FALSE(matches(one("app", "NotIn", {"web"})));
  EXPECT_TRUE(matches(one("app", "Exists", {})));
  EXPECT_FALSE(matches(one("app", "DoesNotExist", {})));
  EXPECT_TRUE(matches(one("zone", "DoesNotExist", {})));
  EXPECT_FALSE(matches(one("app", "Gt", {"1"})));
}

}  // namespace
}  // namespace kube_lvs::api
