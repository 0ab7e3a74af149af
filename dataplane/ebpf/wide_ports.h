// Which service of many ports has which port: the entries of klvs_ports. They follow from the keys
// in klvs_wide_services, and are written only where they do not say so already. While two services
// that overlap are there, as when one takes the other's place, the smaller block wins, and a block
// of both stays with whoever had it.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

// The blocks of ports of a service: at most 30, in the order of their ports.
std::vector<klvs_port_key> BlocksOf(const klvs_wide_key& service);

// Whether every block of the service leads to it, or to one that is there and has the same block.
absl::StatusOr<bool> HasItsPorts(MapStore& maps, const klvs_wide_key& service);

// Leads ports that have no service to this one; with `take`, also those that would stay with the
// larger block of another. Nobody who is there loses a port to one that is not there yet: first
// without `take`, then comes the service, then with it.
absl::Status LeadPorts(MapStore& maps, const klvs_wide_key& service, bool take);

// The service is about to go: its blocks go to others that have the same, or away.
absl::Status ReleasePorts(MapStore& maps, const klvs_wide_key& service);

// Takes away, or hands on, the blocks of services that are not there.
absl::Status TidyPorts(MapStore& maps);

}  // namespace kube_lvs::ebpf
