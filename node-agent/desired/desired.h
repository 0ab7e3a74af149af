// What this node should hold: from the objects, the node's facts and the VIPs it answers for. Pure.
//
// Two roles, which a node may have both at once. Director: a member of a director group holds every
// service of it. Real server: whose address is a real server of a DirectRouting or Tunnel service
// takes its VIP, silently. A service that is wrong is reported and left as the kernel has it; the
// others do not notice.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/model/state.h"
#include "dataplane/plan/drain.h"
#include "kube/api/validate.h"
#include "node-agent/desired/held_setups.h"
#include "node-agent/desired/hold.h"
#include "node-agent/desired/linger.h"
#include "node-agent/desired/role.h"
#include "node-agent/facts/facts.h"
#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

// A service that is not as its user wants it, on this node.
struct ServiceProblem {
  std::string name_space, name, uid;
  int64_t generation = 0;
  std::string reason, message;
  bool operator==(const ServiceProblem&) const = default;
};

// Which object a rule comes from: for metrics and reports.
struct ServiceOrigin {
  std::string name_space, name, uid;
  int64_t generation = 0;
  bool operator==(const ServiceOrigin&) const = default;
};

using Owners = std::map<ServiceKey, ServiceOrigin>;

struct DesiredOptions {
  // Of services and groups that say Auto and whose group was not resolved (files).
  std::optional<Dataplane> auto_dataplane;
};

struct Desired {
  State state;
  Hold hold;
  std::vector<ServiceProblem> problems;
  std::map<std::string, std::string>
      node_problems;           // by check: what this node as a whole cannot do
  std::set<IpAddress> unable;  // VIPs that this node, but perhaps not its fellows, cannot serve
  Owners origins;
  DrainTimeouts drain;
  LingerTimes linger;
  NeededSetups setups;         // of this node as a real server
  std::set<IpAddress> agents;  // addresses of all machines that run an agent
};

// `claims`: the VIPs to answer for now, by the election; a prefix goes by its first address, as in
// `unable` and `hold`.
Desired ComputeDesired(const Snapshot& snapshot, const NodeFacts& facts, const Role& role,
                       const std::set<IpAddress>& claims, const DesiredOptions& options);

// What the rules of one service depend on beside its own objects.
struct Surroundings {
  std::set<IpAddress> node_addresses;  // of all Nodes
  std::set<IpAddress> vips;            // single ones, of all services
  std::vector<Cidr> vip_prefixes;      // of all services
  std::set<IpAddress> own_addresses;
  std::vector<Cidr> service_cidrs;
  std::map<IpAddress, std::string> taken;  // no VIPs, and why: who answers for one cuts others off
};

Surroundings FindSurroundings(const Snapshot& snapshot, const NodeFacts& facts);

// The rules of some services after a change that touched only them (see ServicesTouched).
struct TouchedRules {
  ServiceTable services;
  DrainTimeouts drain;
};

// nullopt: the change has consequences beyond those rules (a service is or was at fault, other
// node items are needed), so that ComputeDesired must look at everything. `around` and `owners` are
// those of `before`, which must differ from `after` in nothing but what ServicesTouched allows.
std::optional<TouchedRules> ComputeTouched(const std::set<std::string>& touched,
                                           const Snapshot& before, const Snapshot& after,
                                           const NodeFacts& facts, const Role& role,
                                           const Surroundings& around, const Owners& owners,
                                           const DesiredOptions& options);

}  // namespace kube_lvs
