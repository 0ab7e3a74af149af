// The counters and rates that the kernel tells of services and real servers. Pure.
#pragma once

#include "absl/status/statusor.h"
#include "dataplane/ipvs/attributes.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ipvs {

struct Statistics {
  Counters counters;
  Rates rates;
  bool operator==(const Statistics&) const = default;
};

// `nested`: inside of an attribute STATS64 (`wide`: every number has 64 bits; since Linux 4.1) or
// STATS (packets, connections and rates have 32, and wrap). Numbers that are not there are 0.
absl::StatusOr<Statistics> DecodeStatistics(ByteView nested, bool wide);

}  // namespace kube_lvs::ipvs
