// The backends of this node, as main puts them together: what they are opened from, and how the
// loop and the scrapes share them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "dataplane/model/backend.h"
#include "dataplane/model/service.h"
#include "node-agent/desired/shared_ipvs.h"

namespace kube_lvs {

struct NodeBackendsOptions {
  std::string bpf_dir, state_dir;
  std::vector<std::string> xdp_interfaces;  // globs
  // Asked when the eBPF dataplane is opened: how many connections its table shall hold.
  std::function<uint32_t()> connections;
};

// Thread-safe: one call into the kernel at a time.
class NodeBackends {
 public:
  // `clock` must outlive it. Opens what must be there for any rule (host, IPVS's journal).
  static absl::StatusOr<std::unique_ptr<NodeBackends>> Open(NodeBackendsOptions options,
                                                            const Clock& clock);
  virtual ~NodeBackends() = default;

  virtual std::vector<Backend*> All() = 0;  // borrowed

  // For the eBPF dataplane, if it is open; OK if not.
  virtual absl::Status Refresh() = 0;
  // The right to answer for VIPs, in both dataplanes; as Agent::RenewClaims.
  virtual absl::Status RenewClaims(std::optional<Duration> lifetime,
                                   std::optional<bool> by_one) = 0;
  // Tells the neighbours again that those of these VIPs which are answered here are at this node.
  virtual absl::Status AnnounceAgain(const std::set<IpAddress>& vips) = 0;
  // VIPs in the kernel for which that right has run out: nobody was there to renew it.
  virtual std::set<IpAddress> RunOutClaims() = 0;
  // Readable when a refresh is due; -1 while it is not open.
  virtual int RefreshFd() const = 0;
  // The interfaces that our programs serve, by name: why native XDP does not; empty if it does.
  virtual absl::StatusOr<std::map<std::string, std::string>> Attachments() = 0;
  // Packets that the eBPF dataplane dropped since its maps were made, by reason.
  virtual absl::StatusOr<std::map<std::string, uint64_t>> Drops() = 0;
  // How full the tables of the eBPF dataplane are, 0 .. 1, by name.
  virtual std::map<std::string, double> TablesUsed() = 0;
  // How many counts of connections Refresh put right since the start.
  virtual uint64_t CountsRepaired() = 0;
  // How others use this namespace's IPVS, as of the last reading of all rules.
  virtual SharedIpvs Shared() = 0;
  // Why the eBPF dataplane could not be opened when it was needed; OK if it was not needed.
  virtual absl::Status EbpfStatus() = 0;

  // Takes away all that is ours. What fails is named; the rest is done all the same.
  virtual absl::Status CleanUp() = 0;
};

}  // namespace kube_lvs
