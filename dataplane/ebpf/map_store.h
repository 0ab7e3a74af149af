// The seam to BPF maps, by name and as bytes; typed by the functions below. Production goes
// through libbpf (bpf_objects.cc, the one file that includes it), tests keep the maps in memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"

namespace kube_lvs::ebpf {

using Bytes = std::vector<uint8_t>;

// Not thread-safe. Every call names a map; kNotFound: there is none of that name.
// kUnavailable: the kernel is busy, retry. kResourceExhausted: the map is full.
class MapStore {
 public:
  virtual ~MapStore() = default;

  virtual absl::StatusOr<uint32_t> Capacity(std::string_view map) = 0;

  virtual absl::StatusOr<std::optional<Bytes>> Lookup(std::string_view map,
                                                      std::span<const uint8_t> key) = 0;
  // Adds or replaces; readers in the kernel see the old value or the new one (hash maps).
  virtual absl::Status Update(std::string_view map, std::span<const uint8_t> key,
                              std::span<const uint8_t> value) = 0;
  virtual absl::Status Delete(std::string_view map,
                              std::span<const uint8_t> key) = 0;  // absent: OK
  // Calls `visit` for each entry of a hash map or a trie, in no order; the spans are its for the
  // call.
  using OnEntry = std::function<void(std::span<const uint8_t> key, std::span<const uint8_t> value)>;
  virtual absl::Status Visit(std::string_view map, const OnEntry& visit) = 0;
  absl::StatusOr<std::vector<std::pair<Bytes, Bytes>>> Dump(std::string_view map) {
    std::vector<std::pair<Bytes, Bytes>> out;
    KUBE_LVS_RETURN_IF_ERROR(
        Visit(map, [&out](std::span<const uint8_t> key, std::span<const uint8_t> value) {
          out.emplace_back(Bytes(key.begin(), key.end()), Bytes(value.begin(), value.end()));
        }));
    return out;
  }
  // One value of a per-CPU map, of each possible CPU.
  virtual absl::StatusOr<std::vector<Bytes>> LookupPerCpu(std::string_view map,
                                                          std::span<const uint8_t> key) = 0;
  // The same of the entries below `end`, which are there, of an array, in turn: `values` has one of
  // each possible CPU, rounded up to a multiple of 8 bytes, and is the visitor's for the call.
  virtual absl::Status VisitPerCpu(
      std::string_view map, uint32_t end,
      const std::function<void(uint32_t index, std::span<const uint8_t> values)>& visit) = 0;
  // Sets the value on every CPU.
  virtual absl::Status ClearPerCpu(std::string_view map, std::span<const uint8_t> key) = 0;
  // The values of an mmapable array, shared with the running programs, as long as the store lives.
  virtual absl::StatusOr<std::span<uint8_t>> Mapped(std::string_view map) = 0;
};

template <typename T>
std::span<const uint8_t> AsBytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

// kDataLoss: the map's entries have another size, so it is of another layout.
template <typename T>
absl::StatusOr<T> FromBytes(std::span<const uint8_t> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() != sizeof(T)) {
    return absl::DataLossError("an entry of " + std::to_string(bytes.size()) + " bytes where " +
                               std::to_string(sizeof(T)) + " are expected");
  }
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <typename Value, typename Key>
absl::StatusOr<std::optional<Value>> Get(MapStore& store, std::string_view map, const Key& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::optional<Bytes> bytes, store.Lookup(map, AsBytes(key)));
  if (!bytes) return std::optional<Value>();
  KUBE_LVS_ASSIGN_OR_RETURN(const Value value, FromBytes<Value>(*bytes));
  return std::optional<Value>(value);
}

template <typename Key, typename Value>
absl::Status Put(MapStore& store, std::string_view map, const Key& key, const Value& value) {
  return store.Update(map, AsBytes(key), AsBytes(value));
}

template <typename Key>
absl::Status Erase(MapStore& store, std::string_view map, const Key& key) {
  return store.Delete(map, AsBytes(key));
}

// Those of which `wanted` is true.
template <typename Key, typename Value, typename Wanted>
absl::StatusOr<std::vector<std::pair<Key, Value>>> GetSome(MapStore& store, std::string_view map,
                                                           Wanted wanted) {
  std::vector<std::pair<Key, Value>> out;
  absl::Status fits;
  KUBE_LVS_RETURN_IF_ERROR(
      store.Visit(map, [&](std::span<const uint8_t> key_bytes, std::span<const uint8_t> bytes) {
        const auto key = FromBytes<Key>(key_bytes);
        const auto value = FromBytes<Value>(bytes);
        if (!key.ok() || !value.ok()) {
          fits = key.ok() ? value.status() : key.status();
        } else if (wanted(*value)) {
          out.emplace_back(*key, *value);
        }
      }));
  KUBE_LVS_RETURN_IF_ERROR(fits);
  return out;
}

template <typename Key, typename Value>
absl::StatusOr<std::vector<std::pair<Key, Value>>> GetAll(MapStore& store, std::string_view map) {
  return GetSome<Key, Value>(store, map, [](const Value&) { return true; });
}

// The values of an mmapable array as such. kDataLoss: another layout.
template <typename Value>
absl::StatusOr<std::span<Value>> GetArray(MapStore& store, std::string_view map) {
  // The kernel gives each value of an array a multiple of 8 bytes.
  static_assert(std::is_trivially_copyable_v<Value> && sizeof(Value) % 8 == 0);
  KUBE_LVS_ASSIGN_OR_RETURN(const std::span<uint8_t> bytes, store.Mapped(map));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t count, store.Capacity(map));
  if (bytes.size() < size_t{count} * sizeof(Value)) {
    return absl::DataLossError("the map " + std::string(map) + " has another layout");
  }
  return std::span<Value>(reinterpret_cast<Value*>(bytes.data()), count);
}

}  // namespace kube_lvs::ebpf
