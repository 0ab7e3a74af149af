#include "kube/testing/field_ownership.h"

#include <algorithm>

#include "base/status.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

const ListMap* FindListMap(const FieldPath& path, const std::vector<ListMap>& list_maps) {
  std::vector<std::string> names;
  for (const FieldStep& step : path) {
    if (!step.is_item) names.push_back(step.text);
  }
  for (const ListMap& list_map : list_maps) {
    if (list_map.path == names) return &list_map;
  }
  return nullptr;
}

absl::StatusOr<std::string> ItemKey(const json& item, const ListMap& list_map) {
  json key = json::object();
  for (const std::string& name : list_map.keys) {
    if (!item.is_object() || !item.contains(name)) {
      return absl::InvalidArgumentError("an item of a list map lacks its key \"" + name + "\"");
    }
    key[name] = item[name];
  }
  return key.dump();
}

absl::Status Collect(const json& value, const FieldPath& path,
                     const std::vector<ListMap>& list_maps, std::map<FieldPath, json>& out) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [name, member] : value.items()) {
      FieldPath inner = path;
      inner.push_back({false, name});
      KUBE_LVS_RETURN_IF_ERROR(Collect(member, inner, list_maps, out));
    }
    return absl::OkStatus();
  }
  const ListMap* list_map = value.is_array() ? FindListMap(path, list_maps) : nullptr;
  if (list_map == nullptr) {
    out[path] = value;
    return absl::OkStatus();
  }
  for (const json& item : value) {
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string key, ItemKey(item, *list_map));
    FieldPath inner = path;
    inner.push_back({true, key});
    if (!out.emplace(inner, json::object()).second) {
      return absl::InvalidArgumentError("two items of a list map have the key " + key);
    }
    for (const auto& [name, member] : item.items()) {
      FieldPath field = inner;
      field.push_back({false, name});
      KUBE_LVS_RETURN_IF_ERROR(Collect(member, field, list_maps, out));
    }
  }
  return absl::OkStatus();
}

json* FindItem(json& list, const std::string& key) {
  const json wanted = json::parse(key);
  for (json& item : list) {
    bool same = item.is_object();
    for (const auto& [name, value] : wanted.items()) {
      same = same && item.contains(name) && item[name] == value;
    }
    if (same) return &item;
  }
  return nullptr;
}

void SetField(json& object, const FieldPath& path, const json& value) {
  json* at = &object;
  for (const FieldStep& step : path) {
    if (!step.is_item) {
      if (!at->is_object()) *at = json::object();
      at = &(*at)[step.text];
      continue;
    }
    if (!at->is_array()) *at = json::array();
    json* item = FindItem(*at, step.text);
    if (item == nullptr) {
      at->push_back(json::parse(step.text));
      item = &at->back();
    }
    at = item;
  }
  if (path.empty() || !path.back().is_item) *at = value;
}

// Takes the field out, and objects and lists that become empty by it.
void EraseField(json& at, const FieldPath& path, size_t step) {
  const FieldStep& here = path[step];
  const bool last = step + 1 == path.size();
  if (here.is_item) {
    if (!at.is_array()) return;
    json* item = FindItem(at, here.text);
    if (item == nullptr) return;
    if (last) {
      at.erase(static_cast<size_t>(item - &at[0]));
    } else {
      EraseField(*item, path, step + 1);
    }
    return;
  }
  if (!at.is_object() || !at.contains(here.text)) return;
  if (last) {
    at.erase(here.text);
    return;
  }
  EraseField(at[here.text], path, step + 1);
  if (at[here.text].empty()) at.erase(here.text);
}

// Whether the field is there and is an object.
bool IsObject(json& at, const FieldPath& path) {
  json* here = &at;
  for (const FieldStep& step : path) {
    if (step.is_item) {
      here = here->is_array() ? FindItem(*here, step.text) : nullptr;
    } else {
      here = here->is_object() && here->contains(step.text) ? &(*here)[step.text] : nullptr;
    }
    if (here == nullptr) return false;
  }
  return here->is_object();
}

bool IsWithin(const FieldPath& inner, const FieldPath& outer) {
  return inner.size() >= outer.size() && std::equal(outer.begin(), outer.end(), inner.begin());
}

