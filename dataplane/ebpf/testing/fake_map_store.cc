// gcc 12 with sanitizers sees vectors of impossible length in its own map<vector, ...>.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wstringop-overread"
#endif

#include "dataplane/ebpf/testing/fake_map_store.h"

#include <algorithm>

namespace kube_lvs::ebpf {
namespace {

// As the kernel: a number of bits, then the bits. The rest of a key does not matter.
uint32_t PrefixLength(std::span<const uint8_t> key) {
  uint32_t out = 0;
  std::copy_n(key.begin(), sizeof out, reinterpret_cast<uint8_t*>(&out));
  return out;
}

bool Covers(std::span<const uint8_t> prefix, std::span<const uint8_t> key) {
  const uint32_t length = PrefixLength(prefix);
  if (length > PrefixLength(key)) return false;
  for (uint32_t bit = 0; bit < length; ++bit) {
    const size_t byte = sizeof length + bit / 8;
    if (((prefix[byte] ^ key[byte]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

// The entry of the longest prefix of `key`.
auto LongestPrefix(std::map<Bytes, Bytes>& trie, std::span<const uint8_t> key) {
  auto best = trie.end();
  for (auto it = trie.begin(); it != trie.end(); ++it) {
    if (!Covers(it->first, key)) continue;
    if (best == trie.end() || PrefixLength(it->first) > PrefixLength(best->first)) best = it;
  }
  return best;
}

}  // namespace

void FakeMapStore::Make(const std::string& name, Kind kind, uint32_t key_size, uint32_t value_size,
                        uint32_t capacity) {
  Map map;
  map.kind = kind;
  map.key_size = key_size;
  map.value_size = value_size;
  map.capacity = capacity;
  if (kind == Kind::kArray) map.array.resize(size_t{map.stride()} * capacity);
  if (kind == Kind::kPerCpuArray) map.per_cpu.resize(size_t{map.stride()} * capacity * kCpus);
  maps_[name] = std::move(map);
}

absl::StatusOr<FakeMapStore::Map*> FakeMapStore::Find(std::string_view map) {
  const auto found = maps_.find(map);
  if (found == maps_.end()) return absl::NotFoundError("no map named " + std::string(map));
  return &found->second;
}

absl::StatusOr<uint32_t> FakeMapStore::Index(const Map& map, std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t index, FromBytes<uint32_t>(key));
  if (index >= map.capacity) return absl::ResourceExhaustedError("index out of range");
  return index;
}

absl::StatusOr<uint32_t> FakeMapStore::Capacity(std::string_view map) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  return found->capacity;
}

absl::StatusOr<std::optional<Bytes>> FakeMapStore::Lookup(std::string_view map,
                                                          std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Map * found, Find(map));
  if (key.size() != found->key_size) return absl::InvalidArgumentError("key size");
  if (found->HasKeys()) {
    const auto entry = found->kind == Kind::kHash ? found->hash.find(Bytes(key.begin(), key.end()))
                                                  : LongestPrefix(found->hash, key);
    if (entry == found->hash.end()) return std::optional<Bytes>();
    return std::optional<Bytes>(entry->second);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t index, Index(*found, key));
  const auto at = found->array.begin() + static_cast<long>(size_t{index} * found->stride());
  return std::optional<Bytes>(Bytes(at, at + found->value_size));
}

absl::Status FakeMapStore::Update(std::string_view map, std::span<const uint8_t> key,
                                  std::span<const uint8_t> value) {
  KUBE_LVS_ASSIGN_OR_RETURN(Map * found, Find(map));
  if (key.size() != found->key_size || value.size() != found->value_size) {
    return absl::InvalidArgumentError("size of key or value of " + std::string(map));
  }
  if (fault) KUBE_LVS_RETURN_IF_ERROR(fault(map));
  if (found->HasKeys()) {
    const Bytes key_bytes(key.begin(), key.end());
    if (!found->hash.contains(key_bytes) && found->hash.size() >= found->capacity) {
      return absl::ResourceExhaustedError("the map " + std::string(map) + " is full");
    }
    found->hash[key_bytes] = Bytes(value.begin(), value.end());
  } else {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t index, Index(*found, key));
    std::ranges::copy(value,
                      found->array.begin() + static_cast<long>(size_t{index} * found->stride()));
  }
  ++writes;
  if (after_write) after_write(map);
  return absl::OkStatus();
}

absl::Status FakeMapStore::Delete(std::string_view map, std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Map * found, Find(map));
  if (!found->HasKeys() || key.size() != found->key_size) {
    return absl::InvalidArgumentError("cannot delete from " + std::string(map));
  }
  if (fault) KUBE_LVS_RETURN_IF_ERROR(fault(map));
  found->hash.erase(Bytes(key.begin(), key.end()));
  ++writes;
  if (after_write) after_write(map);
  return absl::OkStatus();
}

absl::Status FakeMapStore::Visit(std::string_view map, const OnEntry& visit) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  if (!found->HasKeys()) return absl::InvalidArgumentError("not a map of keys");
  for (const auto& [key, value] : found->hash) visit(key, value);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Bytes>> FakeMapStore::LookupPerCpu(std::string_view map,
                                                              std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  if (found->kind != Kind::kPerCpuArray) return absl::InvalidArgumentError("not per CPU");
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t index, Index(*found, key));
  std::vector<Bytes> out;
  auto at = found->per_cpu.begin() + static_cast<long>(size_t{index} * kCpus * found->stride());
  for (int cpu = 0; cpu < kCpus; ++cpu, at += found->stride()) {
    out.emplace_back(at, at + found->value_size);
  }
  return out;
}

