// VIPs as addresses of this node's interfaces, marked as ours in the kernel: IPv4 by the label
// "<device>:klvs", IPv6 by the address protocol 187 (kernel 5.18). Whoever else added an address
// keeps it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs::host {

struct OwnedAddress {
  std::string device;
  IpAddress address;  // always with the full prefix length: /32 or /128
  bool operator==(const OwnedAddress&) const = default;
};

// Not thread-safe. Works in the network namespace of the thread that made it.
class Addresses {
 public:
  virtual ~Addresses() = default;
  virtual absl::StatusOr<std::vector<OwnedAddress>> Read() = 0;

  // kAlreadyExists: the address is there and not ours. OK if it is there and ours.
  // kNotFound: no such device. IPv6 addresses skip duplicate detection and are never chosen as a
  // source.
  virtual absl::Status Add(const OwnedAddress& address) = 0;

  // OK if it is not there; kAlreadyExists if it is not ours (and then it stays).
  virtual absl::Status Remove(const OwnedAddress& address) = 0;
};

absl::StatusOr<std::unique_ptr<Addresses>> OpenAddresses();

}  // namespace kube_lvs::host
