// Where the programs show some of the packets that they drop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "dataplane/ebpf/drop_samples.h"
#include "dataplane/ebpf/network.h"

namespace kube_lvs::ebpf {

// For one reader at a time, who has what is dropped from its making on. Not thread-safe.
class DropRing {
 public:
  virtual ~DropRing() = default;
  // Readable when there is something to take. Borrowed.
  virtual int fd() const = 0;
  // Calls `show` for each packet that waits, until it returns false.
  virtual absl::Status Take(const std::function<bool(const DropSample&)>& show) = 0;
};

// Of the dataplane that is pinned in `dir`. kFailedPrecondition: its programs are of a version that
// shows nothing. kUnavailable: somebody else in this network namespace reads it.
absl::StatusOr<std::unique_ptr<DropRing>> OpenPinnedDropRing(const std::string& dir);

// The same of lvsadm's own in the calling thread's namespace, which `network` is about.
absl::StatusOr<std::unique_ptr<DropRing>> OpenUnpinnedDropRing(Network& network);

}  // namespace kube_lvs::ebpf
