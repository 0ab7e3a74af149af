// What the programs show of packets that they dropped. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::ebpf {

struct DropSample {
  uint64_t boot_ns = 0;   // CLOCK_BOOTTIME
  uint32_t ifindex = 0;   // where it came in
  std::string stage;      // "xdp", "tc"
  std::string reason;     // as metrics name it
  uint32_t length = 0;    // of the frame
  std::vector<uint8_t> frame;  // its beginning, when it was dropped
};

// One record of klvs_drop_ring. kDataLoss: of another layout.
absl::StatusOr<DropSample> DecodeDropSample(std::span<const uint8_t> record);

}  // namespace kube_lvs::ebpf
