#include "cli/messages.h"

#include <linux/ip_vs.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace kube_lvs::cli {
namespace {

using ipvs::AttributeWriter;
using ipvs::Bytes;
using ipvs::Command;

Command CommandOf(Action action) {
  switch (action) {
    case Action::kAddService:
      return Command::kNewService;
    case Action::kEditService:
      return Command::kSetService;
    case Action::kDeleteService:
      return Command::kRemoveService;
    case Action::kFlush:
      return Command::kFlush;
    case Action::kAddServer:
      return Command::kNewReal;
    case Action::kEditServer:
      return Command::kSetReal;
    case Action::kDeleteServer:
      return Command::kRemoveReal;
    case Action::kSetTimeouts:
      return Command::kSetConfig;
    case Action::kStartDaemon:
      return Command::kNewDaemon;
    case Action::kStopDaemon:
      return Command::kRemoveDaemon;
    case Action::kZero:
      return Command::kZero;
    case Action::kList:
    case Action::kSave:
    case Action::kRestore:
      break;
  }
  return Command::kGetService;
}

void PutService(AttributeWriter& out, const ServiceArgument& service) {
  const size_t begin = out.Begin(IPVS_CMD_ATTR_SERVICE);
  out.PutNumber<uint16_t>(IPVS_SVC_ATTR_AF, service.address.family);
  if (service.mark != 0) {
    out.PutNumber<uint32_t>(IPVS_SVC_ATTR_FWMARK, service.mark);
  } else {
    out.PutNumber<uint16_t>(IPVS_SVC_ATTR_PROTOCOL, service.protocol);
    out.Put(IPVS_SVC_ATTR_ADDR, service.address.bytes);
    out.PutPort(IPVS_SVC_ATTR_PORT, service.port);
  }
  out.PutString(IPVS_SVC_ATTR_SCHED_NAME, service.scheduler);
  if (!service.engine.empty()) out.PutString(IPVS_SVC_ATTR_PE_NAME, service.engine);
  const std::array<uint32_t, 2> flags_and_mask = {service.flags, ~uint32_t{0}};
  out.Put(IPVS_SVC_ATTR_FLAGS, std::bit_cast<std::array<uint8_t, 8>>(flags_and_mask));
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_TIMEOUT, service.timeout_seconds);
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_NETMASK, service.netmask);
  out.End(begin);
}

void PutServer(AttributeWriter& out, const ServerArgument& server) {
  const size_t begin = out.Begin(IPVS_CMD_ATTR_DEST);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, server.address.family);
  out.Put(IPVS_DEST_ATTR_ADDR, server.address.bytes);
  out.PutPort(IPVS_DEST_ATTR_PORT, server.port);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_FWD_METHOD, server.method);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_WEIGHT, server.weight);
  out.PutNumber<uint8_t>(IPVS_DEST_ATTR_TUN_TYPE, server.tunnel_type);
  out.PutPort(IPVS_DEST_ATTR_TUN_PORT, server.tunnel_port);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_TUN_FLAGS, server.tunnel_flags);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_U_THRESH, server.upper_threshold);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_L_THRESH, server.lower_threshold);
  out.End(begin);
}

void PutDaemon(AttributeWriter& out, const DaemonArgument& daemon, bool all) {
  const size_t begin = out.Begin(IPVS_CMD_ATTR_DAEMON);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_STATE, static_cast<uint32_t>(daemon.role));
  out.PutString(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id);
  if (all) {
    // Unlike other ports this one is in the machine's order.
    if (daemon.max_length != 0) {
      out.PutNumber<uint16_t>(IPVS_DAEMON_ATTR_SYNC_MAXLEN, daemon.max_length);
    }
    if (daemon.port != 0) out.PutNumber<uint16_t>(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port);
    if (daemon.ttl != 0) out.PutNumber<uint8_t>(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl);
    if (daemon.group.family == AF_INET6) {
      out.Put(IPVS_DAEMON_ATTR_MCAST_GROUP6, daemon.group.bytes);
    } else if (daemon.group.family == AF_INET) {
      out.Put(IPVS_DAEMON_ATTR_MCAST_GROUP, ipvs::ByteView(daemon.group.bytes).first(4));
    }
  }
  out.End(begin);
}

}  // namespace

