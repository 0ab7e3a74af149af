// How much memory BPF maps take, and how much there is for them: asked before they are made, since
// a process whose control group runs out is killed in the middle. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kube_lvs::ebpf {

struct MapShape {
  uint32_t type = 0;  // BPF_MAP_TYPE_*
  uint32_t key_size = 0;
  uint32_t value_size = 0;
  uint32_t max_entries = 0;
  uint32_t flags = 0;  // BPF_F_*
};

// In bytes, when it is made; a map that is not preallocated grows. Types that we do not use: 0.
// Source: array_map_mem_usage and htab_map_mem_usage of Linux 6.12, which bpf_map's fdinfo shows as
// memlock.
uint64_t BytesOf(const MapShape& shape, uint32_t cpus);

// The control group, of this process or an outer one, that leaves it the least memory.
struct MemoryRoom {
  std::string group;   // its folder
  uint64_t limit = 0;  // bytes
  uint64_t used = 0;   // the working set as kubelet has it: without files that can be dropped
  bool operator==(const MemoryRoom&) const = default;
};

// From /proc/self/cgroup, /proc/self/mountinfo and the groups' files, of version 1 or 2. nullopt:
// no limit is set, or none is in sight.
std::optional<MemoryRoom> FindMemoryRoom(
    const std::function<absl::StatusOr<std::string>(const std::string& path)>& read);

// kResourceExhausted: maps of so many bytes do not fit; the message has both numbers, then `mend`.
absl::Status CheckRoom(uint64_t bytes, const std::optional<MemoryRoom>& room,
                       std::string_view mend);

}  // namespace kube_lvs::ebpf
