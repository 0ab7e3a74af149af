// Netlink attributes as bytes: a writer, and a reader that never looks beyond what it was given.
// Pure. Numbers are in this machine's byte order, as netlink has it; network order only where a
// name says so.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::ipvs {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;

// Appends attributes to bytes that the caller owns.
class AttributeWriter {
 public:
  explicit AttributeWriter(Bytes& out) : out_(out) {}

  void Put(uint16_t type, ByteView value);
  void PutString(uint16_t type, std::string_view text);  // with a NUL at its end
  template <typename T>
  void PutNumber(uint16_t type, T value) {
    static_assert(std::is_unsigned_v<T>);
    uint8_t raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    Put(type, raw);
  }
  void PutPort(uint16_t type, uint16_t port);  // host order in, network order out

  // Begins a nested attribute; End takes what Begin returned.
  size_t Begin(uint16_t type);
  void End(size_t begin);

 private:
  Bytes& out_;
};

struct Attribute {
  uint16_t type = 0;  // without the flags "nested" and "network byte order"
  ByteView value;
};

// Takes the first attribute off `bytes`, which are not empty. kInternal when it is shorter than its
// header or longer than what is left.
absl::Status TakeAttribute(ByteView& bytes, Attribute& out);

// Hands the attributes in `bytes` to `take`, in order, as long as its status is OK. Nothing is
// copied. Errors: TakeAttribute's and `take`'s.
template <typename Take>
absl::Status ForEachAttribute(ByteView bytes, Take take) {
  Attribute attribute;
  while (!bytes.empty()) {
    if (absl::Status status = TakeAttribute(bytes, attribute); !status.ok()) return status;
    if (absl::Status status = take(attribute); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// All of them at once. Errors: TakeAttribute's.
absl::StatusOr<std::vector<Attribute>> ParseAttributes(ByteView bytes);

// The value as a number of exactly that size, or as text that ends with its one NUL. kInternal
// otherwise; `name` is for the message.
absl::StatusOr<uint8_t> Number8(const Attribute& attribute, std::string_view name);
absl::StatusOr<uint16_t> Number16(const Attribute& attribute, std::string_view name);
absl::StatusOr<uint32_t> Number32(const Attribute& attribute, std::string_view name);
absl::StatusOr<uint64_t> Number64(const Attribute& attribute, std::string_view name);
absl::StatusOr<uint16_t> PortOf(const Attribute& attribute, std::string_view name);  // host order
absl::StatusOr<std::string> TextOf(const Attribute& attribute, std::string_view name);

}  // namespace kube_lvs::ipvs
