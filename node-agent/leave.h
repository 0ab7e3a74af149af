// What --cleanup does before it takes anything away.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "node-agent/facts/facts.h"
#include "node-agent/loop/machine.h"
#include "node-agent/peers/link.h"

namespace kube_lvs {

// If this node is a director, by the objects of the agent's last run in `last_good_folder`: says
// farewell to its fellows, so that they take its VIPs now instead of waiting for an agent that
// comes back, and waits for them a short while; shorter where none of them is heard.
absl::Status LeaveFellows(const std::string& last_good_folder, const NodeFacts& facts,
                          Backends backends, PeerLink& link);

}  // namespace kube_lvs