absl::Status FakeMapStore::VisitPerCpu(
    std::string_view map, uint32_t end,
    const std::function<void(uint32_t index, std::span<const uint8_t> values)>& visit) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Map* found, Find(map));
  if (found->kind != Kind::kPerCpuArray || end > found->capacity) {
    return absl::InvalidArgumentError(std::string(map) + " has no such entries of each CPU");
  }
  const size_t size = size_t{found->stride()} * kCpus;
  for (uint32_t index = 0; index < end; ++index) {
    visit(index, std::span<const uint8_t>(found->per_cpu).subspan(index * size, size));
  }
  return absl::OkStatus();
}

absl::Status FakeMapStore::ClearPerCpu(std::string_view map, std::span<const uint8_t> key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Map * found, Find(map));
  if (found->kind != Kind::kPerCpuArray) return absl::InvalidArgumentError("not per CPU");
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t index, Index(*found, key));
  if (fault) KUBE_LVS_RETURN_IF_ERROR(fault(map));
  std::fill_n(found->per_cpu.begin() + static_cast<long>(size_t{index} * kCpus * found->stride()),
              kCpus * found->stride(), uint8_t{0});
  ++writes;
  return absl::OkStatus();
}

absl::StatusOr<std::span<uint8_t>> FakeMapStore::Mapped(std::string_view map) {
  KUBE_LVS_ASSIGN_OR_RETURN(Map * found, Find(map));
  if (found->kind != Kind::kArray) return absl::InvalidArgumentError("not an mmapable array");
  return std::span<uint8_t>(found->array);
}

void FakeMapStore::SetOnCpu(std::string_view map, uint32_t index, int cpu,
                            std::span<const uint8_t> value) {
  Map& found = *Find(map).value();
  std::ranges::copy(
      value,
      found.per_cpu.begin() +
          static_cast<long>((size_t{index} * kCpus + static_cast<size_t>(cpu)) * found.stride()));
}

std::map<std::string, std::map<Bytes, Bytes>> FakeMapStore::Contents() const {
  std::map<std::string, std::map<Bytes, Bytes>> out;
  for (const auto& [name, map] : maps_) {
    out[name] = map.hash;
    if (!map.array.empty()) out[name][{}] = map.array;
    if (!map.per_cpu.empty()) out[name][{}] = map.per_cpu;
  }
  return out;
}

}  // namespace kube_lvs::ebpf
