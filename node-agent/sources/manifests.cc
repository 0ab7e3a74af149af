#include "node-agent/sources/manifests.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <variant>

#include "base/status.h"
#include "kube/api/validate.h"
#include "kube/api/yaml.h"
#include "kube/json.h"

namespace kube_lvs {
namespace {

using nlohmann::json;

constexpr char kOurGroup[] = "kube-lvs.io/";

// Kinds by their place in api::AnyObject.
std::optional<size_t> KindIndex(const std::string& kind) {
  static constexpr const char* kKinds[] = {"LVSService", "LVSAddressPool", "LVSDirectorGroup",
                                           "LVSNode",    "Service",        "EndpointSlice",
                                           "Node",       "Namespace",      "ServiceCIDR"};
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    if (kind == kKinds[i]) return i;
  }
  return std::nullopt;
}

bool Namespaced(const std::string& kind) {
  return kind == "LVSService" || kind == "Service" || kind == "EndpointSlice";
}

std::string TextAt(const json& object, std::initializer_list<std::string_view> path) {
  const json* value = kube::FindJson(object, path);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

// What an object says it is, as far as it can be told although it is broken.
std::optional<ObjectId> ClaimedId(const json& object) {
  const auto kind = KindIndex(TextAt(object, {"kind"}));
  const std::string name = TextAt(object, {"metadata", "name"});
  if (!kind.has_value() || name.empty()) return std::nullopt;
  const std::string ns = TextAt(object, {"metadata", "namespace"});
  return ObjectId{*kind, ns.empty() ? name : ns + "/" + name};
}

// All that is wrong with a decoded object, in one line; empty if nothing is.
std::string Invalid(const api::AnyObject& object) {
  const std::vector<api::Problem> problems = std::visit(
      [](const auto& o) -> std::vector<api::Problem> {
        using T = std::decay_t<decltype(o)>;
        if constexpr (std::is_same_v<T, api::LvsService>) {
          return api::Validate(o, std::nullopt);
        } else if constexpr (std::is_same_v<T, api::LvsAddressPool> ||
                             std::is_same_v<T, api::LvsDirectorGroup>) {
          return api::Validate(o);
        } else {
          return {};
        }
      },
      object);
  std::string out;
  for (const api::Problem& problem : problems) {
    out += (out.empty() ? "" : "; ") + problem.reason + ": " + problem.message;
  }
  return out;
}

}  // namespace

void Manifests::Update(const FileTexts& files) {
  problems_.clear();
  Found found;
  for (const auto& [name, text] : files) {
    if (!text.ok()) {
      Problem(name, Message(text.status()));
      found.broken_files.insert(name);
    } else if (text->find_first_not_of(" \t\r\n") == std::string::npos) {
      Problem(name, "is empty; remove the file if its objects shall go");
      found.broken_files.insert(name);
    } else {
      AddFile(name, *text, found);
    }
  }
  // What is broken keeps its last good version: by identity where the object could be told, by
  // file where not even that.
  bool unknown_content = false;
  for (const std::string& name : found.broken_files) {
    if (!ever_good_.contains(name)) unknown_content = true;
    for (const auto& [id, file] : file_of_) {
      if (file != name || found.file.contains(id)) continue;
      found.objects.emplace(id, objects_.at(id));
      found.file.emplace(id, name);
    }
  }
  for (const ObjectId& id : found.broken) {
    if (const auto good = objects_.find(id); good != objects_.end()) {
      found.objects.insert(*good);
    } else if (const auto cached = cached_.find(id); cached != cached_.end()) {
      found.objects.insert(*cached);
    }
  }
  if (unknown_content) {
    // A file that was broken from the start may hold anything that an earlier process had.
    for (const auto& [id, object] : cached_) {
      if (found.objects.contains(id) || found.broken.contains(id)) continue;
      found.objects.emplace(id, object);
    }
  } else {
    // From now on the files alone say what there is.
    std::erase_if(cached_, [&](const auto& entry) { return !found.broken.contains(entry.first); });
  }
  for (const auto& [name, text] : files) {
    if (!found.broken_files.contains(name)) ever_good_.insert(name);
  }
  objects_ = std::move(found.objects);
  file_of_.clear();
  for (const auto& [id, object] : objects_) {
    if (const auto file = found.file.find(id); file != found.file.end()) {
      file_of_.emplace(id, file->second);
    }
  }
}

void Manifests::AddFile(const std::string& name, const std::string& text, Found& found) {
  absl::StatusOr<std::vector<api::YamlDocument>> documents = api::ParseYaml(text);
  if (!documents.ok()) {
    Problem(name, Message(documents.status()));
    found.broken_files.insert(name);
    return;
  }
  std::vector<api::YamlDocument> flat;
  for (api::YamlDocument& document : *documents) {
    const json* items = kube::FindJson(document.value, {"items"});
    if (TextAt(document.value, {"kind"}) == "List" && items != nullptr && items->is_array()) {
      for (const json& item : *items) flat.push_back({item, document.line});
    } else {
      flat.push_back(std::move(document));
    }
  }
  for (api::YamlDocument& document : flat) {
    json& object = document.value;
    const std::string where = name + ":" + std::to_string(document.line);
    const std::string kind = TextAt(object, {"kind"});
    if (Namespaced(kind) && object.contains("metadata") && object["metadata"].is_object() &&
        TextAt(object, {"metadata", "namespace"}).empty()) {
      object["metadata"]["namespace"] = "default";
    }
    absl::StatusOr<api::AnyObject> decoded = api::DecodeAny(object, {.strict = true});
    std::string wrong;
    if (!decoded.ok()) {
      const bool foreign = absl::IsNotFound(decoded.status()) &&
                           TextAt(object, {"apiVersion"}).rfind(kOurGroup, 0) != 0;
      if (foreign) continue;
      wrong = Message(decoded.status());
    } else {
      wrong = Invalid(*decoded);
    }
    const std::optional<ObjectId> id = decoded.ok() ? IdOf(*decoded) : ClaimedId(object);
    const std::string what = id.has_value() ? where + ": " + ToString(*id) : where;
    if (id.has_value()) {
      const auto [first, is_first] = found.file.emplace(*id, name);
      if (!is_first) {
        Problem(what, "is in " + first->second + " already, which counts; remove one of the two");
        continue;
      }
    }
    if (wrong.empty()) {
      found.objects.emplace(*id, *std::move(decoded));
      continue;
    }
    Problem(what, wrong);
    if (id.has_value()) found.broken.insert(*id);
  }
}

}  // namespace kube_lvs
