#include "dataplane/ebpf/recount.h"

#include <atomic>

namespace kube_lvs::ebpf {
namespace {

// As state_is_active of bpf/state.h; the kernel's tcp_state_active_table and its like for SCTP.
bool IsActive(uint32_t state) {
  switch (state) {
    case KLVS_ESTABLISHED:
    case KLVS_SYN_SENT:
    case KLVS_SYN_RECV:
    case KLVS_SYNACK:
    case KLVS_SCTP_ESTABLISHED:
      return true;
    default:
      return false;
  }
}

// Mixes well enough that sums over different entries differ (the finalizer of MurmurHash3).
uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ x >> 33;
}

template <typename Set>
void Count(std::span<Set> sets, std::span<klvs_set_tags> tags, uint64_t table,
           std::vector<Recount>& out) {
  for (size_t i = 0; i < sets.size(); ++i) {
    for (uint32_t way = 0; way < KLVS_CONN_WAYS; ++way) {
      if (std::atomic_ref<__u16>(tags[i].way[way]).load(std::memory_order_relaxed) == 0) continue;
      auto& entry = sets[i].ways[way];
      const uint64_t ctl = std::atomic_ref<__u64>(entry.ctl).load(std::memory_order_acquire);
      const uint32_t flags = KLVS_CTL_FLAGS(ctl);
      if ((flags & KLVS_CONN_LIVE) == 0 || (flags & KLVS_CONN_REPLY) != 0) continue;
      const uint32_t real = std::atomic_ref<__u32>(entry.real).load(std::memory_order_relaxed);
      if (real >= out.size()) continue;
      const uint32_t state = KLVS_CTL_STATE(ctl);
      const uint64_t handle = 1 + i * KLVS_CONN_WAYS + way;
      out[real].counts += IsActive(state) ? 1 : uint64_t{1} << 32;
      out[real].fingerprint +=
          Mix(Mix(table << 32 | handle) ^ KLVS_CTL_GENERATION(ctl) ^ uint64_t{state} << 32);
    }
  }
}

}  // namespace

uint64_t CountsOf(const klvs_real_conns& conns) {
  return uint64_t{conns.inactive} << 32 | conns.active;
}

std::vector<Recount> CountConnections(const ConnTables& tables, size_t reals) {
  std::vector<Recount> out(reals);
  Count(tables.sets, tables.tags, 4, out);
  Count(tables.sets6, tables.tags6, 6, out);
  return out;
}

uint64_t CorrectionOf(const CountReading& first, const CountReading& second) {
  return first == second ? first.table.counts - first.counts : 0;
}

}  // namespace kube_lvs::ebpf
