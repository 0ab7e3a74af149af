#include "operator/leader.h"

#include <array>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.h"
#include "kube/api/decode.h"
#include "kube/api/kinds.h"
#include "operator/unreadable.h"

namespace kube_lvs::controller {

using nlohmann::json;

absl::Status Leader::Start(std::stop_token stop) {
  // Past the cache, which may not yet know the last writes of the leader before us.
  std::vector<api::LvsService> listed;
  const absl::StatusOr<std::string> version = tools_.client.List(
      api::kLvsServices, {},
      [&](const json& object) -> absl::Status {
        absl::StatusOr<api::LvsService> service = api::DecodeLvsService(object);
        if (!service.ok()) service = DecodeStatusOnly(object);
        if (service.ok()) listed.push_back(*std::move(service));
        return absl::OkStatus();
      },
      stop);
  if (!version.ok()) return Annotate(version.status(), "list LVSServices");

  const Cluster& cluster = tools_.cluster;
  const Access access(*this);
  for (const api::LvsService& service : listed) {
    const std::string key = service.meta.Key();
    const auto stored = cluster.services().Get(key);
    const std::string base = stored == nullptr ? "" : stored->meta.resource_version;
    if (base != service.meta.resource_version && !cluster.Unreadable(key)) {
      written_services_.Put(key, base, service);
    }
  }
  const auto groups = cluster.groups().Snapshot();
  const auto slices = cluster.slices().Snapshot();
  memory_.Inherit(std::move(listed), *cluster.lvs_nodes().Snapshot(), tools_.clock.Now());
  for (const auto& [key, slice] : *slices) memory_.SliceChanged(key, slice);
  memory_.NodesChanged(*cluster.nodes().Snapshot(), *cluster.service_cidrs().Snapshot(),
                       *cluster.pools().Snapshot(), *groups);
  memory_.Begin(*groups);
  return absl::OkStatus();
}

absl::StatusOr<bool> Leader::Process(const std::string& key, std::stop_token stop) {
  if (key == kDefaultGroupKey) return ReconcileDefaultGroup(stop);
  const std::optional<Work> work = ParseKey(key);
  if (!work) {
    Tick();
    return false;
  }
  if (work->kind == Kind::kService) return ReconcileService(work->name, stop);
  if (work->kind == Kind::kPool) return ReconcilePool(work->name, stop);
  if (work->kind == Kind::kGroup) return ReconcileGroup(work->name, stop);
  Note(*work);
  return false;
}

// What is only read: others may be due because of it.
void Leader::Note(const Work& work) {
  const Cluster& cluster = tools_.cluster;
  const Access access(*this);
  switch (work.kind) {
    case Kind::kEndpointSlice:
      memory_.SliceChanged(work.name, cluster.slices().Get(work.name));
      break;
    case Kind::kKubeService:
      memory_.KubeServiceChanged(work.name);
      break;
    case Kind::kLvsNode:
      memory_.ReportChanged(work.name, cluster.lvs_nodes().Get(work.name),
                            *cluster.groups().Snapshot());
      break;
    case Kind::kNode:
    case Kind::kServiceCidr:
      memory_.NodesChanged(*cluster.nodes().Snapshot(), *cluster.service_cidrs().Snapshot(),
                           *cluster.pools().Snapshot(), *cluster.groups().Snapshot());
      break;
    case Kind::kNamespace:
      memory_.NamespaceChanged(work.name);
      break;
    case Kind::kService:
    case Kind::kPool:
    case Kind::kGroup:
      break;  // Process looks at these itself
  }
}

void Leader::Tick() {
  const Texts unreadable = tools_.cluster.UnreadableServices();
  const Access access(*this);
  memory_.Tick(unreadable);
  for (const std::string& key : memory_.Holders()) {
    if (!unreadable.contains(key) && tools_.cluster.services().Get(key) == nullptr &&
        !written_services_.Contains(key)) {
      ForgetService(key);
    }
  }
}

absl::StatusOr<bool> Leader::Apply(const kube::Resource& resource, const kube::ObjectName& object,
                                   const std::string& version, const json& status, json& answer,
                                   std::stop_token stop) {
  if (!tools_.may_write()) return absl::UnavailableError("another replica may lead");
  json body = {{"status", status}};
  // Only this very version: of two leaders, or of an object deleted and made anew, none is harmed.
  body["metadata"]["resourceVersion"] = version;
  const absl::StatusOr<json> applied = tools_.client.Apply(
      resource, object, body,
      {.field_manager = kFieldManager, .force = true, .subresource = "status"}, stop);
  if (absl::IsNotFound(applied.status())) return false;
  if (!applied.ok()) return Annotate(applied.status(), "apply status of " + object.Key());
  answer = *applied;
  return true;
}

std::string Leader::Now() const {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(tools_.clock.Wall());
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace kube_lvs::controller
