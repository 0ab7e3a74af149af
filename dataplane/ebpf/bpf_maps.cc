#include "dataplane/ebpf/bpf_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kube_lvs::ebpf {
namespace {

absl::StatusOr<bpf_map_info> InfoOf(int fd, const std::string& what) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return BpfError(what, errno);
  return info;
}

}  // namespace

absl::Status BpfError(const std::string& what, int error) {
  const std::string text = what + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
    case ENODEV:
      return absl::NotFoundError(text);
    case E2BIG:
    case ENOSPC:
      return absl::ResourceExhaustedError(text);
    case ENOMEM:
      return absl::ResourceExhaustedError(text +
                                          "; the memory limit of this cgroup may be too low");
    case EBUSY:
    case EAGAIN:
    case EINTR:
      return absl::UnavailableError(text);
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(text +
                                         "; CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed");
    default:
      return absl::InternalError(text);
  }
}

absl::StatusOr<uint32_t> PinnedCapacity(const std::string& path) {
  const UniqueFd fd(bpf_obj_get(path.c_str()));
  if (!fd.ok()) return BpfError(path, errno);
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_map_info info, InfoOf(fd.get(), path));
  return info.max_entries;
}

BpfMaps::~BpfMaps() {
  for (auto& [name, map] : maps_) {
    if (map.memory != nullptr) munmap(map.memory, map.memory_size);
  }
}

absl::Status BpfMaps::AddPinned(const std::string& name, const std::string& path) {
  UniqueFd fd(bpf_obj_get(path.c_str()));
  if (!fd.ok()) return BpfError(path, errno);
  return Add(name, std::move(fd));
}

absl::Status BpfMaps::Add(const std::string& name, UniqueFd fd) {
  Map map;
  map.fd = std::move(fd);
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_map_info info, InfoOf(map.fd.get(), name));
  map.id = info.id;
  map.key_size = info.key_size;
  map.value_size = info.value_size;
  map.capacity = info.max_entries;
  if ((info.map_flags & BPF_F_MMAPABLE) != 0) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    map.memory_size = (size_t{map.capacity} * map.stride() + page - 1) / page * page;
    void* memory =
        mmap(nullptr, map.memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd.get(), 0);
    if (memory == MAP_FAILED) return BpfError("mapping " + name, errno);
    map.memory = memory;
  }
  maps_[name] = std::move(map);
  return absl::OkStatus();
}

absl::StatusOr<BpfMaps::Map*> BpfMaps::Find(std::string_view map) {
  const auto found = maps_.find(map);
  if (found == maps_.end()) return absl::NotFoundError("no map named " + std::string(map));
  return &found->second;
}

absl::Status BpfMaps::CheckSizes(std::string_view name, const Map& map, size_t key,
                                 size_t value) const {
  // The kernel takes a pointer and believes it.
  if (key == map.key_size && value == map.value_size) return absl::OkStatus();
  return absl::DataLossError("the map " + std::string(name) + " has another layout");
}

absl::StatusOr<uint32_t> BpfMaps::KernelId(std::string_view map) const {
  const auto found = maps_.find(map);
  if (found == maps_.end()) return absl::NotFoundError("no map named " + std::string(map));
  return found->second.id;
}

int BpfMaps::Fd(std::string_view map) const {
  const auto found = maps_.find(map);
  return found == maps_.end() ? -1 : found->second.fd.get();
}

absl::StatusOr<uint32_t> BpfMaps::Capacity(std::string_view map) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  return found->capacity;
}

absl::StatusOr<std::optional<Bytes>> BpfMaps::Lookup(std::string_view map,
                                                     std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  KUBE_LVS_RETURN_IF_ERROR(CheckSizes(map, *found, key.size(), found->value_size));
  Bytes value(found->value_size);
  if (bpf_map_lookup_elem(found->fd.get(), key.data(), value.data()) == 0) {
    return std::optional<Bytes>(std::move(value));
  }
  if (errno == ENOENT) return std::optional<Bytes>();
  return BpfError("reading " + std::string(map), errno);
}

absl::Status BpfMaps::Update(std::string_view map, std::span<const uint8_t> key,
                             std::span<const uint8_t> value) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  KUBE_LVS_RETURN_IF_ERROR(CheckSizes(map, *found, key.size(), value.size()));
  if (bpf_map_update_elem(found->fd.get(), key.data(), value.data(), BPF_ANY) == 0) {
    return absl::OkStatus();
  }
  if (errno == E2BIG || errno == ENOSPC) {
    return absl::ResourceExhaustedError("the map " + std::string(map) + " is full: it holds " +
                                        std::to_string(found->capacity) + " entries");
  }
  return BpfError("writing " + std::string(map), errno);
}

