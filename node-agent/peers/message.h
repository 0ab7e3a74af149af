// What agents of one director group tell each other, and its bytes on the wire. Pure, but for the
// keyed hash.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs {

// A part of an ordered list of VIPs: those from `first` on of `total`, as many as fit. Successive
// messages carry successive parts.
struct VipPart {
  uint32_t total = 0;
  uint32_t first = 0;
  std::vector<IpAddress> vips = {};
  bool operator==(const VipPart&) const = default;
};

// "I am here." Sent to each member of the group at each interval, in one datagram.
struct Heartbeat {
  std::string group;
  std::string node;          // the sender
  int64_t epoch = 0;         // of the group's members, as the sender knows them
  uint64_t incarnation = 0;  // of the sender's process: a later one is higher
  uint64_t sequence = 0;     // rises by at least one with each message of an incarnation
  bool ready = false;        // its dataplane is programmed: it can answer for VIPs
  bool stopping = false;     // a planned stop: the dataplane goes on, the agent will be back
  bool leaving = false;      // for good, its rules go: whoever can takes over at once
  VipPart claims = {};       // that it answers for
  VipPart unable = {};       // that it cannot serve, though it is ready for others; normally none

  bool operator==(const Heartbeat&) const = default;
};

inline constexpr size_t kMaxClaimsPerHeartbeat = 32;
inline constexpr size_t kMaxUnablePerHeartbeat = 15;

// Big-endian, ended by HMAC-SHA256 over all before it when `key` is not empty. More VIPs than fit
// or names longer than 253 bytes are kInvalidArgument.
absl::StatusOr<std::vector<uint8_t>> EncodeHeartbeat(const Heartbeat& heartbeat,
                                                     std::string_view key);

// kInvalidArgument: not a heartbeat. kUnauthenticated: it does not carry the tag of our key (or
// carries one and we have no key).
absl::StatusOr<Heartbeat> DecodeHeartbeat(std::span<const uint8_t> bytes, std::string_view key);

}  // namespace kube_lvs
