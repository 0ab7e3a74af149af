// The layout of maps that are there already, whatever the size of their klvs_settings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

// 0: maps that nobody has written to yet.
inline absl::StatusOr<uint32_t> GetLayout(MapStore& maps) {
  static_assert(offsetof(klvs_settings, layout) == 0);
  KUBE_LVS_ASSIGN_OR_RETURN(const std::span<const uint8_t> bytes, maps.Mapped(kSettingsMap));
  uint32_t layout = 0;
  if (bytes.size() < sizeof layout) return absl::DataLossError("klvs_settings is empty");
  std::memcpy(&layout, bytes.data(), sizeof layout);
  return layout;
}

}  // namespace kube_lvs::ebpf
