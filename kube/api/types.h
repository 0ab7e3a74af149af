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
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
  std::optional<uint16_t> end_port;
  std::optional<PortRef> target_port;
  bool operator==(const ServicePort&) const = default;
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
  bool operator==(const BackendSource&) const = default;
};

struct LvsServiceSpec {
  std::string director_group = "default";
  std::vector<AddressRequest> addresses;
  std::vector<ServicePort> ports;
  bool all_ports = false;
  ForwardingMethod method = ForwardingMethod::kNat;
  SourceNatChoice source_nat = SourceNatChoice::kAuto;
  std::string tunnel_type = "IPIP";
  bool mss_clamp = true;
  std::string scheduler = "wrr";
  HashFlags hash;
  std::vector<BackendSource> backends;
  std::optional<Persistence> persistence;
  bool one_packet = false;
  uint32_t drain_timeout_seconds = 300;
  DataplaneChoice dataplane = DataplaneChoice::kAuto;
  bool operator==(const LvsServiceSpec&) const = default;
};

struct AssignedAddress {
  std::string value;
  std::string pool_name;
  Family ip_family = Family::kIpv4;
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
    uint32_t connection_table_size = 262144;
    std::vector<std::string> maintenance_nodes;
    std::vector<std::string> static_allowed_ranges;  // staticBackends.allowedRanges
    bool operator==(const Spec&) const = default;
  } spec;
  struct Status {
    int64_t epoch = 0;
    std::vector<GroupMember> members;
    std::string dataplane;  // "", "IPVS", "eBPF": what Auto was resolved to
    std::vector<Condition> conditions;
    bool operator==(const Status&) const = default;
  } status;
  bool operator==(const LvsDirectorGroup&) const = default;
};

// ---- LVSNode: the agent's report

struct NodeProblem {
  std::string check;    // "RpFilter", "ModuleMissing", ...
  std::string message;  // names the object and the mend
  bool operator==(const NodeProblem&) const = default;
};

// A service that is not as expected on this node.
struct NodeServiceReport {
  std::string name_space, name, uid;
  int64_t generation = 0;
  std::string
      reason;  // a reason of the condition it belongs to: PrerequisiteMissing, Conflict, ...
  std::string message;
  bool operator==(const NodeServiceReport&) const = default;
};

struct LvsNode {
  ObjectMeta meta;
  struct Status {
    std::string kernel;
    std::vector<std::string> dataplanes;            // usable here: "eBPF", "IPVS"
    std::vector<std::string> schedulers;            // of IPVS
    std::map<std::string, std::string> interfaces;  // name -> "XDP native", "tc: <why not XDP>"
    std::vector<NodeProblem> problems;
    std::string director_group;
    std::vector<std::string> answers_for;  // VIPs
    // Objects it has programmed: "ns/name" -> generation would grow with services, so one number:
    // the newest resourceVersion whose objects are all programmed.
    std::string programmed_resource_version;
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

struct KubeNode {
  ObjectMeta meta;
  std::vector<std::string> internal_addresses;
  std::vector<std::string> pod_cidrs;
  bool unschedulable = false;
  bool operator==(const KubeNode&) const = default;
};

struct KubeNamespace {
  ObjectMeta meta;
  bool operator==(const KubeNamespace&) const = default;
};

}  // namespace kube_lvs::api
