#include "kube/testing/fake_selector.h"

#include <nlohmann/json.hpp>
#include <sstream>

namespace kube_lvs::kube {
namespace {

// Whether `requirement` holds where the key has `value`, or none (nullptr).
bool Holds(const Requirement& requirement, const std::string* value) {
  switch (requirement.op) {
    case Requirement::Op::kEquals:
      return value != nullptr && *value == requirement.value;
    case Requirement::Op::kDiffers:
      return value == nullptr || *value != requirement.value;
    case Requirement::Op::kExists:
      return value != nullptr;
    case Requirement::Op::kAbsent:
      return value == nullptr;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::vector<Requirement>> ParseSelector(const std::string& text) {
  std::vector<Requirement> out;
  std::istringstream in(text);
  std::string part;
  while (std::getline(in, part, ',')) {
    if (part.empty() || part.find_first_of(" ()") != std::string::npos) {
      return absl::InvalidArgumentError("unable to parse requirement: \"" + part + "\"");
    }
    Requirement requirement;
    const size_t equals = part.find('=');
    if (equals == std::string::npos) {
      const bool absent = part[0] == '!';
      requirement.op = absent ? Requirement::Op::kAbsent : Requirement::Op::kExists;
      requirement.key = part.substr(absent ? 1 : 0);
    } else {
      const bool differs = equals > 0 && part[equals - 1] == '!';
      requirement.op = differs ? Requirement::Op::kDiffers : Requirement::Op::kEquals;
      requirement.key = part.substr(0, differs ? equals - 1 : equals);
      const bool twice = equals + 1 < part.size() && part[equals + 1] == '=';
      requirement.value = part.substr(equals + (twice ? 2 : 1));
    }
    out.push_back(requirement);
  }
  return out;
}

bool MatchesLabels(const nlohmann::json& object, const std::vector<Requirement>& requirements) {
  for (const Requirement& requirement : requirements) {
    std::string value;
    const std::string* found = nullptr;
    const nlohmann::json labels = object.value("/metadata/labels"_json_pointer, nlohmann::json());
    if (labels.is_object() && labels.contains(requirement.key)) {
      value = labels[requirement.key].get<std::string>();
      found = &value;
    }
    if (!Holds(requirement, found)) return false;
  }
  return true;
}

bool MatchesFields(const nlohmann::json& object, const std::vector<Requirement>& requirements) {
  for (const Requirement& requirement : requirements) {
    const nlohmann::json* at = &object;
    std::istringstream in(requirement.key);
    std::string step;
    while (at != nullptr && std::getline(in, step, '.')) {
      at = at->is_object() && at->contains(step) ? &(*at)[step] : nullptr;
    }
    // A field that is not there compares as the empty string.
    const std::string value = at != nullptr && at->is_string() ? at->get<std::string>() : "";
    if (!Holds(requirement, &value)) return false;
  }
  return true;
}

}  // namespace kube_lvs::kube
