// The maps of this version: their names, their sizes and the settings that they begin with. Only for
// bpf_*.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/bpf_objects.h"

namespace kube_lvs::ebpf {

// The maps of abi.h that user space knows, of directors first.
std::span<const std::string_view> MapNames();
uint32_t CapacityOf(const MapSizes& sizes, std::string_view map);  // 0: as in bpf/maps.h

// Fills in fresh settings; leaves those of this layout alone.
absl::Status InitialiseSettings(BpfMaps& maps);

}  // namespace kube_lvs::ebpf
