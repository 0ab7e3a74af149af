// BPF maps in memory, as strict as the kernel about sizes and full maps, with faults on demand.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

class FakeMapStore final : public MapStore {
 public:
  enum class Kind { kHash, kLpmTrie, kArray, kPerCpuArray };
  static constexpr int kCpus = 3;

  void Make(const std::string& name, Kind kind, uint32_t key_size, uint32_t value_size,
            uint32_t capacity);

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

  // Sets one CPU's value of a per-CPU map, as a program would.
  void SetOnCpu(std::string_view map, uint32_t index, int cpu, std::span<const uint8_t> value);

  // Asked before each Update and Delete; one that is not OK is returned instead of doing it.
  std::function<absl::Status(std::string_view map)> fault;
  // Called after each Update and Delete that was done, with the map's name.
  std::function<void(std::string_view map)> after_write;
  int writes = 0;  // Updates and Deletes that were done

  // Every byte of every map: equal before and after means nothing was written.
  std::map<std::string, std::map<Bytes, Bytes>> Contents() const;

 private:
  struct Map {
    Kind kind = Kind::kHash;
    uint32_t key_size = 0;
    uint32_t value_size = 0;
    uint32_t capacity = 0;
    std::map<Bytes, Bytes> hash;  // and a trie: of one that is asked, any prefix may answer
    Bytes array;                  // stride as in the kernel: the value's size rounded up to 8
    Bytes per_cpu;                // [index][cpu]
    bool HasKeys() const { return kind == Kind::kHash || kind == Kind::kLpmTrie; }
    uint32_t stride() const { return (value_size + 7) / 8 * 8; }
  };
  absl::StatusOr<Map*> Find(std::string_view map);
  static absl::StatusOr<uint32_t> Index(const Map& map, std::span<const uint8_t> key);

  std::map<std::string, Map, std::less<>> maps_;
};

}  // namespace kube_lvs::ebpf
