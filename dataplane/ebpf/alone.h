// The eBPF dataplane as lvsadm keeps it by itself: each call does all that somebody who stays would
// do, since nobody comes after it but the next command.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/backend.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/programs.h"
#include "dataplane/ebpf/rules.h"
#include "dataplane/host/local_clients.h"
#include "dataplane/model/ipvs_settings.h"
#include "dataplane/model/step.h"

namespace kube_lvs::ebpf {

// For readers, who adopt nothing. Rules and exact counts.
absl::StatusOr<Rules> ReadSwept(MapStore& maps, Programs& programs, Content content);
absl::StatusOr<IpvsTimeouts> ReadTimeouts(MapStore& maps);

// Not thread-safe. One process at a time writes; see cli/writer_turn.h.
class Alone {
 public:
  // As EbpfBackend::Adopt, also for errors. All are borrowed. Without `local`, clients on this host
  // are not served.
  static absl::StatusOr<std::unique_ptr<Alone>> Adopt(MapStore& maps, Programs& programs,
                                                      Network& network, const Clock& clock,
                                                      host::LocalClients* local = nullptr);

  // Hooks the programs into every Ethernet interface but lo and what is part of a bridge or bond,
  // and brings the ways to real servers up to date. kAlreadyExists: an agent's programs are there.
  absl::Status Serve();

  // Has clients on this host reach the VIPs that are no addresses of it, as the rules are now: by
  // LocalLink and LocalVips, which are taken back when no rule wants them.
  absl::Status ServeLocalClients();

  // Each step by itself, as the kernel takes messages: one that is refused stops no other.
  std::vector<absl::Status> Apply(std::span<const Step> steps);
  absl::Status RemoveServices();

  absl::StatusOr<bool> Has(const ServiceKey& key);
  // Sets the counters of a service, or of all, to 0. kNotFound: there is no such service.
  absl::Status Zero(const std::optional<ServiceKey>& key);

  // For the states that IPVS means; 0 keeps a value. Connections have them from their next packet.
  absl::Status SetTimeouts(const IpvsTimeouts& timeouts);

 private:
  Alone(MapStore& maps, Programs& programs, Network& network, host::LocalClients* local)
      : maps_(maps), programs_(programs), network_(network), local_(local) {}

  absl::StatusOr<std::optional<klvs_service>> Find(const ServiceKey& key);
  absl::Status ZeroOne(const ServiceKey& key);

  MapStore& maps_;
  Programs& programs_;
  Network& network_;
  host::LocalClients* local_;
  std::unique_ptr<EbpfBackend> backend_;
};

}  // namespace kube_lvs::ebpf
