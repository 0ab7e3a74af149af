// The addresses and networks that belong to the cluster itself. Pure.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "kube/api/types.h"

namespace kube_lvs::controller {

// A network of the cluster, in which no VIP may be.
struct ClusterNetwork {
  Cidr cidr = {};
  std::string what = {};      // "the address of Node a", "the Services' network kubernetes"
  bool node_address = false;  // one address, which a Node has
  bool operator==(const ClusterNetwork&) const = default;
};

struct Networks {
  std::vector<ClusterNetwork> all = {};
  std::set<IpAddress> node_addresses = {};
  std::vector<Cidr> service_cidrs = {};
  // Of services that do not say: that of the cluster's first Service CIDR.
  Family default_family = Family::kIpv4;
  bool operator==(const Networks&) const = default;
};

using NodeMap = std::map<std::string, std::shared_ptr<const api::KubeNode>, std::less<>>;
using ServiceCidrs =
    std::map<std::string, std::shared_ptr<const api::KubeServiceCidr>, std::less<>>;

// The first that overlaps `vips`; nullptr if none does.
const ClusterNetwork* NetworkWith(const std::vector<ClusterNetwork>& networks, const Cidr& vips);

Networks NetworksOf(const NodeMap& nodes, const ServiceCidrs& service_cidrs);

}  // namespace kube_lvs::controller
