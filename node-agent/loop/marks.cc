#include "node-agent/loop/marks.h"

#include <algorithm>

namespace kube_lvs {

bool NeedsMarks(const State& state) {
  return std::ranges::any_of(state.services, [](const auto& s) {
    return s.first.dataplane == Dataplane::kIpvs && NeedsMark(s.first);
  });
}

std::optional<std::string> ForeignMarks(std::optional<uint64_t> before, uint64_t now) {
  if (!before.has_value()) return std::nullopt;
  // It begins anew where the table that counts was made anew.
  const uint64_t more = now < *before ? now : now - *before;
  if (more == 0) return std::nullopt;
  return std::to_string(more) +
         " packets for port ranges, allPorts or CIDRs came with another program's mark (a "
         "firewall's, "
         "kube-proxy's, a network plugin's), which ours replaced";
}

}  // namespace kube_lvs
