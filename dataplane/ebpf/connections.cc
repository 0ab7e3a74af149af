#include "dataplane/ebpf/connections.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/conn_tables.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

// As the programs' readers do: what is between two equal control words belongs together.
template <typename Entry>
std::optional<Entry> Copy(Entry& shared) {
  std::atomic_ref<__u64> ctl(shared.ctl);
  const uint64_t before = ctl.load(std::memory_order_acquire);
  constexpr uint32_t kFlags = KLVS_CONN_LIVE | KLVS_CONN_REPLY | KLVS_CONN_PENDING;
  if ((KLVS_CTL_FLAGS(before) & kFlags) != KLVS_CONN_LIVE) return std::nullopt;
  const Entry out = shared;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (ctl.load(std::memory_order_acquire) != before) return std::nullopt;
  return out;
}

struct Reals {
  std::span<const klvs_real> v4;  // and what both families have
  std::span<const klvs_real6> v6;

  // `port`: where the client sent to; some real servers take each packet at its own port.
  Endpoint At(uint32_t id, uint16_t port) const {
    if (v4[id].port != 0) port = FromWirePort(v4[id].port);
    if ((v4[id].flags & KLVS_REAL_IPV6) == 0) return {FromWire(v4[id].address), port};
    return {FromWire(v6[id].address), port};
  }
};

// The templates of one family, as ipvsadm shows them: from no port, and of many ports to none.
// `vip` is a service's VIP by its id.
template <typename Key, typename VipOfService>
absl::Status AddTemplates(MapStore& maps, std::string_view map, const Reals& reals,
                          std::span<const klvs_service_state> states,
                          std::span<const klvs_wide_state> wide, VipOfService vip, uint64_t jiffies,
                          uint32_t hz, std::vector<Connection>& out) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, (GetAll<Key, klvs_template>(maps, map)));
  for (const auto& [key, entry] : entries) {
    const uint32_t real = KLVS_TEMPLATE_REAL(entry.word);
    if (key.service >= states.size() || real == 0 || real >= reals.v4.size()) continue;
    const klvs_service_state& state = states[key.service];
    uint64_t left = entry.expires - jiffies;
    if (jiffies > entry.expires) {
      if (KLVS_TEMPLATE_CONTROLLED(entry.word) == 0) continue;
      const uint64_t again = uint64_t{KLVS_TEMPLATE_AGAIN_SECONDS} * hz;
      left = again - (jiffies - entry.expires) % again;
    }
    out.push_back(
        {.protocol = static_cast<Protocol>(state.protocol),
         .client = {.ip = FromWire(key.client), .port = 0},
         .vip = {.ip = vip(key.service),
                 .port = wide[key.service].wide != 0 ? uint16_t{0} : FromWirePort(state.port)},
         .real = reals.At(real, 0),
         .state = ConnectionStateName(KLVS_NONE),
         .expires_seconds = static_cast<uint32_t>(left / hz)});
  }
  return absl::OkStatus();
}

// The entries of one family.
template <typename Set>
void Add(std::span<Set> sets, std::span<klvs_set_tags> tags, const Reals& reals,
         uint64_t jiffies, uint32_t hz, std::vector<Connection>& out) {
  for (size_t i = 0; i < sets.size(); ++i) {
    for (int way = 0; way < KLVS_CONN_WAYS; ++way) {
      if (std::atomic_ref<__u16>(tags[i].way[way]).load(std::memory_order_relaxed) == 0) continue;
      const auto entry = Copy(sets[i].ways[way]);
      if (!entry || jiffies > entry->expires || entry->real >= reals.v4.size()) continue;
      const auto& key = entry->key;
      out.push_back({.protocol = static_cast<Protocol>(key.protocol),
                     .client = {.ip = FromWire(key.src), .port = FromWirePort(key.sport)},
                     .vip = {.ip = FromWire(key.dst), .port = FromWirePort(key.dport)},
                     .real = reals.At(entry->real, FromWirePort(key.dport)),
                     .state = ConnectionStateName(KLVS_CTL_STATE(entry->ctl)),
                     .expires_seconds = static_cast<uint32_t>((entry->expires - jiffies) / hz)});
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<Connection>> ReadConnections(MapStore& maps, uint64_t jiffies) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const ConnTables tables, GetConnTables(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v4, GetArray<klvs_real>(maps, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6, GetArray<klvs_real6>(maps, kReals6Map));
  if (v6.size() < v4.size()) return absl::DataLossError("klvs_reals6 is smaller than klvs_reals");
  const Reals reals = {v4, v6};
  const uint32_t hz = std::max(settings[0].hz, 1U);
  std::vector<Connection> out;
  Add(tables.sets, tables.tags, reals, jiffies, hz, out);
  Add(tables.sets6, tables.tags6, reals, jiffies, hz, out);

  KUBE_LVS_ASSIGN_OR_RETURN(const auto states,
                            GetArray<klvs_service_state>(maps, kServiceStateMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vips6, GetArray<klvs_in6>(maps, kServiceVips6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto wide, GetArray<klvs_wide_state>(maps, kWideStateMap));
  if (vips6.size() < states.size() || wide.size() < states.size()) {
    return absl::DataLossError(
        "klvs_service_vips6 or klvs_wide_state is smaller than klvs_service_state");
  }
  const auto vip = [states = std::span(states)](uint32_t id) { return FromWire(states[id].vip); };
  const auto vip6 = [vips6 = std::span(vips6)](uint32_t id) { return FromWire(vips6[id]); };
  KUBE_LVS_RETURN_IF_ERROR(AddTemplates<klvs_template_key>(maps, kTemplatesMap, reals, states, wide,
                                                           vip, jiffies, hz, out));
  KUBE_LVS_RETURN_IF_ERROR(AddTemplates<klvs_template_key6>(maps, kTemplates6Map, reals, states,
                                                            wide, vip6, jiffies, hz, out));
  return out;
}

}  // namespace kube_lvs::ebpf
