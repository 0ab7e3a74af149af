// The leader looks at one LVSAddressPool: whether it grants, and how much is left.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "kube/api/decode.h"
#include "kube/api/encode.h"
#include "kube/api/kinds.h"
#include "operator/events.h"
#include "operator/leader.h"
#include "operator/pools.h"

namespace kube_lvs::controller {

using nlohmann::json;

absl::StatusOr<bool> Leader::ReconcilePool(const std::string& name, std::stop_token stop) {
  std::shared_ptr<const api::LvsAddressPool> pool;
  api::LvsAddressPool::Status status;
  std::string base;
  {
    const Access access(*this);
    memory_.PoolsChanged(*tools_.cluster.pools().Snapshot());
    const auto stored = tools_.cluster.pools().Get(name);
    pool = written_pools_.Newest(name, stored);
    const auto view = std::ranges::find(memory_.pools(), name, &PoolView::name);
    if (pool == nullptr || view == memory_.pools().end()) {
      tools_.metrics.RemovePool(name);
      return false;
    }
    if (stored != nullptr) base = stored->meta.resource_version;
    status = ComputePoolStatus(*pool, *view, memory_.book().HeldOf(name), Now());
    tools_.metrics.SetPool(name, status);
  }
  if (status == pool->status) return false;
  json answer;
  const absl::StatusOr<bool> written =
      Apply(api::kLvsAddressPools, {"", name}, pool->meta.resource_version,
            api::EncodeStatus(status), answer, stop);
  if (!written.ok() || !*written) return written;
  if (absl::StatusOr<api::LvsAddressPool> after = api::DecodeLvsAddressPool(answer); after.ok()) {
    const Access access(*this);
    written_pools_.Put(name, base, *std::move(after));
  }
  if (std::optional<kube::Event> event = PoolEvent(*pool, status)) {
    tools_.events.Record(*std::move(event));
  }
  return true;
}

}  // namespace kube_lvs::controller
