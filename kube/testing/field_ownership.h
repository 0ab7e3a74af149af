// Who owns which fields of an object: server-side apply as the fake API server does it.
#pragma once

#include <compare>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::kube {

// A list whose items are told apart by the values of `keys` instead of being one value.
struct ListMap {
  std::vector<std::string> path;  // {"status", "conditions"}
  std::vector<std::string> keys;  // {"type"}
};

// One step to a field: a member's name, or the keys of a list's item as JSON text.
struct FieldStep {
  bool is_item = false;
  std::string text;
  auto operator<=>(const FieldStep&) const = default;
  bool operator==(const FieldStep&) const = default;
};
using FieldPath = std::vector<FieldStep>;
std::string ToString(const FieldPath& path);

// The leaves of an object, with an item of a list map as a leaf of its own beside its members.
// kInvalidArgument if an item lacks a key or two items have the same.
absl::StatusOr<std::map<FieldPath, nlohmann::json>> Fields(const nlohmann::json& object,
                                                           const std::vector<ListMap>& list_maps);

struct FieldManager {
  std::string name;
  bool applies = true;  // false: it wrote by update or patch
  std::string subresource;
  auto operator<=>(const FieldManager&) const = default;
  bool operator==(const FieldManager&) const = default;
};
using Ownership = std::map<FieldManager, std::set<FieldPath>>;

struct Applied {
  nlohmann::json object;
  Ownership owners;
};

// `manager` applies `body` to `live` (an empty object if there is none). kAborted names the fields
// of others whose values differ, unless `force`. Fields that the manager applied before, that are
// not in `body` and that nobody else owns are taken out.
absl::StatusOr<Applied> ApplyFields(const nlohmann::json& live, const Ownership& owners,
                                    const FieldManager& manager, const nlohmann::json& body,
                                    bool force, const std::vector<ListMap>& list_maps);

// After an update or patch: `manager` owns what differs between `before` and `after`, nobody owns
// what is gone.
absl::StatusOr<Ownership> OwnersAfterUpdate(const nlohmann::json& before,
                                            const nlohmann::json& after, Ownership owners,
                                            const FieldManager& manager,
                                            const std::vector<ListMap>& list_maps);

}  // namespace kube_lvs::kube
