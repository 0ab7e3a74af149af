#include "operator/default_group.h"

#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "kube/api/kinds.h"

namespace kube_lvs::controller {

using nlohmann::json;

absl::StatusOr<bool> CreateDefaultGroup(const kube::Client& client, std::stop_token stop) {
  bool any = false;
  const absl::StatusOr<std::string> version = client.List(
      api::kLvsDirectorGroups, {},
      [&any](const json&) {
        any = true;
        return absl::OkStatus();
      },
      stop);
  if (!version.ok()) return Annotate(version.status(), "list LVSDirectorGroups");
  if (any) return false;
  const json group = {{"apiVersion", api::kApiVersion},
                      {"kind", api::kLvsDirectorGroups.kind},
                      {"metadata", {{"name", "default"}}},
                      {"spec", json::object()}};
  const absl::StatusOr<json> created = client.Create(api::kLvsDirectorGroups, "", group,
                                                     {.field_manager = "kube-lvs-operator"}, stop);
  if (absl::IsAlreadyExists(created.status())) return false;
  if (!created.ok()) return Annotate(created.status(), "create LVSDirectorGroup default");
  return true;
}

}  // namespace kube_lvs::controller
