// The unicast routes of the main table, as rtnetlink has them (rtnetlink(7); linux/nexthop.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node-agent/facts/facts.h"

struct nl_sock;

namespace kube_lvs {

// One RouteFacts for each leg that leaves by an interface of `names` (by index), also of nexthop
// objects and groups (ip nexthop) that the kernel names by their id alone. `socket` is one of
// NETLINK_ROUTE and stays the caller's; its dumps are checked strictly from then on. kUnavailable:
// try again.
absl::StatusOr<std::vector<RouteFacts>> ReadRoutes(nl_sock* socket,
                                                   const std::map<int, std::string>& names);

}  // namespace kube_lvs
