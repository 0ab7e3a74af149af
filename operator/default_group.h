// The group `default`, for an installation whose manifest cannot hold it: kubectl looks up every
// kind before it sends anything, so one file cannot bring a new kind and an object of it.
#pragma once

#include <stop_token>

#include "absl/status/statusor.h"
#include "kube/client.h"

namespace kube_lvs::controller {

// Creates LVSDirectorGroup `default` with an empty spec (every node is a director), unless the API
// server has any group. It is asked itself: a cache may be late, and knows no group that it cannot
// read. True: the group is new. Blocks for two requests at most.
absl::StatusOr<bool> CreateDefaultGroup(const kube::Client& client, std::stop_token stop);

}  // namespace kube_lvs::controller
