#include "node-agent/peers/message.h"

#include "base/status.h"
#include "node-agent/peers/frame.h"

namespace kube_lvs {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kReady = 1, kStopping = 2;
constexpr size_t kMaxNameBytes = 253;  // of a DNS subdomain, which names of objects are

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeHeartbeat(const Heartbeat& heartbeat,
                                                     std::string_view key) {
  if (heartbeat.node.size() > kMaxNameBytes || heartbeat.group.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError("a heartbeat's names have at most 253 bytes");
  }
  if (heartbeat.claims.size() > kMaxClaimsPerHeartbeat) {
    return absl::InvalidArgumentError("a heartbeat carries at most 48 claims");
  }
  Writer out(kVersion, (heartbeat.ready ? kReady : 0) | (heartbeat.stopping ? kStopping : 0), key);
  out.Text(heartbeat.group);
  out.Text(heartbeat.node);
  out.Number(static_cast<uint64_t>(heartbeat.epoch), 8);
  out.Number(heartbeat.incarnation, 8);
  out.Number(heartbeat.sequence, 8);
  out.Number(heartbeat.total_claims, 4);
  out.Number(heartbeat.first_claim, 4);
  out.Number(heartbeat.claims.size(), 1);
  for (const IpAddress& vip : heartbeat.claims) out.Address(vip);
  return std::move(out).Finish();
}

absl::StatusOr<Heartbeat> DecodeHeartbeat(std::span<const uint8_t> bytes, std::string_view key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Reader in, Reader::Open(bytes, kVersion, kReady | kStopping, key));
  Heartbeat heartbeat;
  heartbeat.ready = (in.flags() & kReady) != 0;
  heartbeat.stopping = (in.flags() & kStopping) != 0;
  heartbeat.group = in.Text();
  heartbeat.node = in.Text();
  heartbeat.epoch = static_cast<int64_t>(in.Number(8));
  heartbeat.incarnation = in.Number(8);
  heartbeat.sequence = in.Number(8);
  heartbeat.total_claims = static_cast<uint32_t>(in.Number(4));
  heartbeat.first_claim = static_cast<uint32_t>(in.Number(4));
  const uint64_t count = in.Number(1);
  if (count > kMaxClaimsPerHeartbeat) return absl::InvalidArgumentError("too many claims");
  for (uint64_t i = 0; i < count && in.Ok(); ++i) heartbeat.claims.push_back(in.Address());
  KUBE_LVS_RETURN_IF_ERROR(in.End());
  return heartbeat;
}

}  // namespace kube_lvs
