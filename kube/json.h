// JSON from the network, read without exceptions and with bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::kube {

// Nesting beyond this is refused: no object of Kubernetes comes near it.
inline constexpr size_t kMaxJsonDepth = 128;

// One whole JSON value; metadata.managedFields of an object is left out. kInvalidArgument for
// anything else (truncated, trailing bytes, numbers beyond double, not UTF-8, too deep).
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text);

// One line of text; bytes that are not UTF-8 are replaced. Never throws.
std::string DumpJson(const nlohmann::json& value);

// The member at `path` of nested objects; nullptr if a step is missing, null or not an object.
const nlohmann::json* FindJson(const nlohmann::json& value,
                               std::initializer_list<std::string_view> path);

// The same, as a value. Absent or null gives the default; another type gives kInvalidArgument that
// names the path.
absl::StatusOr<std::string> JsonString(const nlohmann::json& value,
                                       std::initializer_list<std::string_view> path,
                                       std::string_view absent = "");
absl::StatusOr<int64_t> JsonInt(const nlohmann::json& value,
                                std::initializer_list<std::string_view> path, int64_t absent = 0);
absl::StatusOr<bool> JsonBool(const nlohmann::json& value,
                              std::initializer_list<std::string_view> path, bool absent = false);

// The part of metadata that a client needs of any object.
struct ObjectMeta {
  std::string ns = {};  // empty for an object of the cluster
  std::string name = {};
  std::string uid = {};
  std::string resource_version = {};  // opaque: compare for equality only
  int64_t generation = 0;
  bool deleting = false;  // has a deletionTimestamp
  std::map<std::string, std::string> labels = {};
  std::map<std::string, std::string> annotations = {};

  bool operator==(const ObjectMeta&) const = default;
};
absl::StatusOr<ObjectMeta> DecodeMeta(const nlohmann::json& object);

// The pieces of a List answer; `items` point into the text and are not parsed yet.
struct ListPage {
  std::string resource_version = {};
  std::string continue_token = {};  // empty on the last page
  std::vector<std::string_view> items = {};
};
absl::StatusOr<ListPage> SplitList(std::string_view text);

}  // namespace kube_lvs::kube
