// The leader looks at one LVSDirectorGroup: its members and its dataplane; and whether there is
// any group.
#include <nlohmann/json.hpp>

#include "kube/api/decode.h"
#include "kube/api/encode.h"
#include "kube/api/kinds.h"
#include "operator/default_group.h"
#include "operator/events.h"
#include "operator/group.h"
#include "operator/leader.h"

namespace kube_lvs::controller {

using nlohmann::json;

absl::StatusOr<bool> Leader::ReconcileGroup(const std::string& name, std::stop_token stop) {
  const Cluster& cluster = tools_.cluster;
  std::shared_ptr<const api::LvsDirectorGroup> group;
  api::LvsDirectorGroup::Status status;
  std::string base;
  {
    const Access access(*this);
    const auto groups = cluster.groups().Snapshot();
    const auto stored = cluster.groups().Get(name);
    group = written_groups_.Newest(name, stored);
    memory_.GroupChanged(name, group, *groups);
    if (group == nullptr) return false;
    if (stored != nullptr) base = stored->meta.resource_version;
    const auto nodes = cluster.nodes().Snapshot();
    const auto lvs_nodes = cluster.lvs_nodes().Snapshot();
    status = ComputeGroup({.group = *group,
                           .groups = *groups,
                           .nodes = *nodes,
                           .lvs_nodes = *lvs_nodes,
                           .services = memory_.ServicesOf(name),
                           .now = Now()});
  }
  if (status == group->status) return false;
  json answer;
  const absl::StatusOr<bool> written =
      Apply(api::kLvsDirectorGroups, {"", name}, group->meta.resource_version,
            api::EncodeStatus(status), answer, stop);
  if (!written.ok() || !*written) return written;
  if (absl::StatusOr<api::LvsDirectorGroup> after = api::DecodeLvsDirectorGroup(answer);
      after.ok()) {
    const Access access(*this);
    written_groups_.Put(name, base, *std::move(after));
  }
  tools_.log.Log(Level::kInfo, "group written",
                 {{"group", name},
                  {"epoch", std::to_string(status.epoch)},
                  {"members", std::to_string(status.members.size())},
                  {"dataplane", status.dataplane}});
  if (std::optional<kube::Event> event = GroupEvent(*group, status)) {
    tools_.events.Record(*std::move(event));
  }
  return true;
}

absl::StatusOr<bool> Leader::ReconcileDefaultGroup(std::stop_token stop) {
  if (!tools_.create_default_group || !tools_.cluster.groups().Snapshot()->empty()) return false;
  if (!tools_.may_write()) return absl::UnavailableError("another replica may lead");
  const absl::StatusOr<bool> created = CreateDefaultGroup(tools_.client, stop);
  if (created.ok() && *created) {
    tools_.log.Log(Level::kInfo, "group created", {{"group", "default"}});
  }
  return created;
}

}  // namespace kube_lvs::controller
