// The connection table for people: lvsadm -L -c.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ebpf {

struct Connection {
  Protocol protocol = Protocol::kTcp;
  Endpoint client, vip, real;
  std::string state;  // the kernel's word: "ESTABLISHED", "UDP"
  uint32_t expires_seconds = 0;
  bool operator==(const Connection&) const = default;
};

// Those that are there at `jiffies` (ProgramsJiffies), in the table's order; of NAT's two entries
// the client's. One that changes meanwhile may be left out. After them the templates of persistent
// services: in state NONE, the client without the bits that are not of its prefix and without port.
absl::StatusOr<std::vector<Connection>> ReadConnections(MapStore& maps, uint64_t jiffies);

}  // namespace kube_lvs::ebpf
