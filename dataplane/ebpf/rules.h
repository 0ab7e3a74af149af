// The rules in the maps as a reader sees them that owns nothing and writes nothing: lvsadm, beside
// a running agent.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ebpf {

struct ReadReal {
  RealServer real;
  RealServerStats stats;
};

struct ReadService {
  ServiceKey key;
  ServiceConfig config;
  Counters counters;
  std::vector<ReadReal> reals;  // in the order of the model
};

using Rules = std::vector<ReadService>;  // by key

// Counters cost the kernel more than all else: without them they are 0.
enum class Content { kRules, kAll };

// A service that is being replaced meanwhile is shown as before or as after. kDataLoss: the maps
// contradict themselves.
absl::StatusOr<Rules> ReadRules(MapStore& maps, Content content);

ServiceTable ServicesOf(const Rules& rules);

}  // namespace kube_lvs::ebpf
