#include "operator/pools.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/status.h"
#include "kube/api/pools.h"
#include "kube/api/validate.h"
#include "operator/conditions.h"

namespace kube_lvs::controller {
namespace {

bool Overlaps(const std::vector<Cidr>& cidrs, const Cidr& other) {
  return std::ranges::any_of(cidrs, [&](const Cidr& cidr) { return api::Overlap(cidr, other); });
}

// Leaves out what Nodes have.
absl::Status LeaveOutNodes(const api::LvsAddressPool& pool,
                           const std::vector<const ClusterNetwork*>& nodes, PoolView& view) {
  constexpr size_t kMostNamed = 3;
  api::LvsAddressPool::Spec spec = pool.spec;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const std::string address = nodes[i]->cidr.address.ToString();
    spec.excluded_addresses.push_back(address);
    if (i >= kMostNamed) continue;
    view.except += (i == 0 ? "" : "; ") + address + ", " + nodes[i]->what;
  }
  if (nodes.size() > kMostNamed) {
    view.except += "; and " + std::to_string(nodes.size() - kMostNamed) + " more";
  }
  KUBE_LVS_ASSIGN_OR_RETURN(view.cidrs, api::PoolCidrs(spec));
  return absl::OkStatus();
}

void GrantNothing(PoolView& view, const char* reason, std::string why_not) {
  view.cidrs.clear();
  view.reason = reason;
  view.why_not = std::move(why_not);
}

}  // namespace

std::vector<PoolView> ViewPools(const PoolMap& pools, const std::vector<ClusterNetwork>& cluster) {
  std::vector<const api::LvsAddressPool*> by_age;
  for (const auto& [name, pool] : pools) by_age.push_back(pool.get());
  std::ranges::stable_sort(by_age, {}, [](const api::LvsAddressPool* pool) {
    return std::tie(pool->meta.creation_timestamp, pool->meta.name);
  });
  std::vector<PoolView> out;
  for (const api::LvsAddressPool* pool : by_age) {
    PoolView view{.name = pool->meta.name,
                  .automatic = pool->spec.automatic,
                  .priority = pool->spec.priority,
                  .namespace_selector = pool->spec.namespace_selector};
    const std::vector<api::Problem> problems = api::Validate(*pool);
    const absl::StatusOr<std::vector<Cidr>> cidrs = api::PoolCidrs(pool->spec);
    if (!problems.empty() || !cidrs.ok()) {
      GrantNothing(view, api::kInvalidSpec,
                   problems.empty() ? Message(cidrs.status()) : JoinMessages(problems));
      out.push_back(std::move(view));
      continue;
    }
    view.cidrs = *cidrs;
    std::vector<const ClusterNetwork*> nodes;
    for (const ClusterNetwork& network : cluster) {
      if (!Overlaps(view.cidrs, network.cidr)) continue;
      if (network.node_address) {
        nodes.push_back(&network);
        continue;
      }
      GrantNothing(view, "OverlapsCluster",
                   "overlaps " + network.cidr.ToString() + ", " + network.what +
                       ": exclude it with excludedAddresses");
      break;
    }
    if (!nodes.empty() && !view.cidrs.empty()) {
      if (const absl::Status left = LeaveOutNodes(*pool, nodes, view); !left.ok()) {
        GrantNothing(view, api::kInvalidSpec, Message(left));
      } else if (view.cidrs.empty()) {
        GrantNothing(view, "OverlapsCluster", "Nodes have all its addresses: " + view.except);
      }
    }
    for (const PoolView& older : out) {
      const auto shared = std::ranges::find_if(
          older.cidrs, [&](const Cidr& cidr) { return Overlaps(view.cidrs, cidr); });
      if (shared == older.cidrs.end()) continue;
      GrantNothing(
          view, "OverlapsPool",
          "overlaps LVSAddressPool " + older.name + ", which is older, at " + shared->ToString());
      break;
    }
    out.push_back(std::move(view));
  }
  std::ranges::sort(out, [](const PoolView& a, const PoolView& b) {
    return std::tie(b.priority, a.name) < std::tie(a.priority, b.name);
  });
  return out;
}

api::LvsAddressPool::Status ComputePoolStatus(const api::LvsAddressPool& pool, const PoolView& view,
                                              const std::vector<Cidr>& held,
                                              const std::string& now) {
  api::LvsAddressPool::Status out;
  out.observed_generation = pool.meta.generation;
  std::vector<Cidr> cidrs = view.cidrs;
  int64_t left_over_ipv4 = 0, left_over_ipv6 = 0;
  for (const Cidr& vips : held) {
    const bool v4 = vips.address.IsV4();
    const int64_t count = api::CountAddresses({vips}, vips.address.family);
    (v4 ? out.allocated_ipv4 : out.allocated_ipv6) += count;
    if (api::Contains(view.cidrs, vips)) continue;
    std::vector<Cidr> granted;
    std::ranges::copy_if(view.cidrs, std::back_inserter(granted),
                         [&](const Cidr& cidr) { return vips.Contains(cidr); });
    (v4 ? left_over_ipv4 : left_over_ipv6) +=
        count - api::CountAddresses(granted, vips.address.family);
    // The schema's limit; a pool that has lost thousands of VIPs at once lists what fits.
    if (cidrs.size() < 4096) cidrs.push_back(vips);
  }
  std::ranges::sort(cidrs);
  for (const Cidr& cidr : cidrs) out.cidrs.push_back(cidr.ToString());
  out.total_ipv4 = api::CountAddresses(view.cidrs, Family::kIpv4);
  out.total_ipv6 = api::CountAddresses(view.cidrs, Family::kIpv6);
  out.available_ipv4 = std::max<int64_t>(0, out.total_ipv4 - out.allocated_ipv4 + left_over_ipv4);
  out.available_ipv6 = std::max<int64_t>(0, out.total_ipv6 - out.allocated_ipv6 + left_over_ipv6);
  const Verdict verdict =
      view.reason.empty()
          ? Verdict{Truth::kTrue, "Ready",
                    "addresses are granted from it" +
                        (view.except.empty() ? "" : ", but not " + view.except)}
          : Verdict{Truth::kFalse, view.reason, "it grants nothing: " + view.why_not};
  out.conditions = {
      MakeCondition("Ready", verdict, pool.meta.generation, pool.status.conditions, now)};
  return out;
}

}  // namespace kube_lvs::controller
