// The seam to the kernel: bytes of messages in, error numbers and bytes of messages out. The
// kernel's netlink socket implements it, and a fake as strict as the kernel.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/ipvs/attributes.h"

namespace kube_lvs::ipvs {

// Not thread-safe.
class Channel {
 public:
  virtual ~Channel() = default;

  // Sends the requests in order and returns for each what the kernel said: 0 or an errno. Every
  // request is tried, also after one that failed. A status that is not OK: the channel itself
  // failed, and how many of the requests were applied is not known. kFailedPrecondition: the kernel
  // has no IPVS; kPermissionDenied: not allowed; kUnavailable: try again.
  virtual absl::StatusOr<std::vector<int>> Send(std::span<const Bytes> requests) = 0;

  // All messages that answer a request for a dump; a dump that the kernel calls inconsistent is
  // asked for again. Errors as above, and StatusOf's for an errno.
  virtual absl::StatusOr<std::vector<Bytes>> Dump(const Bytes& request) = 0;

  // The one message that answers a request.
  virtual absl::StatusOr<Bytes> Ask(const Bytes& request) = 0;
};

}  // namespace kube_lvs::ipvs
