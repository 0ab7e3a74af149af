// The messages of the kernel's generic netlink family "IPVS" (include/uapi/linux/ip_vs.h): model
// values to bytes and back. Pure. A message here is the generic netlink header and what follows it;
// the netlink header with family id, sequence number and flags is the channel's.
//
// IPVS knows no source NAT: ServiceConfig::source_nat is neither encoded nor decoded.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ipvs/attributes.h"
#include "dataplane/model/state.h"

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
  kInfo = 14,  // the answer to kGetInfo
  kGetInfo = 15,
};

// A virtual service as the kernel tells it.
struct ServiceEntry {
  ServiceKey key;
  ServiceConfig config;
  Counters counters;
  // The kernel holds settings that ServiceConfig cannot say (no scheduler, a flag we never set, a
  // netmask with holes): set by another program.
  bool foreign = false;
  bool operator==(const ServiceEntry&) const = default;
};

// A real server as the kernel tells it.
struct RealEntry {
  RealServer real;
  Counters counters;
  uint32_t active_connections = 0;
  uint32_t inactive_connections = 0;
  uint32_t persistent_connections = 0;
  bool foreign = false;  // as above: another forwarding method, or a tunnel that is not IPIP
  bool operator==(const RealEntry&) const = default;
};

struct Info {
  uint32_t version = 0;  // 0x010201 is 1.2.1
  uint32_t connection_table_size = 0;
  bool operator==(const Info&) const = default;
};

// kNewService or kSetService. kInvalidArgument for what IPVS cannot do or the kernel would refuse,
// with a message that names the field.
absl::StatusOr<Bytes> EncodeService(Command command, const ServiceKey& key,
                                    const ServiceConfig& config);
// kRemoveService, kGetService (of one), or kGetReal (the real servers of one).
Bytes EncodeKey(Command command, const ServiceKey& key);
// kNewReal or kSetReal.
absl::StatusOr<Bytes> EncodeReal(Command command, const ServiceKey& key, const RealServer& real);
Bytes EncodeRemoveReal(const ServiceKey& key, const Endpoint& at);
// kGetInfo, or kGetService for all.
Bytes EncodePlain(Command command);

// Unknown attributes are ignored; missing, truncated or wrong-sized ones are kInternal.
// kUnimplemented: a service of a protocol that ServiceKey cannot name, which is not ours.
absl::StatusOr<ServiceEntry> DecodeService(ByteView message);
// `family`: of the service, for kernels that do not tell the real server's own.
absl::StatusOr<RealEntry> DecodeReal(ByteView message, Family family);
absl::StatusOr<Info> DecodeInfo(ByteView message);

// kInternal when the message is shorter than its header.
absl::StatusOr<Command> CommandOf(ByteView message);

// Of a service's VIP, or of its mark.
Family FamilyOf(const ServiceKey& key);

}  // namespace kube_lvs::ipvs
