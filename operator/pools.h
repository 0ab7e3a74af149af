// LVSAddressPools: which of them grant addresses, and their status. Pure.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "kube/api/types.h"
#include "operator/networks.h"

namespace kube_lvs::controller {

// A pool as allocation sees it.
struct PoolView {
  std::string name = {};
  std::vector<Cidr> cidrs = {};  // what it grants; empty if it grants nothing
  std::string reason = {};   // why it grants nothing: InvalidSpec, OverlapsCluster, OverlapsPool
  std::string why_not = {};  // the same for people
  std::string except = {};   // for people: addresses that it does not grant, since Nodes have them
  bool automatic = true;
  int32_t priority = 0;
  std::optional<api::LabelSelector> namespace_selector = {};

  bool OpenTo(const std::map<std::string, std::string>& namespace_labels) const {
    return !namespace_selector || namespace_selector->Matches(namespace_labels);
  }
  bool operator==(const PoolView&) const = default;
};

using PoolMap = std::map<std::string, std::shared_ptr<const api::LvsAddressPool>, std::less<>>;

// By priority, highest first, then by name. Of pools that overlap each other the oldest grants. One
// that overlaps a network of the cluster grants nothing; of one that holds Nodes' addresses the
// others are granted, since any Node that joins may bring one.
std::vector<PoolView> ViewPools(const PoolMap& pools, const std::vector<ClusterNetwork>& cluster);

// `held`: what services have of this pool. It stays in status.cidrs even when the
// pool does not grant them (any more), because agents serve no VIP that is in no pool.
api::LvsAddressPool::Status ComputePoolStatus(const api::LvsAddressPool& pool, const PoolView& view,
                                              const std::vector<Cidr>& held,
                                              const std::string& now);

}  // namespace kube_lvs::controller
