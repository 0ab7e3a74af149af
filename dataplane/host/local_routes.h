// Prefixes of VIPs as local routes: every address of one is this node's, though no interface has
// it. In the table `local`, ours by the route protocol 142. Whoever else added a route keeps it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs::host {

struct LocalRoute {
  std::string device;
  Cidr vips;
  bool operator==(const LocalRoute&) const = default;
};

// Not thread-safe. Works in the network namespace of the thread that made it.
//
// The kernel answers ARP for every address of a local route (arp_process in net/ipv4/arp.c), but
// not where arp_ignore is above 0, and NDP for none. It sends from them, as from its own addresses
// (__ip_dev_find in net/ipv4/devinet.c).
class LocalRoutes {
 public:
  virtual ~LocalRoutes() = default;
  virtual absl::StatusOr<std::vector<LocalRoute>> Read() = 0;

  // kAlreadyExists: there is a local route of this prefix that is not ours. OK if it is there and
  // ours. kNotFound: no such device.
  virtual absl::Status Add(const LocalRoute& route) = 0;

  // OK if it is not there, or not ours (and then it stays).
  virtual absl::Status Remove(const LocalRoute& route) = 0;
};

absl::StatusOr<std::unique_ptr<LocalRoutes>> OpenLocalRoutes();

}  // namespace kube_lvs::host
