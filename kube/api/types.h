// The objects that kube-lvs reads from the API (or from files), as structs of the fields it uses.
// Field for field what docs/api.md says; defaults here are the CRDs' defaults. Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/model/service.h"

namespace kube_lvs::api {

struct ObjectMeta {
  std::string name;
  std::string name_space;  // empty for cluster-scoped kinds
  std::string uid;
  std::string resource_version;
  int64_t generation = 0;
  std::string creation_timestamp;  // RFC 3339, as the API wrote it
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  bool operator==(const ObjectMeta&) const = default;

  // "ns/name", or "name" for cluster-scoped kinds: the key of stores and queues.
  std::string Key() const { return name_space.empty() ? name : name_space + "/" + name; }
};

struct LabelSelector {
  struct Requirement {
    std::string key;
    std::string op;  // In, NotIn, Exists, DoesNotExist
    std::vector<std::string> values;
    bool operator==(const Requirement&) const = default;
  };
  std::map<std::string, std::string> match_labels;
  std::vector<Requirement> match_expressions;
  bool operator==(const LabelSelector&) const = default;

  // An empty selector selects all. An operator that we do not know selects nothing.
  bool Matches(const std::map<std::string, std::string>& labels) const;
};

struct Condition {
  std::string type;
  std::string status = "Unknown";  // True, False, Unknown
  int64_t observed_generation = 0;
  std::string last_transition_time;
  std::string reason;
  std::string message;
  bool operator==(const Condition&) const = default;
};

// A port by number or by name (Kubernetes' IntOrString).
struct PortRef {
  uint16_t number = 0;
  std::string name;
  bool operator==(const PortRef&) const = default;
};

enum class DataplaneChoice { kAuto, kIpvs, kEbpf };
enum class SourceNatChoice { kAuto, kEnabled, kDisabled };

// ---- LVSService

struct AddressRequest {
  enum class Type { kPool, kIp, kCidr };
  Type type = Type::kPool;
  std::string pool_name;            // kPool; empty: any pool open to the namespace
  std::optional<Family> ip_family;  // kPool
  std::string value;                // kIp, kCidr
  bool operator==(const AddressRequest&) const = default;
};

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::kTcp;  // of all ports, no meaning
  uint16_t port = 0;                   // 0: all ports (allPorts: Enabled); never in a spec
  std::optional<uint16_t> end_port;    // of a range that begins at port
  std::optional<PortRef> target_port;
  bool operator==(const ServicePort&) const = default;
  // Real servers of a range, or of all ports, get each packet at the port that it was sent to.
  bool KeepsPorts() const { return end_port.has_value() || port == 0; }
};

struct StaticBackend {
  std::string address;
  std::optional<uint16_t> port;
  std::optional<uint32_t> weight;
  std::optional<ForwardingMethod> method;
  uint32_t upper_threshold = 0;
  uint32_t lower_threshold = 0;
  bool operator==(const StaticBackend&) const = default;
};

struct BackendSource {
  std::string name;
  uint32_t weight = 1;                    // of each real server
  std::string service_name;               // serviceRef.name; empty if not that kind
  std::optional<LabelSelector> selector;  // refused for now
  std::vector<StaticBackend> static_reals;
  bool is_static = false;  // `static` is there, even if the list is empty
  bool operator==(const BackendSource&) const = default;
};

struct HealthCheck {
  std::string type;  // TCP HTTP HTTPS GRPC DNS UDP ICMP None
  std::string via = "Direct";
  std::optional<uint16_t> port;
  uint32_t interval_seconds = 5;
  uint32_t timeout_seconds = 2;
  uint32_t failure_threshold = 3;
  uint32_t success_threshold = 2;
  struct Http {
    std::string host;
    std::string path = "/";
    std::vector<std::string> expected_statuses = {"200-399"};
    bool operator==(const Http&) const = default;
  };
  std::optional<Http> http;
  bool operator==(const HealthCheck&) const = default;
};

struct Availability {
  uint32_t quorum = 1;
  uint32_t hysteresis = 0;
  std::string real_server_failure_policy = "Quiesce";
  std::string on_quorum_lost = "KeepLast";
  struct SorryServer {
    std::string address;
    std::optional<uint16_t> port;
    bool operator==(const SorryServer&) const = default;
  };
  std::optional<SorryServer> sorry_server;
  bool operator==(const Availability&) const = default;
};

// What a service asks of persistence. dataplane's Persistence has one prefix length: that of the
// VIP's family.
struct PersistenceRequest {
  std::string engine = "SourceAddress";  // or SIP
  uint32_t timeout_seconds = 360;
  int prefix_length_ipv4 = 32;
  int prefix_length_ipv6 = 128;
  bool operator==(const PersistenceRequest&) const = default;
};

