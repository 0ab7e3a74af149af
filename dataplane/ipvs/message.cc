#include "dataplane/ipvs/message.h"

#include <linux/ip_vs.h>

#include <optional>
#include <string>

#include "base/status.h"

namespace kube_lvs::ipvs {
namespace {

constexpr size_t kGenericHeader = 4;

// What follows the header of a message of that command.
absl::StatusOr<ByteView> Body(ByteView message, Command command) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Command found, CommandOf(message));
  if (found != command) {
    return absl::InternalError("IPVS message: command " + std::to_string(int(found)) + ", not " +
                               std::to_string(int(command)));
  }
  return message.subspan(kGenericHeader);
}

}  // namespace

Bytes EncodePlain(Command command) {
  return {static_cast<uint8_t>(command), IPVS_GENL_VERSION, 0, 0};
}

absl::StatusOr<Command> CommandOf(ByteView message) {
  if (message.size() < kGenericHeader) {
    return absl::InternalError("IPVS message: shorter than its header");
  }
  return static_cast<Command>(message[0]);
}

absl::StatusOr<std::vector<Attribute>> FirstLevel(ByteView message, Command command) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ByteView attributes, Body(message, command));
  return ParseAttributes(attributes);
}

absl::StatusOr<ByteView> Inside(ByteView message, Command command, uint16_t type) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ByteView attributes, Body(message, command));
  std::optional<ByteView> found;
  KUBE_LVS_RETURN_IF_ERROR(ForEachAttribute(attributes, [&](const Attribute& attribute) {
    if (attribute.type == type && !found) found = attribute.value;
    return absl::OkStatus();
  }));
  if (found) return *found;
  return absl::InternalError("IPVS message: attribute " + std::to_string(type) + " is missing");
}

absl::Status Missing(std::string_view name) {
  return absl::InternalError("IPVS message: " + std::string(name) + " is missing");
}

}  // namespace kube_lvs::ipvs
