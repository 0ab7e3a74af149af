// The seam between the plan and what holds the rules: the kernel's IPVS, our eBPF programs, and
// the host's addresses and sysctls each implement it; tests use fakes as strict as those.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/model/state.h"
#include "dataplane/model/step.h"

namespace kube_lvs {

// Some services: their rules, and what the kernel counts for them.
struct ServiceReading {
  ServiceTable services;
  Stats stats;
};

// Not thread-safe: one thread reads and applies.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string Name() const = 0;  // "IPVS", "eBPF", "host"

  // Whether this backend, and no other, applies the step.
  virtual bool Takes(const Step& step) const = 0;

  // What is there now and is ours, read from the kernel each time. Others' rules are not in it.
  virtual absl::StatusOr<State> Read() = 0;

  // As Read and ReadStats, of these keys alone: what it costs does not grow with the others. Keys
  // that are not there, not ours, or another backend's are left out.
  virtual absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) = 0;

  // Applies the steps in order, all of which this backend takes, and returns one status for each.
  // After a failed step of a service that service's later steps are not tried (kAborted); the
  // others are. kAlreadyExists: another owner holds that key, and it was not touched.
  // kFailedPrecondition: the node lacks something, which the message names with the mend.
  virtual std::vector<absl::Status> Apply(std::span<const Step> steps) = 0;

  virtual absl::StatusOr<Stats> ReadStats() = 0;

  // A cheap look instead of Read: which keys differ from `expected`, as far as such a look can see,
  // or cannot be seen by it; of the services that this backend takes, and of what it holds besides.
  // Each needs a reading (ReadServices). kUnimplemented: no look is cheaper than Read.
  virtual absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable& expected) = 0;

  // All of `desired` is there, and nothing else: what is remembered of other keys, from attempts
  // that never arrived, is forgotten, so that such a key is again whose it may be.
  virtual absl::Status ForgetAllBut(const ServiceTable& desired) = 0;
};

}  // namespace kube_lvs
