#include "node-agent/leave.h"

#include "base/status.h"
#include "node-agent/desired/role.h"
#include "node-agent/sources/last_good.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {
namespace {

constexpr Duration kPatience = std::chrono::seconds(2);

}  // namespace

absl::Status LeaveFellows(const std::string& last_good_folder, const NodeFacts& facts,
                          Backends backends, PeerLink& link) {
  std::vector<SourceProblem> problems;
  const auto objects = LastGood(last_good_folder).Load(problems);
  if (absl::IsNotFound(objects.status())) return absl::OkStatus();  // no agent ever ran here
  KUBE_LVS_RETURN_IF_ERROR(objects.status());
  Snapshot snapshot = SnapshotOf(*objects);
  snapshot.kubernetes = true;  // a group that names no members has no fellows
  const Role role = FindRole(snapshot, facts);
  if (role.peers.members.size() < 2) return absl::OkStatus();
  std::set<IpAddress> vips;
  for (const NodeItem& item : ReadAll(backends).state.items) {
    if (const auto* answer = std::get_if<AnsweredVip>(&item)) vips.insert(answer->vip);
  }
  return link.Leave(role.peers, vips, kPatience);
}

}  // namespace kube_lvs
