// How packets reach a service of many ports or of a prefix of VIPs. IPVS finds such a service by a
// packet's mark alone, so each has a mark of its own, and a table outside of IPVS marks its
// packets.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ipvs {

using Marks = std::map<ServiceKey, uint32_t>;  // of services that NeedsMark

struct MarkReading {
  Marks marks;
  // Packets that came with another program's mark, which ours replaced, since the table was made.
  uint64_t replaced = 0;
};

// Not thread-safe.
class MarkTable {
 public:
  virtual ~MarkTable() = default;

  // The services whose packets are marked, all of them and with what follows from it. Errors: as
  // Write.
  virtual absl::StatusOr<MarkReading> Read() = 0;

  // From now on the packets of these services are marked, and no others: at once, and no packet
  // that was marked before and after goes without. None overlaps another. kFailedPrecondition: the
  // kernel cannot.
  virtual absl::Status Write(const Marks& marks) = 0;
};

// The mark for a service: one that is not taken, and the same for the same key as long as nobody
// takes it, so that directors agree. Pure. Never set are bits that kube-proxy (0x4000, 0x8000) and
// Cilium (0x0f00) act upon, and the highest, with which ipvsadm shows a negative number.
uint32_t ChooseMark(const ServiceKey& key, const std::set<uint32_t>& taken);

// `there` with `added`, which take packets from whoever overlaps them: a range that grows is a new
// service beside the old one. Pure.
Marks WithMarks(Marks there, const Marks& added);

}  // namespace kube_lvs::ipvs