absl::Status BpfMaps::Delete(std::string_view map, std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  KUBE_LVS_RETURN_IF_ERROR(CheckSizes(map, *found, key.size(), found->value_size));
  if (bpf_map_delete_elem(found->fd.get(), key.data()) == 0 || errno == ENOENT) {
    return absl::OkStatus();
  }
  return BpfError("deleting from " + std::string(map), errno);
}

absl::Status BpfMaps::Visit(std::string_view map, const OnEntry& visit) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  // One writer at most is at work (we), so that batches are a snapshot. A bucket of a hash that does
  // not fit into one comes with the next.
  constexpr uint32_t kAtOnce = 4096;
  const uint32_t room = std::min(found->capacity, kAtOnce) + 64;
  Bytes keys(size_t{room} * found->key_size);
  Bytes values(size_t{room} * found->value_size);
  // Where a batch ended: a bucket's number, or of tries a key.
  Bytes next(std::max<size_t>(found->key_size, sizeof(uint32_t)));
  bool first = true;
  while (true) {
    uint32_t count = room;
    const int result =
        bpf_map_lookup_batch(found->fd.get(), first ? nullptr : next.data(), next.data(),
                             keys.data(), values.data(), &count, nullptr);
    const int error = errno;
    if (result != 0 && error != ENOENT) return BpfError("listing " + std::string(map), error);
    for (uint32_t i = 0; i < count; ++i) {
      visit(std::span(keys).subspan(size_t{i} * found->key_size, found->key_size),
            std::span(values).subspan(size_t{i} * found->value_size, found->value_size));
    }
    if (result != 0) return absl::OkStatus();
    first = false;
  }
}

absl::StatusOr<std::vector<Bytes>> BpfMaps::LookupPerCpu(std::string_view map,
                                                         std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  KUBE_LVS_RETURN_IF_ERROR(CheckSizes(map, *found, key.size(), found->value_size));
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return BpfError("number of CPUs", -cpus);
  Bytes values(size_t{found->stride()} * static_cast<size_t>(cpus));
  if (bpf_map_lookup_elem(found->fd.get(), key.data(), values.data()) != 0) {
    return BpfError("reading " + std::string(map), errno);
  }
  std::vector<Bytes> out;
  for (int cpu = 0; cpu < cpus; ++cpu) {
    const auto* at = values.data() + size_t{found->stride()} * static_cast<size_t>(cpu);
    out.emplace_back(at, at + found->value_size);
  }
  return out;
}

absl::Status BpfMaps::VisitPerCpu(
    std::string_view map, uint32_t end,
    const std::function<void(uint32_t index, std::span<const uint8_t> values)>& visit) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  if (end > found->capacity) {
    return absl::InvalidArgumentError("the map " + std::string(map) + " has " +
                                      std::to_string(found->capacity) + " entries");
  }
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return BpfError("number of CPUs", -cpus);
  const size_t size = size_t{found->stride()} * static_cast<size_t>(cpus);
  // With many CPUs all of it at once would be hundreds of megabytes.
  constexpr uint32_t kAtOnce = 1024;
  std::vector<uint32_t> keys(kAtOnce);
  Bytes values(size * kAtOnce);
  uint32_t last = 0;
  for (uint32_t index = 0; index < end;) {
    uint32_t count = std::min(kAtOnce, end - index);
    const int result = bpf_map_lookup_batch(found->fd.get(), index == 0 ? nullptr : &last, &last,
                                            keys.data(), values.data(), &count, nullptr);
    if (result != 0 && errno != ENOENT) return BpfError("listing " + std::string(map), errno);
    if (count == 0) return absl::DataLossError(std::string(map) + " ends before its capacity");
    for (uint32_t i = 0; i < count; ++i) {
      visit(keys[i], std::span<const uint8_t>(values).subspan(i * size, size));
    }
    index += count;
  }
  return absl::OkStatus();
}

absl::Status BpfMaps::ClearPerCpu(std::string_view map, std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  KUBE_LVS_RETURN_IF_ERROR(CheckSizes(map, *found, key.size(), found->value_size));
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return BpfError("number of CPUs", -cpus);
  const Bytes zeros(size_t{found->stride()} * static_cast<size_t>(cpus));
  if (bpf_map_update_elem(found->fd.get(), key.data(), zeros.data(), BPF_ANY) == 0) {
    return absl::OkStatus();
  }
  return BpfError("clearing an entry of " + std::string(map), errno);
}

absl::StatusOr<std::span<uint8_t>> BpfMaps::Mapped(std::string_view map) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  if (found->memory == nullptr) {
    return absl::DataLossError("the map " + std::string(map) + " cannot be mapped");
  }
  return std::span<uint8_t>(static_cast<uint8_t*>(found->memory),
                            size_t{found->capacity} * found->stride());
}

}  // namespace kube_lvs::ebpf