bool NamesNothing(const ServiceArgument& service) {
  return service.mark == 0 && service.port == 0 &&
         std::ranges::all_of(service.address.bytes, [](uint8_t b) { return b == 0; });
}

Bytes Encode(const Request& request) {
  Bytes message = ipvs::EncodePlain(CommandOf(request.action));
  AttributeWriter out(message);
  switch (request.action) {
    case Action::kZero:
      // Also -Z -t 0.0.0.0:0 zeroes all.
      if (NamesNothing(request.service)) break;
      [[fallthrough]];
    case Action::kAddService:
    case Action::kEditService:
    case Action::kDeleteService:
      PutService(out, request.service);
      break;
    case Action::kAddServer:
    case Action::kEditServer:
    case Action::kDeleteServer:
      PutService(out, request.service);
      PutServer(out, request.server);
      break;
    case Action::kSetTimeouts:
      out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_TCP, request.timeouts.tcp_seconds);
      out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, request.timeouts.tcp_fin_seconds);
      out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_UDP, request.timeouts.udp_seconds);
      break;
    case Action::kStartDaemon:
    case Action::kStopDaemon:
      PutDaemon(out, request.daemon, request.action == Action::kStartDaemon);
      break;
    case Action::kFlush:
    case Action::kList:
    case Action::kSave:
    case Action::kRestore:
      break;
  }
  return message;
}

Bytes EncodeQuestion(Command command, const ServiceArgument& service) {
  Bytes message = ipvs::EncodePlain(command);
  AttributeWriter out(message);
  PutService(out, service);
  return message;
}

ServiceKey KeyOf(const ServiceArgument& service) {
  const Family family = service.address.family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  ServiceKey key{.dataplane = Dataplane::kIpvs, .match = {}, .protocol = Protocol::kTcp};
  if (service.mark != 0) {
    key.match = FwMark{.mark = service.mark, .family = family};
    return key;
  }
  IpAddress ip{.family = family, .bytes = {}};
  std::copy_n(service.address.bytes.begin(), ip.Size(), ip.bytes.begin());
  key.match = Endpoint{.ip = ip, .port = service.port};
  key.protocol = static_cast<Protocol>(service.protocol);
  return key;
}

std::string Refused(Action action, int error) {
  const bool service = action == Action::kAddService || action == Action::kEditService;
  const bool server = action == Action::kAddServer || action == Action::kEditServer ||
                      action == Action::kDeleteServer;
  switch (error) {
    case EEXIST:
      if (action == Action::kAddService) return "Service already exists";
      if (action == Action::kAddServer) return "Destination already exists";
      if (action == Action::kStartDaemon) return "Daemon has already run";
      break;
    case ENOENT:
      if (service) return "Scheduler or persistence engine not found";
      if (server && action != Action::kAddServer) return "No such destination";
      break;
    case ESRCH:
      if (server) return "Service not defined";
      if (action == Action::kStopDaemon) return "No daemon is running";
      if (action == Action::kEditService || action == Action::kDeleteService ||
          action == Action::kZero || action == Action::kList || action == Action::kSave) {
        return "No such service";
      }
      break;
    case EPERM:
      return "Permission denied (you must be root)";
    case EINVAL:
      return "Invalid operation.  Possibly wrong module version, address not unicast, ...";
    case ENOPROTOOPT:
      return "Protocol not available";
    case ENOMEM:
      return "Memory allocation problem";
    case EOPNOTSUPP:
      return "Operation not supported with IPv6";
    case EAFNOSUPPORT:
      return "Operation not supported with specified address family";
    case EMSGSIZE:
      return "Module is wrong version";
  }
  return std::strerror(error);
}

}  // namespace kube_lvs::cli
