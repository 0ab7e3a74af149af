#include "kube/api/decode.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "dataplane/model/schedulers.h"
#include "kube/api/kinds.h"
#include "kube/api/reader.h"

namespace kube_lvs::api {
namespace {

using nlohmann::json;

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

Protocol ReadProtocol(Reader& in) {
  const std::string name = in.OneOf("protocol", {"TCP", "UDP", "SCTP"}, "TCP");
  return name == "UDP" ? Protocol::kUdp : name == "SCTP" ? Protocol::kSctp : Protocol::kTcp;
}

std::optional<ForwardingMethod> ReadMethod(Reader& in) {
  const std::string name = in.OneOf("method", {"NAT", "DirectRouting", "Tunnel"}, "");
  if (name == "NAT") return ForwardingMethod::kNat;
  if (name == "DirectRouting") return ForwardingMethod::kDirectRouting;
  if (name == "Tunnel") return ForwardingMethod::kTunnel;
  return std::nullopt;
}

DataplaneChoice ReadDataplane(Reader& in) {
  const std::string name = in.OneOf("dataplane", {"Auto", "IPVS", "eBPF"}, "Auto");
  return name == "IPVS"   ? DataplaneChoice::kIpvs
         : name == "eBPF" ? DataplaneChoice::kEbpf
                          : DataplaneChoice::kAuto;
}

uint32_t ReadU32(Reader& in, std::string_view key, int64_t min, int64_t max, int64_t absent) {
  return static_cast<uint32_t>(in.Int(key, min, max, absent));
}

LabelSelector ReadSelector(Reader in) {
  LabelSelector out;
  out.match_labels = in.StringMap("matchLabels");
  in.List("matchExpressions", 64, [&](Reader& item) {
    out.match_expressions.push_back({.key = item.String("key"),
                                     .op = item.String("operator"),
                                     .values = item.Strings("values", 1024)});
  });
  return out;
}

std::vector<Condition> ReadConditions(Reader& in) {
  std::vector<Condition> out;
  in.List("conditions", 64, [&](Reader& item) {
    out.push_back({.type = item.String("type"),
                   .status = item.String("status", "Unknown"),
                   .observed_generation = item.Int("observedGeneration", 0, kMaxInt64, 0),
                   .last_transition_time = item.String("lastTransitionTime"),
                   .reason = item.String("reason"),
                   .message = item.String("message")});
  });
  return out;
}

ObjectMeta ReadMeta(Reader& in, bool namespaced) {
  Reader meta = in.Object("metadata");
  meta.AllowOthers();
  ObjectMeta out;
  out.name = meta.String("name");
  out.name_space = namespaced ? meta.String("namespace", "default") : "";
  out.uid = meta.String("uid");
  out.resource_version = meta.String("resourceVersion");
  out.generation = meta.Int("generation", 0, kMaxInt64, 0);
  out.creation_timestamp = meta.String("creationTimestamp");
  out.labels = meta.StringMap("labels");
  out.annotations = meta.StringMap("annotations");
  if (out.name.empty()) meta.error().Add("metadata.name", "is missing");
  return out;
}

std::optional<PortRef> ReadPortRef(Reader& in, std::string_view key) {
  const json* value = in.Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    const std::string name = value->get<std::string>();
    if (name.empty() || name.size() > 63) {
      in.error().Add(in.PathOf(key), "must be a port number or a port name");
    }
    return PortRef{.number = 0, .name = name};
  }
  const std::optional<uint16_t> port = in.OptionalPort(key);
  if (!port) return std::nullopt;
  return PortRef{.number = *port, .name = ""};
}

// ---- LVSService

AddressRequest ReadAddressRequest(Reader& in) {
  AddressRequest out;
  const std::string type = in.OneOf("type", {"Pool", "IP", "CIDR"}, "");
  if (type.empty()) in.error().Add(in.PathOf("type"), "must be one of Pool, IP, CIDR");
  out.type = type == "IP"     ? AddressRequest::Type::kIp
             : type == "CIDR" ? AddressRequest::Type::kCidr
                              : AddressRequest::Type::kPool;
  out.pool_name = in.String("poolName");
  const std::string family = in.OneOf("ipFamily", {"IPv4", "IPv6"}, "");
  if (!family.empty()) out.ip_family = family == "IPv4" ? Family::kIpv4 : Family::kIpv6;
  out.value = in.String("value");
  return out;
}

ServicePort ReadServicePort(Reader& in) {
  ServicePort out;
  out.name = in.String("name");
  out.protocol = ReadProtocol(in);
  const std::optional<uint16_t> port = in.OptionalPort("port");
  if (!port) in.error().Add(in.PathOf("port"), "is missing");
  out.port = port.value_or(0);
  out.end_port = in.OptionalPort("endPort");
  out.target_port = ReadPortRef(in, "targetPort");
  return out;
}

StaticBackend ReadStatic(Reader& in) {
  StaticBackend out;
  out.address = in.String("address");
  out.port = in.OptionalPort("port");
  if (const auto weight = in.OptionalInt("weight", 0, 65535)) {
    out.weight = static_cast<uint32_t>(*weight);
  }
  out.method = ReadMethod(in);
  out.upper_threshold = ReadU32(in, "upperThreshold", 0, kMaxInt32, 0);
  out.lower_threshold = ReadU32(in, "lowerThreshold", 0, kMaxInt32, 0);
  return out;
}

BackendSource ReadBackend(Reader& in) {
  BackendSource out;
  out.name = in.String("name");
  out.weight = ReadU32(in, "weight", 0, 65535, 1);
  if (in.Has("serviceRef")) {
    Reader ref = in.Object("serviceRef");
    out.service_name = ref.String("name");
    if (out.service_name.empty()) ref.error().Add(ref.PathOf("name"), "is missing");
  }
  if (in.Has("selector")) out.selector = ReadSelector(in.Object("selector"));
  out.is_static = in.Has("static");
  in.List("static", 256, [&](Reader& item) { out.static_reals.push_back(ReadStatic(item)); });
  return out;
}

HealthCheck ReadHealthCheck(Reader in) {
  HealthCheck out;
  out.type = in.OneOf("type", {"TCP", "HTTP", "HTTPS", "GRPC", "DNS", "UDP", "ICMP", "None"}, "");
  if (out.type.empty()) in.error().Add(in.PathOf("type"), "is missing");
  out.via = in.OneOf("via", {"Direct", "VIP"}, "Direct");
  out.port = in.OptionalPort("port");
  out.interval_seconds = ReadU32(in, "intervalSeconds", 1, 3600, 5);
  out.timeout_seconds = ReadU32(in, "timeoutSeconds", 1, 3600, 2);
  out.failure_threshold = ReadU32(in, "failureThreshold", 1, 100, 3);
  out.success_threshold = ReadU32(in, "successThreshold", 1, 100, 2);
  if (in.Has("http")) {
    Reader http = in.Object("http");
    out.http = HealthCheck::Http{};
    out.http->host = http.String("host");
    out.http->path = http.String("path", "/");
    if (http.Has("expectedStatuses")) {
      out.http->expected_statuses = http.Strings("expectedStatuses", 16);
    }
  }
  return out;
}

Availability ReadAvailability(Reader in) {
  Availability out;
  out.quorum = ReadU32(in, "quorum", 0, 10000, 1);
  out.hysteresis = ReadU32(in, "hysteresis", 0, 10000, 0);
  out.real_server_failure_policy =
      in.OneOf("realServerFailurePolicy", {"Quiesce", "Remove"}, "Quiesce");
  out.on_quorum_lost =
      in.OneOf("onQuorumLost", {"KeepLast", "SorryServer", "Reject", "Withdraw"}, "KeepLast");
  if (in.Has("sorryServer")) {
    Reader sorry = in.Object("sorryServer");
    out.sorry_server = {.address = sorry.String("address"), .port = sorry.OptionalPort("port")};
  }
  return out;
}

void ReadForwarding(Reader in, LvsServiceSpec& out) {
  out.method = ReadMethod(in).value_or(ForwardingMethod::kNat);
  const std::string source_nat = in.OneOf("sourceNAT", {"Auto", "Enabled", "Disabled"}, "Auto");
  out.source_nat = source_nat == "Enabled"    ? SourceNatChoice::kEnabled
                   : source_nat == "Disabled" ? SourceNatChoice::kDisabled
                                              : SourceNatChoice::kAuto;
  Reader tunnel = in.Object("tunnel");
  out.tunnel_type = tunnel.OneOf("type", {"IPIP", "GUE", "GRE"}, "IPIP");
  out.tunnel_port = tunnel.OptionalPort("port");
  out.mss_clamp = in.OneOf("mssClamp", {"Auto", "Disabled"}, "Auto") == "Auto";
  out.fallback = in.OneOf("fallback", {"None", "NAT"}, "None");
}

void ReadScheduler(Reader in, LvsServiceSpec& out) {
  out.scheduler = in.String("name", "wrr");
  Reader hash = in.Object("hash");
  out.hash.source_port = hash.Enabled("sourcePort");
  out.hash.fallback = hash.Enabled("fallback");
  out.hash.table_size = ReadU32(hash, "tableSize", kMaglevSizes.front(), kMaglevSizes.back(),
                                kMaglevDefaultSize);
  out.slow_start_seconds = ReadU32(in, "slowStartSeconds", 0, 3600, 0);
}

LvsServiceSpec ReadServiceSpec(Reader in) {
  LvsServiceSpec out;
  if (!in.There()) in.error().Add("spec", "is missing");
  out.director_group = in.String("directorGroupName", "default");
  out.ip_family_policy = in.OneOf(
      "ipFamilyPolicy", {"SingleStack", "PreferDualStack", "RequireDualStack"}, "SingleStack");
  in.List("addresses", 2, [&](Reader& item) { out.addresses.push_back(ReadAddressRequest(item)); });
  in.List("ports", 64, [&](Reader& item) { out.ports.push_back(ReadServicePort(item)); });
  out.all_ports = in.Enabled("allPorts");
  ReadForwarding(in.Object("forwarding"), out);
  ReadScheduler(in.Object("scheduler"), out);
  in.List("backends", 16, [&](Reader& item) { out.backends.push_back(ReadBackend(item)); });
  if (in.Has("persistence")) {
    Reader persistence = in.Object("persistence");
    out.persistence = {
        .engine = persistence.OneOf("engine", {"SourceAddress", "SIP"}, "SourceAddress"),
        .timeout_seconds = ReadU32(persistence, "timeoutSeconds", 1, 86400, 360),
        .prefix_length_ipv4 = static_cast<int>(persistence.Int("prefixLengthIPv4", 1, 32, 32)),
        .prefix_length_ipv6 = static_cast<int>(persistence.Int("prefixLengthIPv6", 1, 128, 128))};
  }
  out.one_packet = in.Enabled("onePacketScheduling");
  if (in.Has("healthCheck")) out.health_check = ReadHealthCheck(in.Object("healthCheck"));
  out.availability = ReadAvailability(in.Object("availability"));
  out.drain_timeout_seconds =
      static_cast<uint32_t>(in.Object("draining").Int("timeoutSeconds", 0, 86400, 300));
  {
    Reader access = in.Object("access");
    out.allowed_source_ranges = access.Strings("allowedSourceRanges", 256);
    out.icmp_echo = access.OneOf("icmpEcho", {"Respond", "Ignore"}, "");
  }
  out.topology_prefer =
      in.Object("topology").OneOf("prefer", {"PreferSameZone", "PreferSameNode"}, "");
  out.dataplane = ReadDataplane(in);
  return out;
}

LvsServiceStatus ReadServiceStatus(Reader in) {
  LvsServiceStatus out;
  out.observed_generation = in.Int("observedGeneration", 0, kMaxInt64, 0);
  in.List("addresses", 16, [&](Reader& item) {
    item.String("type");
    out.addresses.push_back(
        {.value = item.String("value"),
         .pool_name = item.String("poolName"),
         .ip_family = item.String("ipFamily", "IPv4") == "IPv6" ? Family::kIpv6 : Family::kIpv4});
  });
  {
    Reader effective = in.Object("effective");
    out.effective = {.method = effective.String("method"),
                     .source_nat = effective.String("sourceNAT"),
                     .dataplane = effective.String("dataplane"),
                     .fallback_used = effective.Bool("fallbackUsed", false)};
  }
  in.List("directors", 64, [&](Reader& item) {
    out.directors.push_back({.node = item.String("node"), .role = item.String("role")});
  });
  {
    Reader summary = in.Object("summary");
    out.summary = {.addresses = summary.String("addresses"),
                   .ports = summary.String("ports"),
                   .real_servers = summary.String("realServers"),
                   .directors = summary.String("directors")};
  }
  out.conditions = ReadConditions(in);
  return out;
}

// ---- LVSAddressPool

LvsAddressPool::Spec ReadPoolSpec(Reader in) {
  LvsAddressPool::Spec out;
  if (!in.There()) in.error().Add("spec", "is missing");
  out.addresses = in.Strings("addresses", 64);
  out.excluded_addresses = in.Strings("excludedAddresses", 64);
  out.automatic = in.OneOf("allocation", {"Automatic", "OnRequest"}, "Automatic") == "Automatic";
  out.priority = static_cast<int32_t>(in.Int("priority", -1000, 1000, 0));
  if (in.Has("namespaceSelector")) {
    out.namespace_selector = ReadSelector(in.Object("namespaceSelector"));
  }
  return out;
}

LvsAddressPool::Status ReadPoolStatus(Reader in) {
  LvsAddressPool::Status out;
  out.observed_generation = in.Int("observedGeneration", 0, kMaxInt64, 0);
  out.cidrs = in.Strings("cidrs", 4096);
  {
    Reader ipv4 = in.Object("ipv4");
    out.total_ipv4 = ipv4.Int("total", 0, kMaxInt64, 0);
    out.allocated_ipv4 = ipv4.Int("allocated", 0, kMaxInt64, 0);
    out.available_ipv4 = ipv4.Int("available", 0, kMaxInt64, 0);
  }
  {
    Reader ipv6 = in.Object("ipv6");
    out.total_ipv6 = ipv6.Int("total", 0, kMaxInt64, 0);
    out.allocated_ipv6 = ipv6.Int("allocated", 0, kMaxInt64, 0);
    out.available_ipv6 = ipv6.Int("available", 0, kMaxInt64, 0);
  }
  out.conditions = ReadConditions(in);
  return out;
}

// ---- LVSDirectorGroup

LvsDirectorGroup::Spec ReadGroupSpec(Reader in) {
  LvsDirectorGroup::Spec out;
  out.node_selector = ReadSelector(in.Object("nodeSelector"));
  out.interfaces = in.Strings("interfaces", 16);
  out.dataplane = ReadDataplane(in);
  out.layer2 = in.Object("announcement").OneOf("type", {"Layer2", "None"}, "Layer2") == "Layer2";
  {
    Reader failover = in.Object("failover");
    out.heartbeat_milliseconds =
        static_cast<int32_t>(failover.Int("heartbeatIntervalMilliseconds", 10, 10000, 100));
    out.missed_heartbeats = static_cast<int32_t>(failover.Int("missedHeartbeats", 2, 20, 3));
  }
  out.connection_table_size = ReadU32(in, "connectionTableSize", 1024, 16777216, 1048576);
  out.maintenance_nodes = in.Object("maintenance").Strings("nodes", 64);
  out.static_allowed_ranges = in.Object("staticBackends").Strings("allowedRanges", 64);
  out.connection_sync = in.Enabled("connectionSync");
  if (in.Has("timeouts")) {
    Reader timeouts = in.Object("timeouts");
    const auto seconds = [&](std::string_view key, int64_t max) -> std::optional<uint32_t> {
      const std::optional<int64_t> value = timeouts.OptionalInt(key, 1, max);
      if (!value) return std::nullopt;
      return static_cast<uint32_t>(*value);
    };
    out.timeouts = {.tcp_seconds = seconds("tcpSeconds", 864000),
                    .tcp_fin_seconds = seconds("tcpFinSeconds", 86400),
                    .udp_seconds = seconds("udpSeconds", 86400)};
  }
  return out;
}

LvsDirectorGroup::Status ReadGroupStatus(Reader in) {
  LvsDirectorGroup::Status out;
  out.observed_generation = in.Int("observedGeneration", 0, kMaxInt64, 0);
  out.epoch = in.Int("epoch", 0, kMaxInt64, 0);
  in.List("members", 64, [&](Reader& item) {
    out.members.push_back({.node = item.String("node"), .address = item.String("address")});
  });
  out.dataplane = in.OneOf("dataplane", {"IPVS", "eBPF"}, "");
  {
    Reader counts = in.Object("counts");
    out.counts = {.selected = static_cast<int32_t>(counts.Int("selected", 0, kMaxInt32, 0)),
                  .members = static_cast<int32_t>(counts.Int("members", 0, kMaxInt32, 0)),
                  .maintenance = static_cast<int32_t>(counts.Int("maintenance", 0, kMaxInt32, 0)),
                  .services = static_cast<int32_t>(counts.Int("services", 0, kMaxInt32, 0))};
  }
  out.conditions = ReadConditions(in);
  return out;
}

// ---- LVSNode

LvsNode::Status ReadNodeStatus(Reader in) {
  LvsNode::Status out;
  out.agent_version = in.String("agentVersion");
  out.address = in.String("address");
  // Words that a newer agent may have more of are taken as they are.
  out.role = in.String("role");
  out.director_group = in.String("directorGroup");
  out.epoch = in.Int("epoch", 0, kMaxInt64, 0);
  out.dataplane = in.String("dataplane");
  out.answers_for = in.Strings("answersFor", 4096);
  out.programmed_resource_version = in.String("resourceVersion");
  out.services_programmed = static_cast<int32_t>(in.Int("servicesProgrammed", 0, kMaxInt32, 0));
  in.List("services", 100, [&](Reader& item) {
    out.services.push_back({.name_space = item.String("namespace"),
                            .name = item.String("name"),
                            .uid = item.String("uid"),
                            .generation = item.Int("generation", 0, kMaxInt64, 0),
                            .reason = item.String("reason"),
                            .message = item.String("message"),
                            .ready = static_cast<int32_t>(item.Int("ready", 0, kMaxInt32, 0)),
                            .total = static_cast<int32_t>(item.Int("total", 0, kMaxInt32, 0))});
  });
  out.services_omitted = in.Int("servicesOmitted", 0, kMaxInt64, 0);
  {
    Reader can = in.Object("capabilities");
    out.kernel = can.String("kernel");
    out.dataplanes = can.Strings("dataplanes", 8);
    out.schedulers = can.Strings("schedulers", 64);
    out.tunnels = can.Strings("tunnels", 8);
    can.List("interfaces", 64, [&](Reader& item) {
      out.interfaces.push_back({.name = item.String("name"),
                                .mtu = static_cast<int32_t>(item.Int("mtu", 0, kMaxInt32, 0)),
                                .xdp_native = item.String("xdpMode") == "Native",
                                .xdp_reason = item.String("xdpReason")});
    });
  }
  in.List("problems", 32, [&](Reader& item) {
    out.problems.push_back({.check = item.String("check"),
                            .message = item.String("message"),
                            .mend = item.String("mend")});
  });
  in.List("advice", 32, [&](Reader& item) {
    out.advice.push_back({.interface = item.String("interface"),
                          .message = item.String("message"),
                          .mend = item.String("mend")});
  });
  in.Object("summary").String("problems");  // made of the list by its writer
  return out;
}

// ---- Kubernetes' own kinds

template <typename Port>
void ReadPort(Reader& in, std::vector<Port>& out) {
  const std::optional<uint16_t> port = in.OptionalPort("port");
  // A slice's port without a number stands for all ports: nothing that can be balanced to.
  if (!port) return;
  out.push_back({.name = in.String("name"), .protocol = ReadProtocol(in), .port = *port});
}

KubeService ReadKubeService(Reader& in) {
  KubeService out;
  out.meta = ReadMeta(in, true);
  Reader spec = in.Object("spec");
  spec.AllowOthers();
  out.type = spec.String("type", "ClusterIP");
  for (std::string& ip : spec.Strings("clusterIPs", 16)) {
    if (ip != "None") out.cluster_ips.push_back(std::move(ip));
  }
  spec.List("ports", 1000, [&](Reader& item) {
    item.AllowOthers();
    ReadPort(item, out.ports);
  });
  return out;
}

std::string LabelOr(const ObjectMeta& meta, std::string_view key) {
  const auto it = meta.labels.find(std::string(key));
  return it == meta.labels.end() ? "" : it->second;
}

EndpointSlice ReadEndpointSlice(Reader& in) {
  EndpointSlice out;
  out.meta = ReadMeta(in, true);
  out.service_name = LabelOr(out.meta, "kubernetes.io/service-name");
  out.managed_by = LabelOr(out.meta, "endpointslice.kubernetes.io/managed-by");
  const std::string type = in.String("addressType", "IPv4");
  out.family = type == "IPv6" ? Family::kIpv6 : Family::kIpv4;
  in.List("ports", 20000, [&](Reader& item) {
    item.AllowOthers();
    ReadPort(item, out.ports);
  });
  in.List("endpoints", 20000, [&](Reader& item) {
    item.AllowOthers();
    EndpointSlice::Endpoint endpoint;
    endpoint.addresses = item.Strings("addresses", 100);
    Reader conditions = item.Object("conditions");
    conditions.AllowOthers();
    // The API's rules: an unknown readiness counts as ready, serving follows ready.
    endpoint.ready = conditions.Bool("ready", true);
    endpoint.serving = conditions.Bool("serving", endpoint.ready);
    endpoint.terminating = conditions.Bool("terminating", false);
    endpoint.node_name = item.String("nodeName");
    endpoint.zone = item.String("zone");
    out.endpoints.push_back(std::move(endpoint));
  });
  // Names instead of addresses: nothing that can be balanced to.
  if (type != "IPv4" && type != "IPv6") out.endpoints.clear();
  return out;
}

KubeNode ReadKubeNode(Reader& in) {
  KubeNode out;
  out.meta = ReadMeta(in, false);
  Reader spec = in.Object("spec");
  spec.AllowOthers();
  out.pod_cidrs = spec.Strings("podCIDRs", 16);
  out.unschedulable = spec.Bool("unschedulable", false);
  Reader status = in.Object("status");
  status.AllowOthers();
  status.List("addresses", 1000, [&](Reader& item) {
    item.AllowOthers();
    std::string address = item.String("address");
    if (item.String("type") == "InternalIP") out.internal_addresses.push_back(std::move(address));
  });
  status.List("conditions", 1000, [&](Reader& item) {
    item.AllowOthers();
    if (item.String("type") == "Ready") out.ready = item.String("status") == "True";
  });
  return out;
}

// ---- The frame around each kind

template <typename T, typename F>
absl::StatusOr<T> DecodeObject(const json& object, const kube::Resource& kind, bool strict,
                               F read) {
  ReadError error(strict);
  T out;
  {
    Reader in(&object, "", error);
    const std::string is = in.String("kind", kind.kind);
    const std::string version = in.String("apiVersion", kind.ApiVersion());
    if (is != kind.kind || version != kind.ApiVersion()) {
      error.Add("", "is a " + version.substr(0, 128) + " " + is.substr(0, 128));
    }
    out = read(in);
  }
  if (error.ok()) return out;
  std::string message = std::string(kind.kind);
  if (!out.meta.name.empty()) message += " " + out.meta.Key();
  message += ": " + error.message();
  return absl::InvalidArgumentError(message);
}

}  // namespace

