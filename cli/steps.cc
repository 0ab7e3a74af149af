#include "cli/steps.h"

#include <linux/ip_vs.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "cli/messages.h"

namespace kube_lvs::cli {
namespace {

constexpr uint32_t kKnownFlags = IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_ONEPACKET |
                                 IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | IP_VS_SVC_F_SCHED3;

Persistence PersistenceOf(const ServiceArgument& service) {
  Persistence out{.timeout_seconds = service.timeout_seconds,
                  .prefix_length = static_cast<int>(service.netmask),
                  .engine = service.engine};
  if (service.address.family == AF_INET6) return out;
  std::array<uint8_t, 4> bytes;
  std::copy_n(reinterpret_cast<const uint8_t*>(&service.netmask), bytes.size(), bytes.begin());
  const uint32_t mask =
      uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
  out.prefix_length = std::countl_one(mask);
  if (std::popcount(mask) != out.prefix_length) {
    out.mask_with_holes = mask;
    out.prefix_length = 0;
  }
  return out;
}

ServiceConfig ConfigOf(const ServiceArgument& service) {
  ServiceConfig out;
  out.scheduler = service.scheduler;
  if ((service.flags & IP_VS_SVC_F_PERSISTENT) != 0) out.persistence = PersistenceOf(service);
  out.one_packet = (service.flags & IP_VS_SVC_F_ONEPACKET) != 0;
  out.unnamed_flags = service.flags & ~kKnownFlags;
  constexpr uint32_t kFallback = IP_VS_SVC_F_SCHED1, kPort = IP_VS_SVC_F_SCHED2;
  if (service.scheduler == "sh" || service.scheduler == "mh") {
    out.hash = {.source_port = (service.flags & kPort) != 0,
                .fallback = (service.flags & kFallback) != 0,
                .table_size = service.table_size};
    out.unnamed_flags |= service.flags & IP_VS_SVC_F_SCHED3;
  } else {
    out.unnamed_flags |= service.flags & (kFallback | kPort | IP_VS_SVC_F_SCHED3);
  }
  return out;
}

Endpoint EndpointOf(const ServerArgument& server) {
  Endpoint out{.ip = {}, .port = server.port};
  out.ip.family = server.address.family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  std::copy_n(server.address.bytes.begin(), out.ip.Size(), out.ip.bytes.begin());
  return out;
}

RealServer RealOf(const ServerArgument& server) {
  RealServer out{.at = EndpointOf(server),
                 .method = ForwardingMethod::kNat,
                 .weight = server.weight,
                 .upper_threshold = server.upper_threshold,
                 .lower_threshold = server.lower_threshold};
  if (server.method == IP_VS_CONN_F_DROUTE) out.method = ForwardingMethod::kDirectRouting;
  if (server.method != IP_VS_CONN_F_TUNNEL) return out;
  out.method = ForwardingMethod::kTunnel;
  out.tunnel.type = static_cast<TunnelType>(server.tunnel_type);
  out.tunnel.port = server.tunnel_port;
  out.tunnel.checksum = (server.tunnel_flags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM) != 0;
  out.tunnel.remote_checksum = (server.tunnel_flags & IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM) != 0;
  return out;
}

}  // namespace

ServiceKey EbpfKeyOf(const ServiceArgument& service) {
  ServiceKey key = KeyOf(service);
  key.dataplane = Dataplane::kEbpf;
  return key;
}

absl::StatusOr<Step> StepOf(const Request& request) {
  const ServiceKey key = EbpfKeyOf(request.service);
  if (!request.service.engine.empty() && (request.service.flags & IP_VS_SVC_F_PERSISTENT) == 0) {
    return absl::UnimplementedError(ToString(key) +
                                    ": a persistence engine without persistence (-p) is of IPVS");
  }
  switch (request.action) {
    case Action::kAddService:
      return Step(AddService{key, ConfigOf(request.service)});
    case Action::kEditService:
      return Step(SetService{key, ConfigOf(request.service)});
    case Action::kDeleteService:
      return Step(RemoveService{key});
    case Action::kAddServer:
      return Step(AddReal{key, RealOf(request.server)});
    case Action::kEditServer:
      return Step(SetReal{key, RealOf(request.server)});
    case Action::kDeleteServer:
      return Step(RemoveReal{key, EndpointOf(request.server)});
    default:
      return absl::InternalError("no step for this command");
  }
}

}  // namespace kube_lvs::cli
