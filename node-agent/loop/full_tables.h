// Connections that found no room in the eBPF dataplane: clients see only that nothing answers.
// Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace kube_lvs {

// What to say, by check, of the packets dropped by reason (Stats::drops) as they were at the last
// look (nullopt: there was none) and are now; nothing of what did not grow.
std::map<std::string, std::string> FullTables(
    const std::optional<std::map<std::string, uint64_t>>& before,
    const std::map<std::string, uint64_t>& now);

}  // namespace kube_lvs
