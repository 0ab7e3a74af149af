// Counts of connections that differ from the table are put right.
#include <atomic>
#include <cstddef>

#include "base/status.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/recount.h"
#include "dataplane/ebpf/service_records.h"
#include "dataplane/ebpf/service_tables.h"

namespace kube_lvs::ebpf {
namespace {

// Programs add to both counts as one word.
std::atomic_ref<uint64_t> WordOf(klvs_real_conns& conns) {
  static_assert(offsetof(klvs_real_conns, active) == 0 && offsetof(klvs_real_conns, inactive) == 4);
  return std::atomic_ref<uint64_t>(reinterpret_cast<uint64_t&>(conns));
}

}  // namespace

absl::StatusOr<CountReading> ServiceTables::ReadCount(uint32_t id) {
  CountReading out;
  out.counts = WordOf(conns_[id]).load();
  KUBE_LVS_ASSIGN_OR_RETURN(const Counters counters, ReadCounters(maps_, kRealCountersMap, id));
  out.passed = counters.packets + counters.reply_packets + counters.connections;
  // A connection that did not come in was counted meanwhile.
  for (const uint32_t reason : {KLVS_DROP_TABLE_FULL, KLVS_DROP_RACE}) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t dropped, ReadDropsFor(maps_, reason));
    out.passed += dropped;
  }
  return out;
}

absl::StatusOr<uint32_t> ServiceTables::RepairCounts(
    const std::function<absl::Status()>& await_programs) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ConnTables tables, GetConnTables(maps_));
  const auto count = [&] { return CountConnections(tables, reals_.size()); };
  // Of one walk alone a difference may be what moved, but where there is none nothing is to do.
  std::vector<Recount> table = count();
  std::vector<uint32_t> suspects;
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    if (IsValid(reals_[id]) && WordOf(conns_[id]).load() != table[id].counts) {
      suspects.push_back(id);
    }
  }
  if (suspects.empty()) return 0;

  std::vector<CountReading> first;
  for (const uint32_t id : suspects) {
    KUBE_LVS_ASSIGN_OR_RETURN(first.emplace_back(), ReadCount(id));
  }
  table = count();
  for (size_t i = 0; i < suspects.size(); ++i) first[i].table = table[suspects[i]];
  KUBE_LVS_RETURN_IF_ERROR(await_programs());
  table = count();
  uint32_t repaired = 0;
  for (size_t i = 0; i < suspects.size(); ++i) {
    const uint32_t id = suspects[i];
    KUBE_LVS_ASSIGN_OR_RETURN(CountReading second, ReadCount(id));
    second.table = table[id];
    const uint64_t correction = CorrectionOf(first[i], second);
    if (correction == 0) continue;
    WordOf(conns_[id]).fetch_add(correction);
    FitOverload(reals_[id], conns_[id]);
    ++repaired;
  }
  return repaired;
}

}  // namespace kube_lvs::ebpf
