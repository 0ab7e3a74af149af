// Which schedulers may be asked for on this node.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace kube_lvs::ipvs {

// OK, or kFailedPrecondition with the mend.
using SchedulerCheck = std::function<absl::Status(const std::string& scheduler)>;

// Refuses lblc and lblcr while their modules are not loaded. The kernel loads a scheduler's module
// with its IPVS mutex held; these two wait in their initialisation for network namespaces that are
// just being removed, and that removal waits for the mutex: IPVS, and the end of every namespace,
// hang until the next boot (seen on 6.12; 6.1 has the same locks). On a node whose pods come and
// go, that is a matter of time. Other schedulers are the kernel's to load.
//
// Looks into /proc/sys of the calling thread's network namespace.
absl::Status CheckSchedulerOfThisNode(const std::string& scheduler);

}  // namespace kube_lvs::ipvs