// Fields that no dataplane implements yet are kept too, so that validate.h can refuse them.
struct LvsServiceSpec {
  std::string director_group = "default";
  std::string ip_family_policy = "SingleStack";
  std::vector<AddressRequest> addresses;
  std::vector<ServicePort> ports;
  bool all_ports = false;
  ForwardingMethod method = ForwardingMethod::kNat;
  SourceNatChoice source_nat = SourceNatChoice::kAuto;
  std::string tunnel_type = "IPIP";
  std::optional<uint16_t> tunnel_port;
  bool mss_clamp = true;
  std::string fallback = "None";
  std::string scheduler = "wrr";
  HashFlags hash;
  uint32_t slow_start_seconds = 0;
  std::vector<BackendSource> backends;
  std::optional<PersistenceRequest> persistence;
  bool one_packet = false;
  std::optional<HealthCheck> health_check;
  Availability availability;
  uint32_t drain_timeout_seconds = 300;
  std::vector<std::string> allowed_source_ranges;  // access; empty: everybody
  std::string icmp_echo;                           // access; "": as the dataplane does
  std::string topology_prefer;                     // "": all alike
  DataplaneChoice dataplane = DataplaneChoice::kAuto;
  bool operator==(const LvsServiceSpec&) const = default;
};

struct AssignedAddress {
  std::string value;  // an address, or a CIDR
  std::string pool_name;
  Family ip_family = Family::kIpv4;
  bool IsCidr() const { return value.find('/') != std::string::npos; }
  bool operator==(const AssignedAddress&) const = default;
};

struct DirectorStatus {
  std::string node;
  std::string role;  // Active, Standby
  bool operator==(const DirectorStatus&) const = default;
};

struct LvsServiceStatus {
  int64_t observed_generation = 0;
  std::vector<AssignedAddress> addresses;
  struct Effective {
    std::string method, source_nat, dataplane;
    bool fallback_used = false;
    bool operator==(const Effective&) const = default;
  } effective;
  std::vector<DirectorStatus> directors;
  struct Summary {
    std::string addresses, ports, real_servers, directors;
    bool operator==(const Summary&) const = default;
  } summary;
  std::vector<Condition> conditions;
  bool operator==(const LvsServiceStatus&) const = default;
};

struct LvsService {
  ObjectMeta meta;
  LvsServiceSpec spec;
  LvsServiceStatus status;
  bool operator==(const LvsService&) const = default;
};

// ---- LVSAddressPool

struct LvsAddressPool {
  ObjectMeta meta;
  struct Spec {
    std::vector<std::string> addresses;  // CIDR or FROM-TO
    std::vector<std::string> excluded_addresses;
    bool automatic = true;  // allocation
    int32_t priority = 0;
    std::optional<LabelSelector> namespace_selector;  // absent: all namespaces
    bool operator==(const Spec&) const = default;
  } spec;
  struct Status {
    int64_t observed_generation = 0;
    std::vector<std::string> cidrs;  // ranges split, exclusions removed
    int64_t total_ipv4 = 0, allocated_ipv4 = 0, available_ipv4 = 0;
    int64_t total_ipv6 = 0, allocated_ipv6 = 0, available_ipv6 = 0;
    std::vector<Condition> conditions;
    bool operator==(const Status&) const = default;
  } status;
  bool operator==(const LvsAddressPool&) const = default;
};

// ---- LVSDirectorGroup

struct GroupMember {
  std::string node;
  std::string address;  // where its agent hears heartbeats: the node's address
  bool operator==(const GroupMember&) const = default;
};

struct LvsDirectorGroup {
  ObjectMeta meta;
  struct Spec {
    LabelSelector node_selector;
    std::vector<std::string> interfaces;  // names or globs; empty: the one with the default route
    DataplaneChoice dataplane = DataplaneChoice::kAuto;
    bool layer2 = true;  // announcement.type Layer2, else None
    int32_t heartbeat_milliseconds = 100;
    int32_t missed_heartbeats = 3;
    uint32_t connection_table_size = 1048576;
    std::vector<std::string> maintenance_nodes;
    std::vector<std::string> static_allowed_ranges;  // staticBackends.allowedRanges
    bool connection_sync = false;
    struct Timeouts {
      std::optional<uint32_t> tcp_seconds, tcp_fin_seconds, udp_seconds;
      bool operator==(const Timeouts&) const = default;
    };
    std::optional<Timeouts> timeouts;
    bool operator==(const Spec&) const = default;
  } spec;
  struct Status {
    int64_t observed_generation = 0;
    int64_t epoch = 0;  // rises with every change of members
    std::vector<GroupMember> members;
    std::string dataplane;  // "", "IPVS", "eBPF": what Auto was resolved to
    struct Counts {
      int32_t selected = 0, members = 0, maintenance = 0, services = 0;
      bool operator==(const Counts&) const = default;
    } counts;
    std::vector<Condition> conditions;
    bool operator==(const Status&) const = default;
  } status;
  bool operator==(const LvsDirectorGroup&) const = default;
};

