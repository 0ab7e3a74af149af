// What must stay as the kernel has it although it is not desired: the rules of a service that is
// invalid (now), and everything while the list of what exists is not complete. Pure.
#pragma once

#include <optional>
#include <set>

#include "base/ip.h"
#include "dataplane/model/state.h"

namespace kube_lvs {

struct Hold {
  bool all = false;
  std::set<IpAddress> vips;
  std::set<IpAddress> elected;   // VIPs whose answering the election decides
  std::set<IpAddress> answered;  // of `vips`, those that it gave to us
  bool operator==(const Hold&) const = default;
};

// `desired` and, of `actual`, what is held: services of held VIPs that are not desired, and the
// items they need. With `all` also every real server that is there. What is desired is set as
// desired. An answer for a VIP is held only where the election gave it to us or has no say: two
// nodes must not answer.
State KeepHeld(State desired, const State& actual, const Hold& hold);

// The VIP that an item is about; nullopt for those of the whole node.
std::optional<IpAddress> VipOf(const NodeItem& item);

}  // namespace kube_lvs
