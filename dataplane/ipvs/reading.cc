#include "dataplane/ipvs/reading.h"

#include <utility>

#include "base/status.h"

namespace kube_lvs::ipvs {

absl::StatusOr<std::vector<ServiceEntry>> ReadServices(Channel& channel, Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto messages, channel.Dump(EncodePlain(Command::kGetService)));
  std::vector<ServiceEntry> out;
  out.reserve(messages.size());
  for (const ByteView message : messages) {
    auto entry = DecodeService(message, content);
    // Of a protocol that we never use.
    if (entry.status().code() == absl::StatusCode::kUnimplemented) continue;
    if (!entry.ok()) return entry.status();
    out.push_back(*std::move(entry));
  }
  return out;
}

absl::StatusOr<std::vector<RealEntry>> ReadReals(Channel& channel, const ServiceKey& key,
                                                 Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto messages, channel.Dump(EncodeKey(Command::kGetReal, key)));
  std::vector<RealEntry> out;
  out.reserve(messages.size());
  for (const ByteView message : messages) {
    KUBE_LVS_ASSIGN_OR_RETURN(RealEntry entry, DecodeReal(message, FamilyOf(key), content));
    out.push_back(std::move(entry));
  }
  return out;
}

absl::StatusOr<Info> ReadInfo(Channel& channel) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Bytes message, channel.Ask(EncodePlain(Command::kGetInfo)));
  return DecodeInfo(message);
}

absl::StatusOr<IpvsTimeouts> ReadTimeouts(Channel& channel) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Bytes message, channel.Ask(EncodePlain(Command::kGetConfig)));
  return DecodeTimeouts(message);
}

absl::StatusOr<std::vector<SyncDaemon>> ReadDaemons(Channel& channel) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto messages, channel.Dump(EncodePlain(Command::kGetDaemon)));
  std::vector<SyncDaemon> out;
  for (const ByteView message : messages) {
    KUBE_LVS_ASSIGN_OR_RETURN(SyncDaemon daemon, DecodeDaemon(message));
    out.push_back(std::move(daemon));
  }
  return out;
}

}  // namespace kube_lvs::ipvs
