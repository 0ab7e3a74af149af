// What keeps the ports that the eBPF dataplane takes for source NAT from this node's own
// connections: a reply for one from the same real server would go to a client. Pure.
#pragma once

#include <optional>
#include <string>

#include "dataplane/model/state.h"
#include "node-agent/facts/facts.h"

namespace kube_lvs {

// net.ipv4.ip_local_reserved_ports; of IPv6 connections, too.
inline constexpr char kReservedPorts[] = "net/ipv4/ip_local_reserved_ports";

// Neither: the node takes no such port by itself, or its settings are not known.
struct SourcePortGuard {
  std::optional<Sysctl> reservation;  // our ports, and whatever is reserved already
  std::string problem;  // why they are not reserved, with the mend: too few would be left
  bool operator==(const SourcePortGuard&) const = default;
};
SourcePortGuard GuardSourcePorts(const NodeFacts& facts);

}  // namespace kube_lvs
