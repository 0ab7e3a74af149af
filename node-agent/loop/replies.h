// Real servers whose replies go past this director: nothing else tells of them, connections just
// hang. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "dataplane/model/state.h"
#include "node-agent/desired/desired.h"

namespace kube_lvs {

// Whether there is a real server that must send its replies back through this node: NAT without
// source NAT.
bool NeedsReplies(const State& state);

// Those of them that got many TCP connections, and of which not one packet ever came back; nullopt
// if there are none. One is named, with its LVSService, and the number of the others.
std::optional<std::string> WithoutReplies(const State& state, const Stats& stats,
                                          const std::map<ServiceKey, ServiceOrigin>& origins);

}  // namespace kube_lvs
