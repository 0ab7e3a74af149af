#include "operator/conditions.h"

#include <algorithm>

namespace kube_lvs::controller {

std::string ToString(Truth truth) {
  switch (truth) {
    case Truth::kFalse:
      return "False";
    case Truth::kTrue:
      return "True";
    case Truth::kUnknown:
      break;
  }
  return "Unknown";
}

const api::Condition* FindCondition(const std::vector<api::Condition>& conditions,
                                    std::string_view type) {
  const auto it = std::ranges::find(conditions, type, &api::Condition::type);
  return it == conditions.end() ? nullptr : &*it;
}

api::Condition MakeCondition(std::string_view type, const Verdict& verdict, int64_t generation,
                             const std::vector<api::Condition>& before, const std::string& now) {
  api::Condition out{.type = std::string(type),
                     .status = ToString(verdict.truth),
                     .observed_generation = generation,
                     .last_transition_time = now,
                     .reason = verdict.reason,
                     .message = verdict.message.substr(0, 4096)};
  const api::Condition* was = FindCondition(before, type);
  if (was != nullptr && was->status == out.status && !was->last_transition_time.empty()) {
    out.last_transition_time = was->last_transition_time;
  }
  return out;
}

std::string JoinMessages(const std::vector<api::Problem>& problems, size_t most) {
  std::string out;
  for (size_t i = 0; i < problems.size() && i < most; ++i) {
    out += (i == 0 ? "" : "; ") + problems[i].message;
  }
  if (problems.size() > most) out += "; and " + std::to_string(problems.size() - most) + " more";
  return out;
}

}  // namespace kube_lvs::controller
