// Netlink attributes as bytes: a writer, and a reader that never looks beyond what it was given.
// Pure. Numbers are in this machine's byte order, as netlink has it; network order only where a
// name says so.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <optional>
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

// Why `bytes` do not begin with an attribute: it is shorter than its header, or longer than what is
// left. kInternal.
absl::Status BadAttribute(ByteView bytes);

// Hands the attributes in `bytes` to `take`, in order, as long as its status is OK. Nothing is
// copied. Errors: BadAttribute's and `take`'s.
template <typename Take>
absl::Status ForEachAttribute(ByteView bytes, Take take) {
  constexpr size_t kHeader = 4;
  while (bytes.size() >= kHeader) {
    uint16_t size, type;
    std::memcpy(&size, bytes.data(), sizeof size);
    std::memcpy(&type, bytes.data() + 2, sizeof type);
    if (size < kHeader || size > bytes.size()) break;
    const Attribute attribute{.type = static_cast<uint16_t>(type & NLA_TYPE_MASK),
                              .value = bytes.subspan(kHeader, size - kHeader)};
    if (absl::Status status = take(attribute); !status.ok()) return status;
    const size_t padded = NLA_ALIGN(size);
    bytes = padded < bytes.size() ? bytes.subspan(padded) : ByteView();
  }
  return bytes.empty() ? absl::OkStatus() : BadAttribute(bytes);
}

// All of them at once. Errors: BadAttribute's.
absl::StatusOr<std::vector<Attribute>> ParseAttributes(ByteView bytes);

// kInternal: the value of `name` has not `wanted` bytes.
absl::Status WrongSize(const Attribute& attribute, std::string_view name, size_t wanted);

// The value as a number of exactly that size, or as text that ends with its one NUL. kInternal
// otherwise; `name` is for the message.
template <typename T>
absl::StatusOr<T> Number(const Attribute& attribute, std::string_view name) {
  if (attribute.value.size() != sizeof(T)) return WrongSize(attribute, name, sizeof(T));
  T value;
  std::memcpy(&value, attribute.value.data(), sizeof(T));
  return value;
}
// The same, into `out`: for who decodes many.
template <typename T>
absl::Status ReadNumber(const Attribute& attribute, std::string_view name, T& out) {
  if (attribute.value.size() != sizeof(T)) return WrongSize(attribute, name, sizeof(T));
  std::memcpy(&out, attribute.value.data(), sizeof(T));
  return absl::OkStatus();
}
template <typename T>
absl::Status ReadNumber(const Attribute& attribute, std::string_view name, std::optional<T>& out) {
  return ReadNumber(attribute, name, out.emplace());
}
// Of a port, in host order.
inline absl::Status ReadPort(const Attribute& attribute, std::string_view name, uint16_t& out) {
  if (attribute.value.size() != 2) return WrongSize(attribute, name, 2);
  out = static_cast<uint16_t>(attribute.value[0] << 8 | attribute.value[1]);
  return absl::OkStatus();
}
inline absl::Status ReadPort(const Attribute& attribute, std::string_view name,
                             std::optional<uint16_t>& out) {
  return ReadPort(attribute, name, out.emplace());
}
inline absl::StatusOr<uint8_t> Number8(const Attribute& attribute, std::string_view name) {
  return Number<uint8_t>(attribute, name);
}
inline absl::StatusOr<uint16_t> Number16(const Attribute& attribute, std::string_view name) {
  return Number<uint16_t>(attribute, name);
}
inline absl::StatusOr<uint32_t> Number32(const Attribute& attribute, std::string_view name) {
  return Number<uint32_t>(attribute, name);
}
inline absl::StatusOr<uint64_t> Number64(const Attribute& attribute, std::string_view name) {
  return Number<uint64_t>(attribute, name);
}
absl::StatusOr<uint16_t> PortOf(const Attribute& attribute, std::string_view name);  // host order
absl::StatusOr<std::string> TextOf(const Attribute& attribute, std::string_view name);

}  // namespace kube_lvs::ipvs
