// Conditions, as the Kubernetes API has them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kube/api/types.h"
#include "kube/api/validate.h"

namespace kube_lvs::controller {

enum class Truth { kFalse, kTrue, kUnknown };
std::string ToString(Truth truth);  // "False"

struct Verdict {
  Truth truth = Truth::kUnknown;
  std::string reason = "Pending";
  std::string message = {};
};

// The condition `type` as it is from now on. lastTransitionTime stays what it was in `before`
// unless the status changes. Messages are cut at 4096 bytes.
api::Condition MakeCondition(std::string_view type, const Verdict& verdict, int64_t generation,
                             const std::vector<api::Condition>& before, const std::string& now);

// nullptr if there is none.
const api::Condition* FindCondition(const std::vector<api::Condition>& conditions,
                                    std::string_view type);

// "a; b; c", at most `most` of them.
std::string JoinMessages(const std::vector<api::Problem>& problems, size_t most = 5);

}  // namespace kube_lvs::controller
