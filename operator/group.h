// LVSDirectorGroups: who is a member, and which dataplane they use. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kube/api/types.h"
#include "operator/networks.h"

namespace kube_lvs::controller {

using GroupMap = std::map<std::string, std::shared_ptr<const api::LvsDirectorGroup>, std::less<>>;
using LvsNodeMap = std::map<std::string, std::shared_ptr<const api::LvsNode>, std::less<>>;

struct GroupFacts {
  const api::LvsDirectorGroup& group;
  const GroupMap& groups;  // all of them
  const NodeMap& nodes;
  const LvsNodeMap& lvs_nodes;
  int services = 0;  // of this group
  std::string now;   // RFC 3339
};

// Members: the nodes, ready or not, that the selector names, that no older group names, that have
// an address, and that are not in maintenance; by name, at most 64. The epoch rises when they
// change. The dataplane: the spec's, else what it was before, else, as soon as the agent of one
// member has reported, eBPF if all that have can, else IPVS if all can.
api::LvsDirectorGroup::Status ComputeGroup(const GroupFacts& facts);

// Whether `a` is older than `b`, and so keeps the nodes that both name.
bool Older(const api::LvsDirectorGroup& a, const api::LvsDirectorGroup& b);

}  // namespace kube_lvs::controller
