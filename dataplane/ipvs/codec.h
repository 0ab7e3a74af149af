// The messages of the kernel's generic netlink family "IPVS" (include/uapi/linux/ip_vs.h) about
// services and real servers: model values to bytes and back. Pure. A message here is the generic
// netlink header and what follows it; the netlink header with family id, sequence number and flags
// is the channel's.
//
// IPVS knows no source NAT: ServiceConfig::source_nat is neither encoded nor decoded.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ipvs/message.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ipvs {

// How much of an answer is wanted. kRules leaves counters and rates at 0, at half the cost.
enum class Content : uint8_t { kAll, kRules };

// A virtual service as the kernel tells it.
struct ServiceEntry {
  ServiceKey key;
  ServiceConfig config;
  Counters counters;
  Rates rates;
  std::string engine;  // as the kernel tells it, also without persistence
  // The kernel holds a setting that ServiceConfig cannot say, which another program made: a
  // persistence engine without persistence.
  bool foreign = false;
  bool operator==(const ServiceEntry&) const = default;
};

// A real server as the kernel tells it.
struct RealEntry {
  RealServer real;
  Counters counters;
  Rates rates;
  uint32_t active_connections = 0;
  uint32_t inactive_connections = 0;
  uint32_t persistent_connections = 0;
  // The kernel tells how it wraps packets. One that does not (before 5.2) knows IPIP alone, and
  // takes a request for another tunnel as one for that.
  bool tells_tunnel = false;
  uint32_t kernel_method = 0;  // IP_VS_CONN_F_...: what `foreign` hides
  bool foreign = false;        // as above: local, bypass, or a tunnel or a flag of later kernels
  bool operator==(const RealEntry&) const = default;
};

// kNewService or kSetService. kInvalidArgument for what IPVS cannot do or the kernel would refuse,
// with a message that names the field.
absl::StatusOr<Bytes> EncodeService(Command command, const ServiceKey& key,
                                    const ServiceConfig& config);
// kRemoveService, kGetService (of one), kZero (of one), or kGetReal (the real servers of one).
Bytes EncodeKey(Command command, const ServiceKey& key);
// kNewReal or kSetReal.
absl::StatusOr<Bytes> EncodeReal(Command command, const ServiceKey& key, const RealServer& real);
Bytes EncodeRemoveReal(const ServiceKey& key, const Endpoint& at);

// Unknown attributes are ignored; missing, truncated or wrong-sized ones are kInternal.
// kUnimplemented: a service of a protocol that ServiceKey cannot name, which is not ours.
absl::StatusOr<ServiceEntry> DecodeService(ByteView message, Content content = Content::kAll);
// `family`: of the service, for kernels that do not tell the real server's own.
absl::StatusOr<RealEntry> DecodeReal(ByteView message, Family family,
                                     Content content = Content::kAll);
// Of a service's VIP, or of its mark.
Family FamilyOf(const ServiceKey& key);

}  // namespace kube_lvs::ipvs
