// Node items of the eBPF dataplane: the interfaces that it serves, the VIPs that it answers for,
// connection timeouts, and what real servers need (tunnel_items.h).
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/programs.h"
#include "dataplane/ebpf/service_tables.h"
#include "dataplane/model/step.h"

namespace kube_lvs::ebpf {

// Not thread-safe. Remembers nothing but the end of claims.
class NodeItems {
 public:
  // All are borrowed; `settings` and `interfaces` are the running programs' own.
  NodeItems(MapStore& maps, Programs& programs, Network& network, Addresses& addresses,
            const ServiceTables& services, klvs_settings& settings,
            std::span<klvs_interface> interfaces)
      : maps_(maps),
        programs_(programs),
        network_(network),
        addresses_(addresses),
        services_(services),
        settings_(settings),
        interfaces_(interfaces) {}

  static bool Takes(const NodeItem& item);

  // What is there, added to `items`.
  absl::Status Read(std::set<NodeItem>& items);

  // Adds or removes it. `all` is the plan that the step is of: a VIP moves to another interface
  // only where its removal from the present one follows.
  absl::Status Apply(const NodeItem& item, bool add, std::span<const Step> all);

  // Interfaces' records, and IPv6 VIPs that they have stopped hearing. Writes only what changed.
  absl::Status Refresh();

  // As EbpfBackend's.
  absl::Status RenewClaims(uint64_t until_boottime_ns);
  absl::Status AnnounceAgain(const std::set<IpAddress>& vips);
  absl::StatusOr<std::vector<AttachReport>> Attachments();

 private:
  absl::Status Set(const Attachment& item, bool add);
  absl::Status Set(const ConnectionTimeout& item, bool add);
  absl::Status Set(const AnsweredVip& item, bool add, std::span<const Step> all);

  absl::StatusOr<std::vector<std::pair<Link, AttachReport>>> Attached();
  absl::Status RefreshInterfaces();
  absl::Status RefreshHearing();

  MapStore& maps_;
  Programs& programs_;
  Network& network_;
  Addresses& addresses_;
  const ServiceTables& services_;
  klvs_settings& settings_;
  std::span<klvs_interface> interfaces_;
  uint64_t claim_until_ = UINT64_MAX;
};

}  // namespace kube_lvs::ebpf
