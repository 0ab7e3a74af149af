// What all messages of the family share: the command, and the first level of attributes. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/ipvs/attributes.h"

namespace kube_lvs::ipvs {

// Numbers of the kernel's interface.
enum class Command : uint8_t {
  kNewService = 1,
  kSetService = 2,
  kRemoveService = 3,
  kGetService = 4,
  kNewReal = 5,
  kSetReal = 6,
  kRemoveReal = 7,
  kGetReal = 8,
  kNewDaemon = 9,
  kRemoveDaemon = 10,
  kGetDaemon = 11,
  kSetConfig = 12,
  kGetConfig = 13,
  kInfo = 14,  // the answer to kGetInfo
  kGetInfo = 15,
  kZero = 16,   // counters: of one service, or of all
  kFlush = 17,  // every service of every owner
};

// A message without attributes: kGetInfo, kGetConfig, kGetDaemon, kFlush, kGetService for all,
// kZero for all.
Bytes EncodePlain(Command command);

// kInternal when the message is shorter than its header.
absl::StatusOr<Command> CommandOf(ByteView message);

// The attributes of the first level. kInternal when the message is of another command.
absl::StatusOr<std::vector<Attribute>> FirstLevel(ByteView message, Command command);
// What is inside the first-level attribute `type`: attributes again. kInternal when it is missing.
absl::StatusOr<ByteView> Inside(ByteView message, Command command, uint16_t type);

// kInternal: "IPVS message: NAME is missing".
absl::Status Missing(std::string_view name);

}  // namespace kube_lvs::ipvs
