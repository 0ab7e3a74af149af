#include "node-agent/desired/vip_owners.h"

#include <utility>

namespace kube_lvs {

void VipOwners::Add(const Cidr& vips, const std::string& service) {
  (vips.IsHost() ? hosts_ : prefixes_).emplace(vips, service);
}

std::string VipOwners::Conflict(const Cidr& vips, const std::string& service) const {
  const auto text = [&](const std::pair<const Cidr, std::string>& other) {
    return vips.ShortText() + " overlaps " + other.first.ShortText() +
           (other.second == service ? "" : " of LVSService " + other.second) + "; take another VIP";
  };
  for (const auto& other : prefixes_) {
    if (other.first != vips && other.first.Overlaps(vips)) return text(other);
  }
  if (vips.IsHost()) return "";
  const auto host = hosts_.lower_bound(Cidr{vips.address, 0});
  return host != hosts_.end() && vips.Contains(host->first) ? text(*host) : "";
}

}  // namespace kube_lvs
