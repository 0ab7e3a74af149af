// Requests upon lvsadm's own eBPF dataplane, with ipvsadm's words for what is refused.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/request.h"
#include "dataplane/ebpf/alone.h"

namespace kube_lvs::cli {

// Whether it needs a dataplane: without one the others find nothing to change.
bool MakesEbpf(Action action);

// Carries out changes in order; one that is refused stops no other. A status each. `alone`: nullptr
// while there is no dataplane, and then none of them is one that makes it.
std::vector<absl::Status> ApplyToEbpf(std::span<const Request> requests, ebpf::Alone* alone);

// For an error: "Service already exists"; what ipvsadm has no words for begins with "lvsadm: ".
std::string RefusedByEbpf(const Request& request, const absl::Status& status, ebpf::Alone* alone);

}  // namespace kube_lvs::cli
