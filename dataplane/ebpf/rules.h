// The rules in the maps as a reader sees them that owns nothing and writes nothing: lvsadm, beside
// a running agent.
#pragma once

#include "absl/status/statusor.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ebpf {

struct Rules {
  ServiceTable services;
  Stats stats;
};

// A service that is being replaced meanwhile is shown as before or as after. kDataLoss: the maps
// contradict themselves.
absl::StatusOr<Rules> ReadRules(MapStore& maps);

}  // namespace kube_lvs::ebpf
