// The connection table as the fuzzer reads it, and what must hold of it between packets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"
#include "dataplane/ebpf/packet_tests/fuzz/reading.h"

namespace kube_lvs::ebpf {

// Two ends and a protocol, as in a packet from `src`.
struct FlowKey {
  Bytes src, dst;  // 4 or 16 bytes
  uint16_t sport = 0, dport = 0;
  uint8_t protocol = 0;
  bool operator==(const FlowKey&) const = default;
};

// A connection; `key` is the client's.
struct Flow {
  FlowKey key;
  uint32_t real = 0, service = 0, flags = 0, state = 0;
  uint64_t expires = 0;  // jiffies
  Bytes nat;  // what a NAT real server sees as client
  uint16_t nat_port = 0;
  Mac client = {};
};

FlowKey KeyOf(const Reading& reading);
FlowKey Reversed(FlowKey key);

std::optional<Flow> FindFlow(std::span<klvs_conn_set> sets, std::span<klvs_conn_set6> sets6,
                             const FlowKey& key);
std::optional<Flow> FindFlow(Director& director, const FlowKey& key);
// The NAT connection of which this is a real server's packet.
std::optional<Flow> FindFlowOfReply(Director& director, const FlowKey& key);
// The connection at or behind the nth place of one family's table; none if it is empty.
std::optional<Flow> FlowNear(Director& director, bool ipv6, size_t place);
// The one at that place, if any, has expired.
void ExpireNear(Director& director, bool ipv6, size_t place);

// What is wrong with tables and counts while no packet is on its way: "" is nothing. `counts` is
// klvs_real_conns.
std::string TableFault(const ConnTables& tables, std::span<const klvs_real_conns> counts);

}  // namespace kube_lvs::ebpf
