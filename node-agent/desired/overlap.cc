#include "node-agent/desired/overlap.h"

#include <array>

namespace kube_lvs {

Owners::const_iterator FindOverlap(const Owners& owners, const ServiceKey& key) {
  const auto vip = VipOf(key);
  if (!vip.has_value()) return owners.find(key);
  // Keys of a VIP stand together by what they match, single ports in their order.
  const auto* one = std::get_if<Endpoint>(&key.match);
  const auto* range = std::get_if<PortRange>(&key.match);
  const uint16_t first = one != nullptr ? one->port : range != nullptr ? range->first : 0;
  const uint16_t last = one != nullptr ? one->port : range != nullptr ? range->last : UINT16_MAX;
  const std::array<ServiceKey, 4> begins = {{{key.dataplane, Endpoint{*vip, first}, Protocol{}},
                                             {key.dataplane, PortRange{*vip, 0, 0}, Protocol{}},
                                             {key.dataplane, AllPorts{*vip}, Protocol{}},
                                             {key.dataplane, Prefix{{*vip, 0}, 0, 0}, Protocol{}}}};
  for (const ServiceKey& begin : begins) {
    for (auto it = owners.lower_bound(begin); it != owners.end(); ++it) {
      if (it->first.match.index() != begin.match.index() || VipOf(it->first) != vip) break;
      if (Overlap(it->first, key)) return it;
      const auto* theirs = std::get_if<Endpoint>(&it->first.match);
      if (theirs != nullptr && theirs->port > last) break;
    }
  }
  return owners.end();
}

}  // namespace kube_lvs
