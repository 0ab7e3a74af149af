// The messages about what IPVS has once for a network namespace: version, timeouts, daemons. Pure.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "dataplane/ipvs/message.h"
#include "dataplane/model/ipvs_settings.h"

namespace kube_lvs::ipvs {

struct Info {
  uint32_t version = 0;  // 0x010201 is 1.2.1
  uint32_t connection_table_size = 0;
  bool operator==(const Info&) const = default;
};

absl::StatusOr<Info> DecodeInfo(ByteView message);

// kSetConfig. kInvalidArgument above 31 days, with a message that names the timeout.
absl::StatusOr<Bytes> EncodeTimeouts(const IpvsTimeouts& timeouts);
// The answer to kGetConfig. A kernel without TCP (UDP) in IPVS tells no such timeout: 0.
absl::StatusOr<IpvsTimeouts> DecodeTimeouts(ByteView message);

// kNewDaemon. kInvalidArgument with a message that names the field.
absl::StatusOr<Bytes> EncodeDaemon(const SyncDaemon& daemon);
Bytes EncodeRemoveDaemon(SyncRole role);
// One message of the dump kGetDaemon. A kernel before 4.3 tells neither length, group, port nor
// TTL: they are the defaults then, which it uses.
absl::StatusOr<SyncDaemon> DecodeDaemon(ByteView message);

}  // namespace kube_lvs::ipvs
