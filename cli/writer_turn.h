// Whose turn it is to write the eBPF dataplane of the calling thread's network namespace.
#pragma once

#include <chrono>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace kube_lvs::cli {

// Held while it lives; the kernel releases it when the process ends, however it ends.
class WriterTurn {
 public:
  // Waits for other lvsadm, at most `patience`. kUnavailable: another process keeps its turn.
  static absl::StatusOr<WriterTurn> Take(std::chrono::milliseconds patience);

  // For who makes a dataplane. Until the turn ends no agent starts here. kAlreadyExists: one runs.
  absl::Status KeepAgentsOut();

 private:
  explicit WriterTurn(UniqueFd space) : space_(std::move(space)) {}
  UniqueFd space_;   // the namespace, locked against other lvsadm
  UniqueFd socket_;  // bound to the agent's abstract address
};

}  // namespace kube_lvs::cli
