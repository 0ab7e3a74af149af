#include "node-agent/sources/objects.h"

#include <nlohmann/json.hpp>
#include <type_traits>
#include <variant>

#include "base/status.h"
#include "kube/api/encode.h"
#include "kube/json.h"

namespace kube_lvs {
namespace {

template <typename T>
void AddAll(const ObjectMap<T>& objects, std::string& out) {
  for (const auto& [key, object] : objects) {
    out += "---\n" + kube::DumpJson(api::Encode(*object)) + "\n";
  }
}

}  // namespace

ObjectId IdOf(const api::AnyObject& object) {
  return {object.index(), std::visit([](const auto& o) { return o.meta.Key(); }, object)};
}

std::string ToString(const ObjectId& id) {
  static constexpr const char* kKinds[] = {"LVSService", "LVSAddressPool", "LVSDirectorGroup",
                                           "LVSNode",    "Service",        "EndpointSlice",
                                           "Node",       "Namespace",      "ServiceCIDR"};
  static_assert(std::size(kKinds) == std::variant_size_v<api::AnyObject>);
  return std::string(kKinds[id.first]) + " " + id.second;
}

Snapshot SnapshotOf(const std::map<ObjectId, api::AnyObject>& objects) {
  ObjectMap<api::LvsService> services;
  ObjectMap<api::LvsDirectorGroup> groups;
  ObjectMap<api::LvsAddressPool> pools;
  ObjectMap<api::KubeService> kube_services;
  ObjectMap<api::EndpointSlice> slices;
  ObjectMap<api::KubeNode> nodes;
  ObjectMap<api::KubeServiceCidr> cidrs;
  for (const auto& [id, object] : objects) {
    std::visit(
        [&, &key = id.second](const auto& o) {
          using T = std::decay_t<decltype(o)>;
          const auto put = [&](auto& map) { map.emplace(key, std::make_shared<const T>(o)); };
          if constexpr (std::is_same_v<T, api::LvsService>) put(services);
          if constexpr (std::is_same_v<T, api::LvsDirectorGroup>) put(groups);
          if constexpr (std::is_same_v<T, api::LvsAddressPool>) put(pools);
          if constexpr (std::is_same_v<T, api::KubeService>) put(kube_services);
          if constexpr (std::is_same_v<T, api::EndpointSlice>) put(slices);
          if constexpr (std::is_same_v<T, api::KubeNode>) put(nodes);
          if constexpr (std::is_same_v<T, api::KubeServiceCidr>) put(cidrs);
        },
        object);
  }
  Snapshot snapshot;
  snapshot.services = std::make_shared<const decltype(services)>(std::move(services));
  snapshot.groups = std::make_shared<const decltype(groups)>(std::move(groups));
  snapshot.pools = std::make_shared<const decltype(pools)>(std::move(pools));
  snapshot.kube_services =
      std::make_shared<const decltype(kube_services)>(std::move(kube_services));
  snapshot.endpoint_slices = std::make_shared<const decltype(slices)>(std::move(slices));
  snapshot.nodes = std::make_shared<const decltype(nodes)>(std::move(nodes));
  snapshot.service_cidrs = std::make_shared<const decltype(cidrs)>(std::move(cidrs));
  return snapshot;
}

std::string ToYaml(const Snapshot& snapshot) {
  std::string out;
  AddAll(*snapshot.services, out);
  AddAll(*snapshot.groups, out);
  AddAll(*snapshot.pools, out);
  AddAll(*snapshot.kube_services, out);
  AddAll(*snapshot.endpoint_slices, out);
  AddAll(*snapshot.nodes, out);
  AddAll(*snapshot.service_cidrs, out);
  return out;
}

std::map<ObjectId, api::AnyObject> FromOwnYaml(std::string_view text,
                                               std::vector<SourceProblem>& problems) {
  std::map<ObjectId, api::AnyObject> objects;
  int line_number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (line.empty() || line.front() != '{') continue;
    const auto json = kube::ParseJson(line);
    auto object = json.ok() ? api::DecodeAny(*json) : absl::StatusOr<api::AnyObject>(json.status());
    if (!object.ok()) {
      problems.push_back({"line " + std::to_string(line_number), Message(object.status())});
      continue;
    }
    const ObjectId id = IdOf(*object);
    objects.emplace(id, *std::move(object));
  }
  return objects;
}

}  // namespace kube_lvs
