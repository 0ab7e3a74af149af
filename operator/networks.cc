#include "operator/networks.h"

#include <algorithm>

#include "kube/api/pools.h"

namespace kube_lvs::controller {

const ClusterNetwork* NetworkWith(const std::vector<ClusterNetwork>& networks, const Cidr& vips) {
  const auto it = std::ranges::find_if(
      networks, [&](const ClusterNetwork& network) { return network.cidr.Overlaps(vips); });
  return it == networks.end() ? nullptr : &*it;
}

Networks NetworksOf(const NodeMap& nodes, const ServiceCidrs& service_cidrs) {
  Networks out;
  for (const auto& [name, node] : nodes) {
    for (const std::string& text : node->internal_addresses) {
      if (const absl::StatusOr<IpAddress> ip = IpAddress::Parse(text); ip.ok()) {
        out.node_addresses.insert(*ip);
        out.all.push_back(
            {.cidr = Cidr::Host(*ip), .what = "the address of Node " + name, .node_address = true});
      }
    }
    for (const Cidr& cidr : api::ParseCidrs(node->pod_cidrs)) {
      out.all.push_back({.cidr = cidr, .what = "the pods' network of Node " + name});
    }
  }
  for (const auto& [name, object] : service_cidrs) {
    const std::vector<Cidr> cidrs = api::ParseCidrs(object->cidrs);
    if (name == "kubernetes" && !cidrs.empty()) out.default_family = cidrs.front().address.family;
    for (const Cidr& cidr : cidrs) {
      out.service_cidrs.push_back(cidr);
      out.all.push_back({.cidr = cidr, .what = "the Services' network " + name});
    }
  }
  return out;
}

}  // namespace kube_lvs::controller
