// Whether this node is a director, of which group, with whom and for which VIPs: pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "node-agent/facts/facts.h"
#include "node-agent/peers/election.h"
#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

struct Role {
  // The group that has this node among its members; without one this node directs nothing. If
  // several have it, the older (then the first by name) counts.
  std::shared_ptr<const api::LvsDirectorGroup> group;
  PeerGroup peers;
  std::set<IpAddress> vips;  // of the group's services, for the election
};

// The group as services of it see it; null if there is none. From files a group need not be
// written, and one without status.members has this node as its only member.
std::shared_ptr<const api::LvsDirectorGroup> FindGroup(const std::string& name,
                                                       const Snapshot& snapshot,
                                                       const NodeFacts& facts);

Role FindRole(const Snapshot& snapshot, const NodeFacts& facts);

}  // namespace kube_lvs
