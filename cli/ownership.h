// What to say before somebody changes by hand what the agent owns. Pure.
#pragma once

#include <string>

#include "cli/request.h"
#include "dataplane/ipvs/journal.h"

namespace kube_lvs::cli {

// Nothing to say: empty. Also of what is not there yet: the agent takes a service that it wants for
// another owner's then, and leaves it alone.
std::string OwnershipWarning(const Request& request, const ipvs::Claims& claims);

}  // namespace kube_lvs::cli
