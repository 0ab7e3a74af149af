#include "node-agent/peers/frame.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

namespace kube_lvs {
namespace {

constexpr uint32_t kMagic = 0x4b4c5653;  // "KLVS"
constexpr uint8_t kTagged = 4;
constexpr size_t kHeadBytes = 6;
constexpr size_t kTagBytes = 32;

using Tag = std::array<uint8_t, kTagBytes>;

Tag TagOf(std::span<const uint8_t> bytes, std::string_view key) {
  Tag tag = {};
  unsigned int length = kTagBytes;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(),
       tag.data(), &length);
  return tag;
}

}  // namespace

std::optional<uint8_t> KindOf(std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeadBytes) return std::nullopt;
  const uint32_t magic = static_cast<uint32_t>(bytes[0]) << 24 |
                         static_cast<uint32_t>(bytes[1]) << 16 |
                         static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
  return magic == kMagic ? std::optional(bytes[4]) : std::nullopt;
}

Writer::Writer(uint8_t kind, uint8_t flags, std::string_view key) : key_(key) {
  Number(kMagic, 4);
  Number(kind, 1);
  Number(flags | (key.empty() ? 0 : kTagged), 1);
}

std::vector<uint8_t> Writer::Finish() && {
  if (!key_.empty()) {
    const Tag tag = TagOf(bytes_, key_);
    bytes_.insert(bytes_.end(), tag.begin(), tag.end());
  }
  return std::move(bytes_);
}

absl::StatusOr<Reader> Reader::Open(std::span<const uint8_t> bytes, uint8_t kind, uint8_t known,
                                    std::string_view key) {
  if (bytes.size() > kMaxMessageBytes) return absl::InvalidArgumentError("too long");
  const std::optional<uint8_t> is = KindOf(bytes);
  if (!is.has_value()) return absl::InvalidArgumentError("not a message of an agent");
  if (*is != kind) return absl::InvalidArgumentError("of another kind or version");
  const uint8_t flags = bytes[5];
  if ((flags & ~(known | kTagged)) != 0) return absl::InvalidArgumentError("unknown flags");
  const bool tagged = (flags & kTagged) != 0;
  if (tagged != !key.empty()) {
    return absl::UnauthenticatedError(tagged ? "the sender has a key, this agent has none"
                                             : "the sender has no key");
  }
  if (tagged) {
    if (bytes.size() < kHeadBytes + kTagBytes) return absl::InvalidArgumentError("too short");
    const auto body = bytes.first(bytes.size() - kTagBytes);
    const Tag tag = TagOf(body, key);
    if (CRYPTO_memcmp(tag.data(), bytes.data() + body.size(), kTagBytes) != 0) {
      return absl::UnauthenticatedError("another key");
    }
    bytes = body;
  }
  return Reader(bytes.subspan(kHeadBytes), flags & known);
}

uint64_t Reader::Number(size_t size) {
  uint64_t value = 0;
  for (const uint8_t byte : Take(size)) value = value << 8 | byte;
  return value;
}

std::string Reader::Text() {
  const auto text = Take(Number(1));
  return std::string(text.begin(), text.end());
}

IpAddress Reader::Address() {
  IpAddress ip;
  const uint64_t family = Number(1);
  if (family != 4 && family != 6) {
    ok_ = false;
    return ip;
  }
  ip.family = static_cast<Family>(family);
  const auto bytes = Take(ip.Size());
  std::copy(bytes.begin(), bytes.end(), ip.bytes.begin());
  return ip;
}

absl::Status Reader::End() const {
  if (!ok_) return absl::InvalidArgumentError("truncated");
  return bytes_.empty() ? absl::OkStatus() : absl::InvalidArgumentError("bytes after its end");
}

std::span<const uint8_t> Reader::Take(size_t size) {
  if (size > bytes_.size()) {
    ok_ = false;
    bytes_ = {};
    return {};
  }
  const auto taken = bytes_.first(size);
  bytes_ = bytes_.subspan(size);
  return taken;
}

}  // namespace kube_lvs
