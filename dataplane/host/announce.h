// Tells the neighbours of an interface where an address now lives.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/ip.h"

namespace kube_lvs::host {

// Sends gratuitous ARP (RFC 5227 announcement as request, and as reply, since switches and routers
// differ in which they heed), or an unsolicited neighbour advertisement (RFC 4861, 7.2.6) with the
// override flag. Of a prefix, for each of its addresses; IPv4 only (kInvalidArgument). Needs
// NET_RAW. One of each: call again later to be heard by those that were busy.
absl::Status Announce(const Cidr& vips, const std::string& interface);

}  // namespace kube_lvs::host
