// What all messages between agents have in common on the wire: "KLVS", the kind, flags, the body,
// and, with a key, HMAC-SHA256 over all before it. Big-endian. Pure, but for the keyed hash.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs {

inline constexpr size_t kMaxMessageBytes = 1400;  // one datagram on any Ethernet

// The kind of a message, which nothing vouches for yet; nullopt: not one of ours.
std::optional<uint8_t> KindOf(std::span<const uint8_t> bytes);

class Writer {
 public:
  // `flags` are the kind's own: 1, 2, 8 and above. `key` must outlive the writer; empty: no tag.
  Writer(uint8_t kind, uint8_t flags, std::string_view key);

  void Number(uint64_t value, size_t size) {
    for (size_t i = size; i-- > 0;) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  void Text(std::string_view text) {  // at most 255 bytes
    Number(text.size(), 1);
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  void Address(const IpAddress& ip) {
    Number(static_cast<uint8_t>(ip.family), 1);
    bytes_.insert(bytes_.end(), ip.bytes.begin(), ip.bytes.begin() + ip.Size());
  }
  std::vector<uint8_t> Finish() &&;

 private:
  const std::string_view key_;
  std::vector<uint8_t> bytes_;
};

// Reads past the end give zeros and make Ok() false.
class Reader {
 public:
  // The body of a message of that kind. kInvalidArgument: it is none, or has flags beyond `known`.
  // kUnauthenticated: it does not carry the tag of our key (or carries one and we have no key).
  static absl::StatusOr<Reader> Open(std::span<const uint8_t> bytes, uint8_t kind, uint8_t known,
                                     std::string_view key);

  uint8_t flags() const { return flags_; }
  uint64_t Number(size_t size);
  std::string Text();
  IpAddress Address();
  bool Ok() const { return ok_; }
  absl::Status End() const;  // OK if all was there and nothing is left

 private:
  Reader(std::span<const uint8_t> bytes, uint8_t flags) : bytes_(bytes), flags_(flags) {}
  std::span<const uint8_t> Take(size_t size);

  std::span<const uint8_t> bytes_;
  uint8_t flags_;
  bool ok_ = true;
};

}  // namespace kube_lvs
