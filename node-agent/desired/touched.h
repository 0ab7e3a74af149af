// Which services a change of the objects touches, so that not all need to be looked at. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

// Keys ("namespace/name") of the LVSServices whose real servers or settings may differ between the
// two snapshots. nullopt: something else changed too (which services, VIPs or ports there are, how
// they are forwarded, groups, pools, nodes), so that anything may differ. Between two moments of
// kube::Stores that see ServicesOf a few changed objects cost nothing more; else it walks over the
// maps, and compares pointers first.
std::optional<std::set<std::string>> ServicesTouched(const Snapshot& before, const Snapshot& after);

}  // namespace kube_lvs
