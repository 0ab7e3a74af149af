// What this node holds as a real server, by what its kernel says: for the directors that ask. Pure.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "dataplane/model/state.h"
#include "node-agent/facts/facts.h"
#include "node-agent/peers/setup.h"

namespace kube_lvs {

// The node items that each set-up of a real server is made of.
using NeededSetups = std::map<VipSetup, std::set<NodeItem>>;

// `there`: the items that were read back. A VIP that somebody else put on a loopback interface
// counts. `why_missing` may know why an item could not be set up; empty if not.
HeldSetups HeldSetupsOf(const NeededSetups& needed, const std::set<NodeItem>& there,
                        const NodeFacts& facts,
                        const std::function<std::string(const NodeItem&)>& why_missing);

}  // namespace kube_lvs
