// What to say before somebody changes by hand what the agent owns. Pure.
#pragma once

#include <set>
#include <string>

#include "cli/request.h"
#include "dataplane/ipvs/journal.h"

namespace kube_lvs::cli {

// What the agent's journals say is its own in this node's IPVS.
struct Owned {
  ipvs::Claims services;
  std::set<SyncRole> daemons;
  bool timeouts = false;  // one of them, at least
};

// Nothing to say: empty. Also of what is not there yet: the agent takes a service that it wants for
// another owner's then, and leaves it alone.
std::string OwnershipWarning(const Request& request, const Owned& owned);

}  // namespace kube_lvs::cli
