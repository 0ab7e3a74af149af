// Source NAT for connections that IPVS forwards, in a table of our own: nftables `inet kube-lvs`.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/model/state.h"

namespace kube_lvs::host {

// Connections whose original destination is one of the listed VIPs leave with the address of the
// interface they go out by. Needs net.ipv4.vs.conntrack=1. The table is there only while something
// is in it; no other table is read or touched. Not thread-safe.
class MasqueradeTable {
 public:
  virtual ~MasqueradeTable() = default;
  virtual absl::StatusOr<std::vector<Masquerade>> Read() = 0;
  virtual absl::Status Add(const Masquerade& entry) = 0;
  virtual absl::Status Remove(const Masquerade& entry) = 0;
};

// kFailedPrecondition later, from its calls, where the kernel has no nf_tables.
absl::StatusOr<std::unique_ptr<MasqueradeTable>> OpenMasqueradeTable();

}  // namespace kube_lvs::host
