// How this node's own packets for VIPs come to our programs: a pair of devices, and a route into it
// for each VIP, or prefix of VIPs. Ours by the devices' link address, which says whose they are, and the
// route protocol 142.
#pragma once

#include <memory>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/model/state.h"

namespace kube_lvs::host {

// Whose devices: one leaves the other's alone.
enum class LocalLinkOwner { kAgent, kLvsadm };

// Not thread-safe. Works in the network namespace of the thread that made it.
//
// Both devices have one link address and no ARP, so that the kernel takes each neighbour on either
// for resolved, at the other end (arp_constructor in net/ipv4/arp.c, ndisc_constructor in
// net/ipv6/ndisc.c). Routes are in the table main: a VIP that is an address of this node stays so.
class LocalClients {
 public:
  virtual ~LocalClients() = default;
  // The LocalLink and the LocalVips that are there.
  virtual absl::StatusOr<std::set<NodeItem>> Read() = 0;

  // Makes it, or makes it so again. kAlreadyExists: a device of that name is not ours.
  // kFailedPrecondition: the kernel has no veth.
  virtual absl::Status Add(const LocalLink& link) = 0;
  // With all routes into it. OK if it is not there; kAlreadyExists if it is not ours (and stays).
  virtual absl::Status Remove(const LocalLink& link) = 0;

  // Takes the place of one with another source. kNotFound: there is no LocalLink. kAlreadyExists:
  // somebody else has a route to this very VIP. kUnavailable: the source is not on this node.
  virtual absl::Status Add(const LocalVip& vip) = 0;
  // OK if it is not there.
  virtual absl::Status Remove(const LocalVip& vip) = 0;
};

absl::StatusOr<std::unique_ptr<LocalClients>> OpenLocalClients(
    LocalLinkOwner owner = LocalLinkOwner::kAgent);

}  // namespace kube_lvs::host
