// Pinned BPF maps through libbpf: the MapStore of production. Only for bpf_objects.cc.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

class BpfMaps final : public MapStore {
 public:
  ~BpfMaps() override;
  BpfMaps() = default;
  BpfMaps(const BpfMaps&) = delete;
  BpfMaps& operator=(const BpfMaps&) = delete;

  // Adds the map that is pinned at `path`. kNotFound: nothing is.
  absl::Status AddPinned(const std::string& name, const std::string& path);
  absl::Status Add(const std::string& name, UniqueFd fd);
  absl::StatusOr<uint32_t> KernelId(std::string_view map) const;
  // -1: no such map.
  int Fd(std::string_view map) const;

  absl::StatusOr<uint32_t> Capacity(std::string_view map) override;
  absl::StatusOr<std::optional<Bytes>> Lookup(std::string_view map,
                                              std::span<const uint8_t> key) override;
  absl::Status Update(std::string_view map, std::span<const uint8_t> key,
                      std::span<const uint8_t> value) override;
  absl::Status Delete(std::string_view map, std::span<const uint8_t> key) override;
  absl::Status Visit(std::string_view map, const OnEntry& visit) override;
  absl::StatusOr<std::vector<Bytes>> LookupPerCpu(std::string_view map,
                                                  std::span<const uint8_t> key) override;
  absl::Status VisitPerCpu(
      std::string_view map, uint32_t end,
      const std::function<void(uint32_t index, std::span<const uint8_t> values)>& visit) override;
  absl::Status ClearPerCpu(std::string_view map, std::span<const uint8_t> key) override;
  absl::StatusOr<std::span<uint8_t>> Mapped(std::string_view map) override;

 private:
  struct Map {
    UniqueFd fd;
    uint32_t id = 0;
    uint32_t key_size = 0;
    uint32_t value_size = 0;
    uint32_t capacity = 0;
    void* memory = nullptr;
    size_t memory_size = 0;
    uint32_t stride() const { return (value_size + 7) / 8 * 8; }
  };
  absl::StatusOr<Map*> Find(std::string_view map);
  absl::Status CheckSizes(std::string_view name, const Map& map, size_t key, size_t value) const;

  std::map<std::string, Map, std::less<>> maps_;
};

// The size of a pinned map. kNotFound: nothing is pinned there.
absl::StatusOr<uint32_t> PinnedCapacity(const std::string& path);

// An errno of the BPF subsystem as what the caller does next.
absl::Status BpfError(const std::string& what, int error);

}  // namespace kube_lvs::ebpf
