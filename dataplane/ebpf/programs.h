// The seam to what hooks our programs into interfaces. Production: bpf_objects.h; tests keep a
// list.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/network.h"

namespace kube_lvs::ebpf {

// How an interface is served.
struct AttachReport {
  std::string interface;
  bool xdp = false;     // native XDP transmits; tc takes what XDP passes on
  std::string why_not;  // why there is no XDP, for people; empty with it
  bool operator==(const AttachReport&) const = default;
};

// "eth0: XDP native", "veth1: tc: a veth is a virtual device".
inline std::string ToString(const AttachReport& report) {
  return report.interface + (report.xdp ? ": XDP native" : ": tc: " + report.why_not);
}

// Not thread-safe; the calling thread is in the network namespace of the interfaces.
class Programs {
 public:
  virtual ~Programs() = default;

  // Brings all our programs onto the interface, replacing older ones of ours without a gap, and
  // leaving others' alone. kNotFound: the interface is gone.
  virtual absl::StatusOr<AttachReport> Attach(const Link& link) = 0;

  // Takes ours off again, and only ours. OK when there is nothing.
  virtual absl::Status Detach(const Link& link) = 0;

  // What is there: nothing unless all that Attach would do is in place.
  virtual absl::StatusOr<std::optional<AttachReport>> Find(const Link& link) = 0;

  // Takes expired connections out of the tables, which have `sets` and, IPv6's, `sets6` sets. The
  // programs do so with those they meet; this is for exact counts in klvs_real_conns.
  virtual absl::Status SweepConnections(uint32_t sets, uint32_t sets6) = 0;

  // Returns when every run of a program that had begun before the call has ended: some 10 ms.
  // kUnimplemented: the kernel cannot tell (nohz_full).
  virtual absl::Status AwaitRunning() = 0;
};

}  // namespace kube_lvs::ebpf
