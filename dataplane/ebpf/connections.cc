#include "dataplane/ebpf/connections.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

// As the programs' readers do: what is between two equal control words belongs together.
std::optional<klvs_conn> Copy(klvs_conn& shared) {
  std::atomic_ref<__u64> ctl(shared.ctl);
  const uint64_t before = ctl.load(std::memory_order_acquire);
  constexpr uint32_t kFlags = KLVS_CONN_LIVE | KLVS_CONN_REPLY | KLVS_CONN_PENDING;
  if ((KLVS_CTL_FLAGS(before) & kFlags) != KLVS_CONN_LIVE) return std::nullopt;
  const klvs_conn out = shared;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (ctl.load(std::memory_order_acquire) != before) return std::nullopt;
  return out;
}

}  // namespace

absl::StatusOr<std::vector<Connection>> ReadConnections(MapStore& maps, uint64_t jiffies) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto sets, GetArray<klvs_conn_set>(maps, kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals, GetArray<klvs_real>(maps, kRealsMap));
  const uint32_t hz = std::max(settings[0].hz, 1U);
  std::vector<Connection> out;
  for (klvs_conn_set& set : sets) {
    for (int way = 0; way < KLVS_CONN_WAYS; ++way) {
      if (set.tags[way] == 0) continue;
      const auto entry = Copy(set.ways[way]);
      if (!entry || jiffies > entry->expires || entry->real >= reals.size()) continue;
      const klvs_real& real = reals[entry->real];
      const klvs_conn_key& key = entry->key;
      out.push_back({.protocol = static_cast<Protocol>(key.protocol),
                     .client = {.ip = FromWire(key.src), .port = FromWirePort(key.sport)},
                     .vip = {.ip = FromWire(key.dst), .port = FromWirePort(key.dport)},
                     .real = {.ip = FromWire(real.address), .port = FromWirePort(real.port)},
                     .state = ConnectionStateName(KLVS_CTL_STATE(entry->ctl)),
                     .expires_seconds = static_cast<uint32_t>((entry->expires - jiffies) / hz)});
    }
  }
  return out;
}

}  // namespace kube_lvs::ebpf
