// The eBPF dataplane of this network namespace, from its parts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "dataplane/ebpf/alone.h"
#include "dataplane/ebpf/backend.h"
#include "dataplane/ebpf/bpf_objects.h"
#include "dataplane/ebpf/connections.h"
#include "dataplane/ebpf/drop_ring.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/rules.h"
#include "dataplane/ebpf/trace.h"

namespace kube_lvs::ebpf {

// The backend borrows the other two. Destroying it changes nothing in the kernel.
struct EbpfDataplane {
  std::unique_ptr<Network> network;
  BpfObjects objects;
  std::unique_ptr<EbpfBackend> backend;
};

// Loads or takes over everything (see OpenBpfObjects and EbpfBackend::Adopt, also for errors).
// `clock` is borrowed.
absl::StatusOr<EbpfDataplane> OpenEbpfDataplane(const BpfOptions& options, const Clock& clock);

// What is in the maps pinned in `dir`, for a reader that takes over nothing. kNotFound: no maps.
absl::StatusOr<Rules> ReadPinnedRules(const std::string& dir, Content content);
absl::StatusOr<std::vector<Connection>> ReadPinnedConnections(const std::string& dir);
absl::StatusOr<Trace> TracePinned(const std::string& dir, const TracePacket& packet);

// What is dropped: packets by reason, and some of them. For errors see drop_ring.h.
struct Drops {
  std::unique_ptr<MapStore> maps;  // for ReadDrops
  std::unique_ptr<DropRing> ring;
};
absl::StatusOr<Drops> OpenPinnedDrops(const std::string& dir);

// Takes our programs off every interface of this namespace and removes our pins: `--cleanup`.
absl::Status CleanUpEbpfDataplane(const std::string& dir);

// The dataplane that lvsadm makes where there is no agent: see bpf_objects.h, also for errors.
struct AloneDataplane {
  std::unique_ptr<Network> network;
  std::unique_ptr<host::LocalClients> local;
  BpfObjects objects;
  std::unique_ptr<Alone> alone;
};
// For the one writer. `make`: where there is none, a new one, which stays if it serves.
absl::StatusOr<AloneDataplane> OpenAlone(bool make, const Clock& clock);
absl::StatusOr<Rules> ReadAloneRules(Content content);
absl::StatusOr<std::vector<Connection>> ReadAloneConnections();
absl::StatusOr<Trace> TraceAlone(const TracePacket& packet);
absl::StatusOr<Drops> OpenAloneDrops();
absl::StatusOr<IpvsTimeouts> ReadAloneTimeouts();
absl::Status RemoveAlone();

}  // namespace kube_lvs::ebpf