absl::StatusOr<LvsService> DecodeLvsService(const json& object, const DecodeOptions& options) {
  return DecodeObject<LvsService>(object, kLvsServices, options.strict, [](Reader& in) {
    return LvsService{.meta = ReadMeta(in, true),
                      .spec = ReadServiceSpec(in.Object("spec")),
                      .status = ReadServiceStatus(in.Object("status"))};
  });
}

absl::StatusOr<LvsAddressPool> DecodeLvsAddressPool(const json& object,
                                                    const DecodeOptions& options) {
  return DecodeObject<LvsAddressPool>(object, kLvsAddressPools, options.strict, [](Reader& in) {
    return LvsAddressPool{.meta = ReadMeta(in, false),
                          .spec = ReadPoolSpec(in.Object("spec")),
                          .status = ReadPoolStatus(in.Object("status"))};
  });
}

absl::StatusOr<LvsDirectorGroup> DecodeLvsDirectorGroup(const json& object,
                                                        const DecodeOptions& options) {
  return DecodeObject<LvsDirectorGroup>(object, kLvsDirectorGroups, options.strict, [](Reader& in) {
    return LvsDirectorGroup{.meta = ReadMeta(in, false),
                            .spec = ReadGroupSpec(in.Object("spec")),
                            .status = ReadGroupStatus(in.Object("status"))};
  });
}

