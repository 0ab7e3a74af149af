// What to do about a check that failed. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "kube/api/types.h"

namespace kube_lvs {

// What a user can do about any failure of the check, in words of docs/operations.md ("Problems of
// an LVSNode"). Every check that is reported has an entry.
std::string_view MendOf(std::string_view check);

// The problem as an LVSNode tells it. Errors that are our own words end with "; " and the mend,
// which then takes the place of the check's general one.
api::NodeProblem ProblemOf(const std::string& check, const absl::Status& status);

}  // namespace kube_lvs
