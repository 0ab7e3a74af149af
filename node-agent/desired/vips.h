// The VIPs that a service may use here, and those that it must not: pure.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "kube/api/types.h"
#include "kube/api/validate.h"
#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

// Reasons beside those of kube/api/validate.h.
inline constexpr char kNotPermitted[] = "NotPermitted";
inline constexpr char kAddressConflict[] = "AddressConflict";
inline constexpr char kPrerequisiteMissing[] = "PrerequisiteMissing";
inline constexpr char kRealServerNotReady[] = "RealServerNotReady";

struct VipsOfService {
  // Single addresses and, of type CIDR, prefixes.
  std::vector<Cidr> vips;  // to program
  std::vector<Cidr> held;  // not permitted (any more): what is there stays as it is
  std::vector<api::Problem> problems;
};

// In Kubernetes: status.addresses, which the operator assigned, each of which must lie in its
// pool's status.cidrs. From files: spec.addresses, of types IP and CIDR. None yet is no problem.
VipsOfService FindVips(const api::LvsService& service, const Snapshot& snapshot);

// Every VIP of every service, permitted or not: no real server may be one of them.
std::set<Cidr> AllVips(const Snapshot& snapshot);

}  // namespace kube_lvs
