#include "node-agent/peers/message.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstring>

#include "base/status.h"

namespace kube_lvs {
namespace {

constexpr uint32_t kMagic = 0x4b4c5653;  // "KLVS"
constexpr uint8_t kVersion = 2;          // 1 had no `unable` and no `leaving`
constexpr uint8_t kReady = 1, kStopping = 2, kTagged = 4, kLeaving = 8;
constexpr size_t kTagBytes = 32;
constexpr size_t kMaxNameBytes = 253;  // of a DNS subdomain, which names of objects are

using Tag = std::array<uint8_t, kTagBytes>;

Tag TagOf(std::span<const uint8_t> bytes, std::string_view key) {
  Tag tag = {};
  unsigned int length = kTagBytes;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(),
       tag.data(), &length);
  return tag;
}

class Writer {
 public:
  void Number(uint64_t value, size_t size) {
    for (size_t i = size; i-- > 0;) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  void Text(const std::string& text) {
    Number(text.size(), 1);
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  void Address(const IpAddress& ip) {
    Number(static_cast<uint8_t>(ip.family), 1);
    bytes_.insert(bytes_.end(), ip.bytes.begin(), ip.bytes.begin() + ip.Size());
  }
  void Part(const VipPart& part) {
    Number(part.total, 4);
    Number(part.first, 4);
    Number(part.vips.size(), 1);
    for (const IpAddress& vip : part.vips) Address(vip);
  }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

// Reads past the end give zeros and make Ok() false.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t Number(size_t size) {
    uint64_t value = 0;
    for (const uint8_t byte : Take(size)) value = value << 8 | byte;
    return value;
  }
  std::string Text() {
    const auto text = Take(Number(1));
    return std::string(text.begin(), text.end());
  }
  IpAddress Address() {
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
  VipPart Part(size_t most) {
    VipPart part;
    part.total = static_cast<uint32_t>(Number(4));
    part.first = static_cast<uint32_t>(Number(4));
    const uint64_t count = Number(1);
    if (count > most) ok_ = false;
    for (uint64_t i = 0; i < count && ok_; ++i) part.vips.push_back(Address());
    return part;
  }
  bool Ok() const { return ok_; }
  bool AtEnd() const { return bytes_.empty(); }

 private:
  std::span<const uint8_t> Take(size_t size) {
    if (size > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::span<const uint8_t> bytes_;
  bool ok_ = true;
};

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeHeartbeat(const Heartbeat& heartbeat,
                                                     std::string_view key) {
  if (heartbeat.node.size() > kMaxNameBytes || heartbeat.group.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError("a heartbeat's names have at most 253 bytes");
  }
  if (heartbeat.claims.vips.size() > kMaxClaimsPerHeartbeat ||
      heartbeat.unable.vips.size() > kMaxUnablePerHeartbeat) {
    return absl::InvalidArgumentError("a heartbeat carries at most 32 claims and 15 other VIPs");
  }
  Writer out;
  out.Number(kMagic, 4);
  out.Number(kVersion, 1);
  out.Number((heartbeat.ready ? kReady : 0) | (heartbeat.stopping ? kStopping : 0) |
                 (key.empty() ? 0 : kTagged) | (heartbeat.leaving ? kLeaving : 0),
             1);
  out.Text(heartbeat.group);
  out.Text(heartbeat.node);
  out.Number(static_cast<uint64_t>(heartbeat.epoch), 8);
  out.Number(heartbeat.incarnation, 8);
  out.Number(heartbeat.sequence, 8);
  out.Part(heartbeat.claims);
  out.Part(heartbeat.unable);
  if (!key.empty()) {
    const Tag tag = TagOf(out.bytes(), key);
    out.bytes().insert(out.bytes().end(), tag.begin(), tag.end());
  }
  return std::move(out.bytes());
}

absl::StatusOr<Heartbeat> DecodeHeartbeat(std::span<const uint8_t> bytes, std::string_view key) {
  if (bytes.size() > kMaxHeartbeatBytes) return absl::InvalidArgumentError("too long");
  if (bytes.size() < 6) return absl::InvalidArgumentError("too short");
  Reader head(bytes);
  if (head.Number(4) != kMagic) return absl::InvalidArgumentError("not a heartbeat");
  if (head.Number(1) != kVersion) return absl::InvalidArgumentError("of another version");
  const uint8_t flags = static_cast<uint8_t>(head.Number(1));
  if ((flags & ~(kReady | kStopping | kTagged | kLeaving)) != 0) {
    return absl::InvalidArgumentError("unknown flags");
  }
  const bool tagged = (flags & kTagged) != 0;
  if (tagged != !key.empty()) {
    return absl::UnauthenticatedError(tagged ? "the sender has a key, this agent has none"
                                             : "the sender has no key");
  }
  if (tagged) {
    if (bytes.size() < 6 + kTagBytes) return absl::InvalidArgumentError("too short");
    const auto body = bytes.first(bytes.size() - kTagBytes);
    const Tag tag = TagOf(body, key);
    if (CRYPTO_memcmp(tag.data(), bytes.data() + body.size(), kTagBytes) != 0) {
      return absl::UnauthenticatedError("another key");
    }
    bytes = body;
  }
  Reader in(bytes.subspan(6));
  Heartbeat heartbeat;
  heartbeat.ready = (flags & kReady) != 0;
  heartbeat.stopping = (flags & kStopping) != 0;
  heartbeat.leaving = (flags & kLeaving) != 0;
  heartbeat.group = in.Text();
  heartbeat.node = in.Text();
  heartbeat.epoch = static_cast<int64_t>(in.Number(8));
  heartbeat.incarnation = in.Number(8);
  heartbeat.sequence = in.Number(8);
  heartbeat.claims = in.Part(kMaxClaimsPerHeartbeat);
  heartbeat.unable = in.Part(kMaxUnablePerHeartbeat);
  if (!in.Ok()) return absl::InvalidArgumentError("truncated, or with too many VIPs");
  if (!in.AtEnd()) return absl::InvalidArgumentError("bytes after its end");
  return heartbeat;
}

}  // namespace kube_lvs
