#include "kube/api/types.h"

#include <algorithm>

namespace kube_lvs::api {
namespace {

bool Meets(const LabelSelector::Requirement& requirement,
           const std::map<std::string, std::string>& labels) {
  const auto it = labels.find(requirement.key);
  const bool there = it != labels.end();
  if (requirement.op == "Exists") return there;
  if (requirement.op == "DoesNotExist") return !there;
  const bool listed =
      there && std::ranges::find(requirement.values, it->second) != requirement.values.end();
  if (requirement.op == "In") return listed;
  if (requirement.op == "NotIn") return !listed;
  return false;
}

}  // namespace

bool LabelSelector::Matches(const std::map<std::string, std::string>& labels) const {
  for (const auto& [key, value] : match_labels) {
    const auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  return std::ranges::all_of(match_expressions, [&](const Requirement& requirement) {
    return Meets(requirement, labels);
  });
}

std::vector<std::string> ServicesOf(const LvsService& service) {
  std::vector<std::string> out;
  for (const BackendSource& backend : service.spec.backends) {
    if (backend.service_name.empty()) continue;
    out.push_back(service.meta.name_space + "/" + backend.service_name);
  }
  return out;
}

std::vector<std::string> ServicesOf(const EndpointSlice& slice) {
  if (slice.service_name.empty()) return {};
  return {slice.meta.name_space + "/" + slice.service_name};
}

}  // namespace kube_lvs::api
