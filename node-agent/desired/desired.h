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

struct DesiredOptions {
  // Of services and groups that say Auto and whose group was not resolved (files).
  std::optional<Dataplane> auto_dataplane;
};

struct Desired {
  State state;
  Hold hold;
  std::vector<ServiceProblem> problems;
  std::map<ServiceKey, ServiceOrigin> origins;
  DrainTimeouts drain;
  LingerTimes linger;
  NeededSetups setups;         // of this node as a real server
  std::set<IpAddress> agents;  // addresses of all machines that run an agent
};

// `claims`: the VIPs to answer for now, by the election.
Desired ComputeDesired(const Snapshot& snapshot, const NodeFacts& facts, const Role& role,
                       const std::set<IpAddress>& claims, const DesiredOptions& options);

}  // namespace kube_lvs
