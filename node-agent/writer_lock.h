// Who may write this node's rules: one process per network namespace, and one per state folder.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace kube_lvs {

// Held while it lives; the kernel releases it when the process ends, however it ends.
class WriterLock {
 public:
  // kAlreadyExists: another process has it; the message says which lock.
  static absl::StatusOr<WriterLock> Take(const std::string& state_dir);

 private:
  WriterLock(UniqueFd socket, UniqueFd file) : socket_(std::move(socket)), file_(std::move(file)) {}
  UniqueFd socket_;  // bound to the abstract address @kube-lvs/writer
  UniqueFd file_;    // locked: state_dir/lock
};

}  // namespace kube_lvs