absl::StatusOr<LvsNode> DecodeLvsNode(const json& object, const DecodeOptions& options) {
  return DecodeObject<LvsNode>(object, kLvsNodes, options.strict, [](Reader& in) {
    return LvsNode{.meta = ReadMeta(in, false), .status = ReadNodeStatus(in.Object("status"))};
  });
}

absl::StatusOr<KubeService> DecodeKubeService(const json& object, const DecodeOptions&) {
  return DecodeObject<KubeService>(object, kube::kServices, false, ReadKubeService);
}

absl::StatusOr<EndpointSlice> DecodeEndpointSlice(const json& object, const DecodeOptions&) {
  return DecodeObject<EndpointSlice>(object, kube::kEndpointSlices, false, ReadEndpointSlice);
}

absl::StatusOr<KubeNode> DecodeKubeNode(const json& object, const DecodeOptions&) {
  return DecodeObject<KubeNode>(object, kube::kNodes, false, ReadKubeNode);
}

absl::StatusOr<KubeNamespace> DecodeKubeNamespace(const json& object, const DecodeOptions&) {
  return DecodeObject<KubeNamespace>(object, kube::kNamespaces, false, [](Reader& in) {
    return KubeNamespace{.meta = ReadMeta(in, false)};
  });
}

absl::StatusOr<KubeServiceCidr> DecodeKubeServiceCidr(const json& object, const DecodeOptions&) {
  return DecodeObject<KubeServiceCidr>(object, kube::kServiceCidrs, false, [](Reader& in) {
    return KubeServiceCidr{.meta = ReadMeta(in, false),
                           .cidrs = in.Object("spec").Strings("cidrs", 16)};
  });
}

