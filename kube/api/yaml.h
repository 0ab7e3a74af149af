// YAML text -> JSON values, as Kubernetes reads YAML.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::api {

struct YamlDocument {
  nlohmann::json value;
  int line = 1;  // where it begins in the text
};

struct YamlLimits {
  size_t bytes = 16 << 20;
  size_t depth = 64;
  size_t nodes = 2'000'000;  // after aliases are resolved: a few bytes may stand for billions
};

// The documents of a text; empty ones are left out. Plain scalars become null, booleans (true and
// false), integers and floats; quoted ones are strings. kInvalidArgument with the line for
// malformed text, duplicate keys, keys that are not scalars, and what is beyond the limits.
absl::StatusOr<std::vector<YamlDocument>> ParseYaml(std::string_view text,
                                                    const YamlLimits& limits = {});

}  // namespace kube_lvs::api
