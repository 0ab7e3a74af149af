// Packets at random: sound ones first, then what mutation makes of them.
#pragma once

#include "dataplane/ebpf/packet_tests/fuzz/flows.h"
#include "dataplane/ebpf/packet_tests/fuzz/site.h"

namespace kube_lvs::ebpf {

// A sound packet: of a client to a VIP, of a real server to a client, an ICMP error or echo, a
// question for a VIP's link address, or one that is none of the director's business.
Bytes RandomPacket(Director& director, const Site& site, Chance& chance);

// Now and then cut, padded, with lengths that lie, flipped bits, a VLAN tag.
Bytes Mutated(Bytes frame, Chance& chance);

}  // namespace kube_lvs::ebpf
