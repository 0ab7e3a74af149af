// The leader looks at one LVSService: its VIP, its real servers, its status.
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "kube/api/decode.h"
#include "kube/api/encode.h"
#include "kube/api/kinds.h"
#include "kube/api/resolve.h"
#include "kube/api/validate.h"
#include "operator/events.h"
#include "operator/leader.h"
#include "operator/status.h"
#include "operator/unreadable.h"

namespace kube_lvs::controller {

using nlohmann::json;

struct Leader::Write {
  std::string base;  // the store's version
  api::LvsService service;
  api::LvsServiceStatus status;
};

std::optional<Allocation> Leader::AllocateFor(const api::LvsService& service) {
  const std::string key = service.meta.Key();
  AllocationRequest request{.key = key,
                            .claim = ClaimOf(service),
                            .requests = service.spec.addresses,
                            .namespace_labels = {},
                            .family = memory_.networks().default_family};
  if (const auto name_space = tools_.cluster.namespaces().Get(service.meta.name_space)) {
    request.namespace_labels = name_space->meta.labels;
  }
  const TimePoint now = tools_.clock.Now();
  Allocation allocation =
      Allocate(request, memory_.pools(), memory_.networks().all, memory_.book(), now);
  memory_.Granted(key, request.claim, allocation, now);
  return allocation;
}

std::optional<Leader::Write> Leader::PlanService(const std::string& key) {
  const Cluster& cluster = tools_.cluster;
  const auto stored = cluster.services().Get(key);
  const auto service = written_services_.Newest(key, stored);
  if (service == nullptr) {
    // Perhaps only not in the cache yet.
    if (!written_services_.Contains(key)) ForgetService(key);
    return std::nullopt;
  }
  const api::LvsServiceSpec& spec = service->spec;
  std::set<std::string> uses;
  api::KubeServiceMap kube_services;
  api::SlicesByService slices;
  for (const api::BackendSource& backend : spec.backends) {
    if (backend.service_name.empty()) continue;
    const std::string name = service->meta.name_space + "/" + backend.service_name;
    uses.insert(name);
    if (auto kube_service = cluster.kube_services().Get(name)) kube_services[name] = kube_service;
    if (auto list = memory_.SlicesOf(name); !list.empty()) slices[name] = std::move(list);
  }
  memory_.ServiceUses(key, spec.director_group, std::move(uses));

  const auto group =
      written_groups_.Newest(spec.director_group, cluster.groups().Get(spec.director_group));
  const std::optional<Dataplane> dataplane = api::EffectiveDataplane(spec, group.get());
  const std::vector<api::Problem> problems = api::Validate(*service, dataplane);
  std::optional<Allocation> allocation;
  if (problems.empty() && group != nullptr) allocation = AllocateFor(*service);

  Family family = memory_.networks().default_family;
  const std::vector<api::AssignedAddress> addresses = memory_.book().Of(key);
  if (!addresses.empty()) {
    family = addresses.front().ip_family;
  } else if (!spec.addresses.empty() && spec.addresses.front().ip_family) {
    family = *spec.addresses.front().ip_family;
  }
  const api::Resolution resolution =
      api::Resolve({.service = *service,
                    .group = group.get(),
                    .services = kube_services,
                    .slices = slices,
                    .node_addresses = memory_.networks().node_addresses,
                    .vips = memory_.book().Vips(),
                    .service_cidrs = memory_.networks().service_cidrs,
                    .family = family,
                    .vip_prefixes = memory_.book().Prefixes(),
                    .dataplane = dataplane});
  Write write{.base = stored == nullptr ? "" : stored->meta.resource_version,
              .service = *service,
              .status = {}};
  const auto lvs_nodes = cluster.lvs_nodes().Snapshot();
  const auto nodes = cluster.nodes().Snapshot();
  write.status = ComputeStatus({.service = *service,
                                .group = group.get(),
                                .dataplane = dataplane,
                                .problems = problems,
                                .resolution = resolution,
                                .allocation = allocation ? &*allocation : nullptr,
                                .lvs_nodes = *lvs_nodes,
                                .nodes = *nodes,
                                .now = Now()});
  memory_.Judged(key, write.status.conditions);
  tools_.metrics.SetServices(memory_.Services(), memory_.NotReady());
  if (write.status == service->status) return std::nullopt;
  return write;
}

void Leader::ForgetService(const std::string& key) {
  memory_.ForgetService(key, tools_.clock.Now());
  tools_.metrics.SetServices(memory_.Services(), memory_.NotReady());
}

absl::StatusOr<bool> Leader::ReconcileService(const std::string& key, std::stop_token stop) {
  if (const std::optional<std::string> why = tools_.cluster.Unreadable(key)) {
    return ReconcileUnreadable(key, *why, stop);
  }
  std::optional<Write> write;
  {
    const Access access(*this);
    write = PlanService(key);
  }
  if (!write) return false;
  const api::ObjectMeta& meta = write->service.meta;
  json answer;
  const absl::StatusOr<bool> written =
      Apply(api::kLvsServices, {meta.name_space, meta.name}, meta.resource_version,
            api::EncodeStatus(write->status), answer, stop);
  if (!written.ok() || !*written) return written;
  if (absl::StatusOr<api::LvsService> service = api::DecodeLvsService(answer); service.ok()) {
    const Access access(*this);
    written_services_.Put(key, write->base, *std::move(service));
  }
  for (kube::Event& event : ServiceEvents(write->service, write->status)) {
    tools_.events.Record(std::move(event));
  }
  tools_.log.Log(Level::kInfo, "status written",
                 {{"service", key},
                  {"addresses", write->status.summary.addresses},
                  {"real_servers", write->status.summary.real_servers},
                  {"directors", write->status.summary.directors},
                  {"ready", write->status.conditions.back().status},
                  {"reason", write->status.conditions.back().reason}});
  return true;
}

absl::StatusOr<bool> Leader::ReconcileUnreadable(const std::string& key, const std::string& why,
                                                 std::stop_token stop) {
  const kube::ObjectName object = kube::ObjectName::FromKey(key);
  const absl::StatusOr<json> raw = tools_.client.Get(api::kLvsServices, object, stop);
  if (absl::IsNotFound(raw.status())) return false;
  if (!raw.ok()) return raw.status();
  const absl::StatusOr<api::LvsService> service = DecodeStatusOnly(*raw);
  if (!service.ok()) {
    // Not even its status can be read, so nothing can be written that would keep its VIP.
    tools_.log.Log(Level::kError, "LVSService cannot be read",
                   {{"service", key}, {"error", Message(service.status())}});
    return false;
  }
  const api::LvsServiceStatus status = UnreadableStatus(*service, why, Now());
  if (status == service->status) return false;
  json answer;
  return Apply(api::kLvsServices, object, service->meta.resource_version, api::EncodeStatus(status),
               answer, stop);
}

}  // namespace kube_lvs::controller
