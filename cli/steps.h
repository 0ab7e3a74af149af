// Requests as steps for the eBPF dataplane. Pure.
#pragma once

#include "absl/status/statusor.h"
#include "cli/request.h"
#include "dataplane/model/step.h"

namespace kube_lvs::cli {

// The service that a request names, in the eBPF dataplane.
ServiceKey EbpfKeyOf(const ServiceArgument& service);

// Of a request that adds, changes or removes a service or a real server. kUnimplemented: the model
// has no such thing; whether the dataplane has it, it says itself.
absl::StatusOr<Step> StepOf(const Request& request);

}  // namespace kube_lvs::cli
