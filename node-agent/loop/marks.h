// Whether another program marks packets that are ours to mark. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/model/state.h"

namespace kube_lvs {

// Whether a service is there whose packets are marked.
bool NeedsMarks(const State& state);

// What to say of Stats::replaced_marks as it was at the last look (nullopt: there was none) and is
// now; nullopt if no more packets came with another's mark.
std::optional<std::string> ForeignMarks(std::optional<uint64_t> before, uint64_t now);

}  // namespace kube_lvs