bool OwnedByAnother(const Ownership& owners, const FieldManager& manager, const FieldPath& path) {
  for (const auto& [other, paths] : owners) {
    if (other == manager) continue;
    for (const FieldPath& owned : paths) {
      if (IsWithin(owned, path)) return true;
    }
  }
  return false;
}

void DropEmpty(Ownership& owners) {
  std::erase_if(owners, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace

std::string ToString(const FieldPath& path) {
  std::string text;
  for (const FieldStep& step : path) {
    text += step.is_item ? "[" + step.text + "]" : "." + step.text;
  }
  return text;
}

absl::StatusOr<std::map<FieldPath, json>> Fields(const json& object,
                                                 const std::vector<ListMap>& list_maps) {
  std::map<FieldPath, json> out;
  if (object.empty()) return out;
  KUBE_LVS_RETURN_IF_ERROR(Collect(object, {}, list_maps, out));
  return out;
}

absl::StatusOr<Applied> ApplyFields(const json& live, const Ownership& owners,
                                    const FieldManager& manager, const json& body, bool force,
                                    const std::vector<ListMap>& list_maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto wanted, Fields(body, list_maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto present, Fields(live, list_maps));
  Applied out{live, owners};
  std::string conflicts;
  for (const auto& [wanted_path, value] : wanted) {
    const FieldPath& path = wanted_path;  // clang 14 captures no structured bindings
    const auto is = present.find(path);
    if (is != present.end() && is->second == value) continue;
    // To want an object, whatever is in it, is no conflict with what others put into it.
    if (value == json::object() && IsObject(out.object, path)) continue;
    for (auto& [other, paths] : out.owners) {
      if (other == manager) continue;
      // A scalar that becomes an object, or the other way round, is a conflict on all inside.
      const bool hit = std::any_of(paths.begin(), paths.end(), [&path](const FieldPath& owned) {
        return owned == path || (!path.back().is_item && !owned.back().is_item &&
                                 (IsWithin(owned, path) || IsWithin(path, owned)));
      });
      if (!hit) continue;
      if (!conflicts.empty()) conflicts += ", ";
      conflicts += "\"" + other.name + "\": " + ToString(path);
      std::erase_if(paths, [&path](const FieldPath& owned) {
        return owned == path || (!owned.back().is_item && IsWithin(owned, path));
      });
    }
  }
  if (!conflicts.empty() && !force) {
    return absl::AbortedError("Apply failed with conflicts: conflict with " + conflicts);
  }

  std::set<FieldPath> now_owned;
  for (const auto& [path, value] : wanted) now_owned.insert(path);
  std::vector<FieldPath> gone;
  for (const FieldPath& path : out.owners[manager]) {
    const bool still = std::any_of(now_owned.begin(), now_owned.end(),
                                   [&path](const auto& owned) { return IsWithin(owned, path); });
    if (!still && !OwnedByAnother(out.owners, manager, path)) gone.push_back(path);
  }
  // Items go whole, while the keys that find them are still in them.
  std::stable_partition(gone.begin(), gone.end(),
                        [](const FieldPath& path) { return path.back().is_item; });
  for (const FieldPath& path : gone) EraseField(out.object, path, 0);
  for (const auto& [path, value] : wanted) {
    if (value == json::object() && IsObject(out.object, path)) continue;
    SetField(out.object, path, value);
  }
  out.owners[manager] = std::move(now_owned);
  DropEmpty(out.owners);
  return out;
}

absl::StatusOr<Ownership> OwnersAfterUpdate(const json& before, const json& after, Ownership owners,
                                            const FieldManager& manager,
                                            const std::vector<ListMap>& list_maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto was, Fields(before, list_maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto is, Fields(after, list_maps));
  for (const auto& [path, value] : was) {
    if (is.contains(path)) continue;
    for (auto& [other, paths] : owners) paths.erase(path);
  }
  for (const auto& [path, value] : is) {
    const auto old = was.find(path);
    if (old != was.end() && old->second == value) continue;
    for (auto& [other, paths] : owners) paths.erase(path);
    owners[manager].insert(path);
  }
  DropEmpty(owners);
  return owners;
}

}  // namespace kube_lvs::kube
