#include "dataplane/ebpf/drop_samples.h"

#include <algorithm>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

absl::StatusOr<DropSample> DecodeDropSample(std::span<const uint8_t> record) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto raw, FromBytes<klvs_drop_sample>(record));
  const auto frame = std::span(raw.frame).first(std::min<size_t>(raw.captured, KLVS_DROP_FRAME));
  return DropSample{.boot_ns = raw.boot_ns,
                    .ifindex = raw.ifindex,
                    .stage = raw.stage == KLVS_STAGE_XDP ? "xdp" : "tc",
                    .reason = DropReasonName(raw.reason),
                    .length = raw.length,
                    .frame = {frame.begin(), frame.end()}};
}

}  // namespace kube_lvs::ebpf