absl::StatusOr<AnyObject> DecodeAny(const json& object, const DecodeOptions& options) {
  ReadError error(false);
  Reader in(&object, "", error);
  const std::string version = in.String("apiVersion");
  const std::string kind = in.String("kind");
  if (!error.ok()) return absl::InvalidArgumentError(error.message());
  if (version.empty() || kind.empty()) {
    return absl::InvalidArgumentError("an object must have apiVersion and kind");
  }
  const auto is = [&](const kube::Resource& resource) {
    return kind == resource.kind && version == resource.ApiVersion();
  };
  if (is(kLvsServices)) return DecodeLvsService(object, options);
  if (is(kLvsAddressPools)) return DecodeLvsAddressPool(object, options);
  if (is(kLvsDirectorGroups)) return DecodeLvsDirectorGroup(object, options);
  if (is(kLvsNodes)) return DecodeLvsNode(object, options);
  if (is(kube::kServices)) return DecodeKubeService(object, options);
  if (is(kube::kEndpointSlices)) return DecodeEndpointSlice(object, options);
  if (is(kube::kNodes)) return DecodeKubeNode(object, options);
  if (is(kube::kNamespaces)) return DecodeKubeNamespace(object, options);
  if (is(kube::kServiceCidrs)) return DecodeKubeServiceCidr(object, options);
  const std::string what = version.substr(0, 128) + " " + kind.substr(0, 128);
  return absl::NotFoundError("kube-lvs does not use objects of " + what);
}

}  // namespace kube_lvs::api
