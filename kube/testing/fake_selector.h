// Label and field selectors as an API server reads them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::kube {

struct Requirement {
  std::string key;
  enum class Op { kEquals, kDiffers, kExists, kAbsent } op = Op::kEquals;
  std::string value = {};
};

// "a=b,c!=d,e,!f"; set-based requirements ("in (...)") are refused.
absl::StatusOr<std::vector<Requirement>> ParseSelector(const std::string& text);

bool MatchesLabels(const nlohmann::json& object, const std::vector<Requirement>& requirements);

// Fields by their path ("metadata.name"); only = and !=.
bool MatchesFields(const nlohmann::json& object, const std::vector<Requirement>& requirements);

}  // namespace kube_lvs::kube
