// The node's backends taken together: what is there, and a plan applied to it. Blocking calls into
// the kernel; not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "dataplane/model/backend.h"
#include "node-agent/loop/backoff.h"

namespace kube_lvs {

using Backends = std::span<Backend* const>;

struct Actual {
  State state;
  std::map<std::string, absl::Status> unreadable;  // by backend, whose part is then missing
};

Actual ReadAll(Backends backends);

// Of these services alone; an error if one backend cannot be read.
absl::StatusOr<ServiceReading> ReadSome(Backends backends, const std::set<ServiceKey>& keys);

// Why the backend that would take the step cannot be worked with; OK if it can.
absl::Status CanTake(const Step& step, Backends backends, const Actual& actual);

struct StepResult {
  Step step;
  absl::Status status;  // kCancelled: not tried, it waits for something else or for its time
  bool operator==(const StepResult&) const = default;
};

// Applies the plan in order, one backend after the other. What failed is noted in `backoff`, what
// waits there is skipped. Not tried either:
// * later steps of a service of which one failed;
// * taking a service out of one dataplane while putting it into the other has not succeeded;
// * a silent VIP without the sysctls that keep it silent;
// * answering for a VIP of which no service is programmed, or without programs on the interface.
std::vector<StepResult> ApplyPlan(const Plan& plan, const State& actual, Backends backends,
                                  Backoff& backoff, TimePoint now);

}  // namespace kube_lvs
