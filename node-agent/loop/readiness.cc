#include "node-agent/loop/readiness.h"

#include "node-agent/desired/hold.h"

namespace kube_lvs {

std::set<IpAddress> FailedVips(const State& wanted,
                               const std::map<Subject, Backoff::Failure>& failures) {
  std::set<IpAddress> vips;
  for (const auto& [subject, failure] : failures) {
    std::optional<IpAddress> vip;
    if (const auto* key = std::get_if<ServiceKey>(&subject)) {
      if (wanted.services.contains(*key)) vip = VipOf(*key);
    } else {
      const NodeItem& item = std::get<NodeItem>(subject);
      if (std::holds_alternative<Masquerade>(item) && wanted.items.contains(item)) {
        vip = VipOf(item);
      }
    }
    if (vip.has_value()) vips.insert(*vip);
  }
  return vips;
}

}  // namespace kube_lvs
