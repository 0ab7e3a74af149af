// A director's question whether a real server is set up, the agent's answer, and their bytes on
// the wire. Pure, but for the keyed hash.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "node-agent/peers/setup.h"

namespace kube_lvs {

// Kinds of messages; heartbeats have the small numbers. Another layout is another kind.
inline constexpr uint8_t kSetupQueryKind = 'Q';
inline constexpr uint8_t kSetupAnswerKind = 'A';

struct SetupQuery {
  uint64_t nonce = 0;  // unguessable: who knows it in an answer was asked
  IpAddress director;  // the address from which it tunnels
  std::vector<VipSetup> setups = {};
  bool operator==(const SetupQuery&) const = default;
};

struct SetupAnswer {
  struct Entry {
    VipSetup setup;
    SetupState state;
    bool operator==(const Entry&) const = default;
  };
  uint64_t nonce = 0;  // the query's
  std::vector<Entry> entries = {};
  bool operator==(const SetupAnswer&) const = default;
};

inline constexpr size_t kMaxSetupsPerQuery = 40;
// An answer is by no more than this longer than its query, but for two bytes an entry.
inline constexpr size_t kMaxReasonBytes = 160;
inline constexpr size_t kMaxReasonBytesTogether = 480;

// With a tag if `key` is not empty. Too many setups, or NAT, are kInvalidArgument; reasons that are
// too long are cut.
absl::StatusOr<std::vector<uint8_t>> EncodeSetupQuery(const SetupQuery& query,
                                                      std::string_view key);
absl::StatusOr<std::vector<uint8_t>> EncodeSetupAnswer(const SetupAnswer& answer,
                                                       std::string_view key);

// Codes as Reader::Open's. Reasons come out as printable ASCII, whatever was sent.
absl::StatusOr<SetupQuery> DecodeSetupQuery(std::span<const uint8_t> bytes, std::string_view key);
absl::StatusOr<SetupAnswer> DecodeSetupAnswer(std::span<const uint8_t> bytes, std::string_view key);

}  // namespace kube_lvs
