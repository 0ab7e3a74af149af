// The node items that a forwarding method needs on a director and on a real server (the table in
// docs/architecture.md, "What a node needs"). Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "dataplane/model/state.h"
#include "kube/api/types.h"
#include "node-agent/facts/facts.h"

namespace kube_lvs {

// Where clients of `vip` reach this director: the group's interfaces; without any those with the
// default route (all legs of a multipath one), else the one whose subnet has the VIP. Empty: none
// fits.
std::vector<const InterfaceFacts*> Uplinks(const api::LvsDirectorGroup::Spec& group,
                                           const NodeFacts& facts, const IpAddress& vip);

// For one service and port on a director. `reals` are its real servers.
std::set<NodeItem> DirectorItems(const ServiceKey& key, const VirtualService& service,
                                 const std::vector<const InterfaceFacts*>& uplinks,
                                 const NodeFacts& facts);

// For answering ARP for `vips`: on the uplink whose subnet has them, else on all of them. Of a
// prefix of IPv6, for which there is no such answer, its first address is answered for by NDP, as
// the next hop of a router's route to all of it.
std::set<NodeItem> AnswerItems(Dataplane dataplane, const Cidr& vips,
                               const std::vector<const InterfaceFacts*>& uplinks);

// For clients on this node of `vips`, which are of eBPF: as they come to our programs, and, of methods
// by which real servers answer past the director, as their answers come in. Empty if no uplink has
// an address that real servers could answer to.
std::set<NodeItem> LocalClientItems(const Cidr& vips, ForwardingMethod method,
                                    const std::vector<const InterfaceFacts*>& uplinks);

// The largest packet of a client on this node that fits the way to real servers of the service, as
// its tunnel leaves it: kLocalLink's MTU, or more, for IPv6 wants 1280.
uint32_t LocalMtu(const api::LvsServiceSpec& spec, const IpAddress& vip, uint32_t uplink_mtu);

// For a real server of a DirectRouting or Tunnel service, whose address is one of ours. A tunnel is by
// IPIP or GUE.
std::set<NodeItem> RealServerItems(const RealServer& real, const Cidr& vips,
                                   const std::vector<IpAddress>& directors, bool mss_clamp,
                                   const NodeFacts& facts);

// Of clamps of the same VIPs, as of services with different tunnels, the least: the others would not
// fit.
void KeepLeastClamps(std::set<NodeItem>& items);

}  // namespace kube_lvs