// ---- LVSNode: the agent's report

struct NodeProblem {
  std::string check;    // "RpFilter", "ModuleMissing", ...; one entry a check
  std::string message;  // names the object
  std::string mend;     // what to do about it
  bool operator==(const NodeProblem&) const = default;
};

// What could be set better on a network card. No problem.
struct NodeAdvice {
  std::string interface;
  std::string message;  // what, and why
  std::string mend;     // a command
  bool operator==(const NodeAdvice&) const = default;
};

// A service that is not as expected on this node.
struct NodeServiceReport {
  std::string name_space, name, uid;
  int64_t generation = 0;
  // A reason of the condition it belongs to: PrerequisiteMissing, Conflict, Pending, ...
  std::string reason;
  std::string message;
  int32_t ready = 0, total = 0;  // real servers
  bool operator==(const NodeServiceReport&) const = default;
};

struct NodeInterface {
  std::string name;
  int32_t mtu = 0;
  bool xdp_native = false;  // else tc
  std::string xdp_reason;   // why tc
  bool operator==(const NodeInterface&) const = default;
};

struct LvsNode {
  ObjectMeta meta;
  struct Status {
    std::string agent_version;
    std::string address;  // DIP of a director, RIP of a real server
    std::string role;     // Director, RealServer, DirectorAndRealServer, None; "": not said
    std::string kernel;
    std::vector<std::string> dataplanes;  // usable here: "eBPF", "IPVS"
    std::vector<std::string> schedulers;  // of the dataplane in use
    std::vector<std::string> tunnels;     // "IPIP"
    std::vector<NodeInterface> interfaces;
    std::vector<NodeProblem> problems;
    std::vector<NodeAdvice> advice;
    std::string director_group;
    int64_t epoch = 0;                     // of the members that it follows
    std::string dataplane;                 // in use: "IPVS", "eBPF", ""
    std::vector<std::string> answers_for;  // VIPs
    // Objects it has programmed: "ns/name" -> generation would grow with services, so one number:
    // the newest resourceVersion whose objects are all programmed.
    std::string programmed_resource_version;
    int32_t services_programmed = 0;
    std::vector<NodeServiceReport> services;  // only those not as expected, at most 100
    int64_t services_omitted = 0;
    bool operator==(const Status&) const = default;
  } status;
  bool operator==(const LvsNode&) const = default;
};

// ---- Kubernetes' own kinds, the fields we use

struct KubeService {
  struct Port {
    std::string name;
    Protocol protocol = Protocol::kTcp;
    uint16_t port = 0;
    bool operator==(const Port&) const = default;
  };
  ObjectMeta meta;
  std::string type = "ClusterIP";
  std::vector<std::string> cluster_ips;  // without "None"
  std::vector<Port> ports;
  bool operator==(const KubeService&) const = default;
};

struct EndpointSlice {
  struct Port {
    std::string name;
    Protocol protocol = Protocol::kTcp;
    uint16_t port = 0;
    bool operator==(const Port&) const = default;
  };
  struct Endpoint {
    std::vector<std::string> addresses;
    bool ready = true, serving = true, terminating = false;
    std::string node_name;
    std::string zone;
    bool operator==(const Endpoint&) const = default;
  };
  ObjectMeta meta;
  std::string service_name;  // label kubernetes.io/service-name
  std::string managed_by;    // label endpointslice.kubernetes.io/managed-by
  Family family = Family::kIpv4;
  std::vector<Port> ports;
  std::vector<Endpoint> endpoints;
  bool operator==(const EndpointSlice&) const = default;
};

// The Services ("namespace/name") of a service's backends, one maybe more than once, and that of a
// slice, if it has one.
std::vector<std::string> ServicesOf(const LvsService& service);
std::vector<std::string> ServicesOf(const EndpointSlice& slice);

struct KubeNode {
  ObjectMeta meta;
  std::vector<std::string> internal_addresses;
  std::vector<std::string> pod_cidrs;
  bool unschedulable = false;
  bool ready = false;  // condition Ready is True
  bool operator==(const KubeNode&) const = default;
};

struct KubeNamespace {
  ObjectMeta meta;
  bool operator==(const KubeNamespace&) const = default;
};

struct KubeServiceCidr {
  ObjectMeta meta;
  std::vector<std::string> cidrs;
  bool operator==(const KubeServiceCidr&) const = default;
};

}  // namespace kube_lvs::api
