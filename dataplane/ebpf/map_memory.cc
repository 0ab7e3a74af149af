#include "dataplane/ebpf/map_memory.h"

#include <linux/bpf.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <sstream>

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHashElement = 48;  // struct htab_elem without key and value
constexpr uint64_t kBucket = 16;
constexpr uint64_t kRingHead = 3;  // pages of struct bpf_ringbuf before the data

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

uint64_t HashBytes(const MapShape& shape, uint32_t cpus) {
  const uint64_t buckets = std::bit_ceil(uint64_t{shape.max_entries}) * kBucket;
  if ((shape.flags & BPF_F_NO_PREALLOC) != 0) return buckets;
  // A hash has a spare element for each CPU, to replace by.
  const uint64_t spare = shape.type == BPF_MAP_TYPE_HASH ? cpus : 0;
  const uint64_t element = kHashElement + RoundUp(shape.key_size, 8) + RoundUp(shape.value_size, 8);
  return buckets + (shape.max_entries + spare) * element;
}

std::vector<std::string> Words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

// A file system of control groups that has the memory controller.
struct Mount {
  std::string root;   // which group its folder is
  std::string point;  // the folder
};

// Source of the format: proc(5).
std::optional<Mount> FindMount(const std::string& mountinfo, bool v2) {
  std::istringstream in(mountinfo);
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> words = Words(line);
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const std::string& type = dash[1];
    const std::string options = "," + dash[3] + ",";
    const bool fits =
        v2 ? type == "cgroup2" : type == "cgroup" && options.find(",memory,") != std::string::npos;
    if (fits) return Mount{words[3], words[4]};
  }
  return std::nullopt;
}

// The group's path: the last field of its hierarchy's line.
std::optional<std::string> FindGroup(const std::string& cgroup, bool v2) {
  std::istringstream in(cgroup);
  for (std::string line; std::getline(in, line);) {
    const size_t one = line.find(':');
    const size_t two = one == std::string::npos ? one : line.find(':', one + 1);
    if (two == std::string::npos) continue;
    const std::string controllers = "," + line.substr(one + 1, two - one - 1) + ",";
    const bool fits = v2 ? controllers == ",," : controllers.find(",memory,") != std::string::npos;
    if (fits) return line.substr(two + 1);
  }
  return std::nullopt;
}

// The group's folder and those around it, as far as they are in sight.
std::vector<std::string> FoldersOf(const Mount& mount, const std::string& group) {
  std::string rest;
  if (mount.root == "/") {
    rest = group == "/" ? "" : group;
  } else if (group.starts_with(mount.root + "/")) {
    rest = group.substr(mount.root.size());
  }
  std::vector<std::string> out;
  while (!rest.empty()) {
    out.push_back(mount.point + rest);
    rest.resize(rest.rfind('/'));
  }
  out.push_back(mount.point);
  return out;
}

std::optional<uint64_t> Number(const std::string& text) {
  uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return out;
}

std::string Mebibytes(uint64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20); }

}  // namespace

uint64_t BytesOf(const MapShape& shape, uint32_t cpus) {
  const uint64_t value = RoundUp(shape.value_size, 8);
  switch (shape.type) {
    case BPF_MAP_TYPE_ARRAY:
      if ((shape.flags & BPF_F_MMAPABLE) != 0) {
        return kPage + RoundUp(shape.max_entries * value, kPage);
      }
      return shape.max_entries * value;
    case BPF_MAP_TYPE_PERCPU_ARRAY:
      return shape.max_entries * (sizeof(void*) + value * cpus);
    case BPF_MAP_TYPE_PROG_ARRAY:
      return shape.max_entries * sizeof(void*);
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_LRU_HASH:
      return HashBytes(shape, cpus);
    case BPF_MAP_TYPE_RINGBUF:
      return kRingHead * kPage + RoundUp(shape.max_entries, kPage);
    default:
      return 0;
  }
}

std::optional<MemoryRoom> FindMemoryRoom(
    const std::function<absl::StatusOr<std::string>(const std::string& path)>& read) {
  const std::string cgroup = read("/proc/self/cgroup").value_or("");
  const std::string mountinfo = read("/proc/self/mountinfo").value_or("");
  std::optional<MemoryRoom> out;
  uint64_t least = UINT64_MAX;
  for (const bool v2 : {true, false}) {
    const auto mount = FindMount(mountinfo, v2);
    const auto group = FindGroup(cgroup, v2);
    if (!mount || !group) continue;
    for (const std::string& folder : FoldersOf(*mount, *group)) {
      // "max" is no number; version 1 says the same by one of nearly 2^63.
      const auto limit =
          Number(read(folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes")).value_or(""));
      if (!limit || *limit >= uint64_t{1} << 62) continue;
      const uint64_t usage =
          Number(read(folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(""))
              .value_or(0);
      uint64_t droppable = 0;
      std::istringstream stat(read(folder + "/memory.stat").value_or(""));
      for (std::string name, number; stat >> name >> number;) {
        if (name == (v2 ? "inactive_file" : "total_inactive_file")) {
          droppable = Number(number).value_or(0);
        }
      }
      const uint64_t used = usage - std::min(usage, droppable);
      const uint64_t room = *limit - std::min(*limit, used);
      if (room >= least) continue;
      least = room;
      out = MemoryRoom{folder, *limit, used};
    }
  }
  return out;
}

absl::Status CheckRoom(uint64_t bytes, const std::optional<MemoryRoom>& room,
                       std::string_view mend) {
  if (!room || room->used + bytes <= room->limit) return absl::OkStatus();
  return absl::ResourceExhaustedError("the eBPF maps take " + Mebibytes(bytes) +
                                      " MiB, but the memory limit of the control group " +
                                      room->group + " is " + Mebibytes(room->limit) +
                                      " MiB, of which " + Mebibytes(room->used) +
                                      " MiB are used; " + std::string(mend));
}

}  // namespace kube_lvs::ebpf
