#include "dataplane/ebpf/counters.h"

#include <cstring>
#include <span>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

void Add(const klvs_counters& one, Counters& sum) {
  sum.packets += one.packets;
  sum.bytes += one.bytes;
  sum.connections += one.connections;
  sum.reply_packets += one.reply_packets;
  sum.reply_bytes += one.reply_bytes;
}

}  // namespace

absl::StatusOr<Counters> ReadCounters(MapStore& maps, std::string_view map, uint32_t id) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto per_cpu, maps.LookupPerCpu(map, AsBytes(id)));
  Counters out;
  for (const Bytes& bytes : per_cpu) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto one, FromBytes<klvs_counters>(bytes));
    Add(one, out);
  }
  return out;
}

absl::StatusOr<std::vector<Counters>> ReadAllCounters(MapStore& maps, std::string_view map,
                                                      uint32_t end) {
  std::vector<Counters> out(end);
  absl::Status fits;
  KUBE_LVS_RETURN_IF_ERROR(
      maps.VisitPerCpu(map, end, [&](uint32_t id, std::span<const uint8_t> values) {
        static_assert(sizeof(klvs_counters) % 8 == 0);
        if (values.size() % sizeof(klvs_counters) != 0) {
          fits = absl::DataLossError("the map " + std::string(map) + " has another layout");
          return;
        }
        for (; !values.empty(); values = values.subspan(sizeof(klvs_counters))) {
          klvs_counters one;
          std::memcpy(&one, values.data(), sizeof one);
          Add(one, out[id]);
        }
      }));
  KUBE_LVS_RETURN_IF_ERROR(fits);
  return out;
}

absl::StatusOr<uint64_t> ReadDropsFor(MapStore& maps, uint32_t reason) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto per_cpu, maps.LookupPerCpu(kDropsMap, AsBytes(reason)));
  uint64_t out = 0;
  for (const Bytes& bytes : per_cpu) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto one, FromBytes<uint64_t>(bytes));
    out += one;
  }
  return out;
}

absl::StatusOr<std::map<std::string, uint64_t>> ReadDrops(MapStore& maps) {
  std::map<std::string, uint64_t> out;
  for (uint32_t reason = 1; reason < KLVS_DROP_REASONS; ++reason) {
    KUBE_LVS_ASSIGN_OR_RETURN(out[DropReasonName(reason)], ReadDropsFor(maps, reason));
  }
  return out;
}

}  // namespace kube_lvs::ebpf
