// Whether a packet changed as forwarding changes it, and nowhere else.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/ebpf/packet_tests/fuzz/flows.h"
#include "dataplane/ebpf/packet_tests/fuzz/reading.h"

namespace kube_lvs::ebpf {

// One hop fewer, and that is all.
std::string AgedOnly(const Bytes& in, const Reading& before, const Bytes& out,
                     const Reading& after);

// One hop fewer; from and to `key`, or a later fragment from and to its addresses; checksums as
// wrong as they were.
std::string Translated(const Bytes& in, const Reading& before, const Bytes& out,
                       const Reading& after, const FlowKey& key);

// An ICMP error that is `from` and to `to` now, about a packet from and to `about`.
std::string ErrorTranslated(const Bytes& in, const Reading& before, const Bytes& out,
                            const Reading& after, const Bytes& from, const Bytes& to,
                            const FlowKey& about);

// The whole of `in` behind another IP header and, with a port, GUE's.
std::string Encapsulated(const Bytes& in, const Reading& before, const Bytes& out,
                         const Bytes& from, const Bytes& to, uint16_t gue_port);

}  // namespace kube_lvs::ebpf
