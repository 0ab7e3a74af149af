#include "node-agent/peers/message.h"

#include "base/status.h"
#include "node-agent/peers/frame.h"

namespace kube_lvs {
namespace {

constexpr uint8_t kKind = 2;  // 1 was a heartbeat without `unable` and `leaving`
constexpr uint8_t kReady = 1, kStopping = 2, kLeaving = 8;
constexpr size_t kMaxNameBytes = 253;  // of a DNS subdomain, which names of objects are

void Write(Writer& out, const VipPart& part) {
  out.Number(part.total, 4);
  out.Number(part.first, 4);
  out.Number(part.vips.size(), 1);
  for (const IpAddress& vip : part.vips) out.Address(vip);
}

// One with more than `most` VIPs is left unread, so that bytes remain after its end.
VipPart ReadPart(Reader& in, size_t most) {
  VipPart part;
  part.total = static_cast<uint32_t>(in.Number(4));
  part.first = static_cast<uint32_t>(in.Number(4));
  const uint64_t count = in.Number(1);
  for (uint64_t i = 0; i < count && count <= most && in.Ok(); ++i)
    part.vips.push_back(in.Address());
  return part;
}

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
  Writer out(kKind,
             (heartbeat.ready ? kReady : 0) | (heartbeat.stopping ? kStopping : 0) |
                 (heartbeat.leaving ? kLeaving : 0),
             key);
  out.Text(heartbeat.group);
  out.Text(heartbeat.node);
  out.Number(static_cast<uint64_t>(heartbeat.epoch), 8);
  out.Number(heartbeat.incarnation, 8);
  out.Number(heartbeat.sequence, 8);
  Write(out, heartbeat.claims);
  Write(out, heartbeat.unable);
  return std::move(out).Finish();
}

absl::StatusOr<Heartbeat> DecodeHeartbeat(std::span<const uint8_t> bytes, std::string_view key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Reader in,
                            Reader::Open(bytes, kKind, kReady | kStopping | kLeaving, key));
  Heartbeat heartbeat;
  heartbeat.ready = (in.flags() & kReady) != 0;
  heartbeat.stopping = (in.flags() & kStopping) != 0;
  heartbeat.leaving = (in.flags() & kLeaving) != 0;
  heartbeat.group = in.Text();
  heartbeat.node = in.Text();
  heartbeat.epoch = static_cast<int64_t>(in.Number(8));
  heartbeat.incarnation = in.Number(8);
  heartbeat.sequence = in.Number(8);
  heartbeat.claims = ReadPart(in, kMaxClaimsPerHeartbeat);
  heartbeat.unable = ReadPart(in, kMaxUnablePerHeartbeat);
  KUBE_LVS_RETURN_IF_ERROR(in.End());
  return heartbeat;
}

}  // namespace kube_lvs
