// Tells the neighbours of an interface where an address now lives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ip.h"

namespace kube_lvs::host {

// The Ethernet frames by which a neighbour with `mac` says that it has `address`: gratuitous ARP
// (RFC 5227 announcement as request, and as reply, since switches and routers differ in which they
// heed), or an unsolicited neighbour advertisement (RFC 4861, 7.2.6) with the override flag. Pure.
std::vector<std::vector<uint8_t>> Announcements(const IpAddress& address, const MacAddress& mac);

// Sends these, of a prefix for each of its addresses; that is IPv4 only (kInvalidArgument). Needs
// NET_RAW. One of each: call again later to be heard by those that were busy.
absl::Status Announce(const Cidr& vips, const std::string& interface);

}  // namespace kube_lvs::host
