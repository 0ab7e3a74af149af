// What the director would do with a client's packet, and why: what the real program did with it on
// a copy of the maps (Rehearse), read from the copy. Pure but for the maps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ebpf {

// The first packet of a connection by TCP or SCTP, or a UDP datagram; both ends of one family.
struct TracePacket {
  Protocol protocol = Protocol::kTcp;
  Endpoint client, vip;
  bool operator==(const TracePacket&) const = default;
};

enum class TraceVerdict {
  kForwarded,
  kDropped,
  kPassed,  // to the stack of this host
};

struct Trace {
  TraceVerdict verdict = TraceVerdict::kPassed;
  bool is_vip = false;             // the address is one that the director knows
  std::string drop_reason;         // of kDropped: as in metrics
  std::optional<RealServer> real;  // without a drop, or with one that came after the choice
  std::string state;               // of the connection that was there before, else empty
  std::string scheduler;           // of the service, if there is one
  bool persistent = false;         // persistence had the client stay with its real server
  bool delivered = false;          // another director has claimed the VIP, and chose `real`
  size_t reals = 0;                // of the service
  size_t available = 0;            // of them, those with a weight and below their threshold
  bool operator==(const Trace&) const = default;
};

// An Ethernet frame to the address of lo, which is zero.
std::vector<uint8_t> FrameOf(const TracePacket& packet);

// Puts into `to` what decides of packets of the family in `from`; its counters stay as they are.
// kDataLoss: maps of other sizes.
absl::Status CopyMaps(Family family, MapStore& from, MapStore& to);

// `before`: the maps without the packet; `after`: the copy, whose counters were zero. `action`:
// what the tc program returned.
absl::StatusOr<Trace> Explain(MapStore& before, MapStore& after, const TracePacket& packet,
                              uint32_t action);

}  // namespace kube_lvs::ebpf
