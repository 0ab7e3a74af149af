// What the programs counted, over all CPUs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ebpf {

// Of one id of klvs_service_counters or klvs_real_counters.
absl::StatusOr<Counters> ReadCounters(MapStore& maps, std::string_view map, uint32_t id);

// Of the ids below `end`, by id; reading many so costs much less than one by one.
absl::StatusOr<std::vector<Counters>> ReadAllCounters(MapStore& maps, std::string_view map,
                                                      uint32_t end);

// Packets dropped for one reason.
absl::StatusOr<uint64_t> ReadDropsFor(MapStore& maps, uint32_t reason);

// Packets by reason, with zeros.
absl::StatusOr<std::map<std::string, uint64_t>> ReadDrops(MapStore& maps);

}  // namespace kube_lvs::ebpf
