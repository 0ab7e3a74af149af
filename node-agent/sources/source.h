// The seam between the agent and where its objects come from: the Kubernetes API or files.
#pragma once

#include <functional>
#include <stop_token>

#include "absl/status/status.h"
#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

// Get is thread-safe; Run has a thread of its own.
class DesiredSource {
 public:
  virtual ~DesiredSource() = default;

  // The newest snapshot; never null. The same pointer as before means that nothing changed.
  virtual SnapshotPtr Get() = 0;

  // Keeps the snapshot new until `stop`, then returns OK. Calls `changed`, in any thread, after
  // Get would give something else. Whatever fails is retried and told in the snapshot's problems.
  virtual absl::Status Run(std::stop_token stop, std::function<void()> changed) = 0;
};

}  // namespace kube_lvs
