// The seam below NetlinkChannel: netlink messages as bytes, as a socket sends and receives them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ipvs/attributes.h"

namespace kube_lvs::ipvs {

// One connected socket. Not thread-safe.
class Wire {
 public:
  virtual ~Wire() = default;

  virtual uint16_t family() const = 0;  // the number that the kernel gave IPVS
  virtual uint32_t port() const = 0;    // this socket's

  // One send of any number of whole messages. kUnavailable: nothing was sent, try again.
  virtual absl::Status Write(const Bytes& messages) = 0;

  // What arrived next from the kernel: whole messages. kUnavailable when answers were dropped for
  // want of buffer, or none came in time.
  virtual absl::StatusOr<Bytes> Read() = 0;
};

using OpenWire = std::function<absl::StatusOr<std::unique_ptr<Wire>>()>;

// A generic netlink socket of libnl, in the network namespace of the calling thread; the first one
// makes the kernel load ip_vs. Waits at most 30 s for an answer. kFailedPrecondition: the kernel
// has no IPVS; kPermissionDenied.
absl::StatusOr<std::unique_ptr<Wire>> OpenNetlink();

}  // namespace kube_lvs::ipvs
