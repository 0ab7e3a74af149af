#include "dataplane/ipvs/settings_codec.h"

#include <linux/ip_vs.h>

#include <algorithm>
#include <optional>
#include <string>

#include "base/status.h"

namespace kube_lvs::ipvs {
namespace {

// ipvsadm's limit, 31 days. The kernel's is INT_MAX of its ticks: below this one at 1000 Hz.
constexpr uint32_t kMaxTimeoutSeconds = 31 * 24 * 3600;
constexpr uint32_t kMaxSyncId = 255;

bool IsMulticast(const IpAddress& ip) {
  return ip.IsV4() ? (ip.bytes[0] & 0xf0) == 0xe0 : ip.bytes[0] == 0xff;
}

absl::Status CheckTimeout(const char* name, uint32_t seconds) {
  if (seconds <= kMaxTimeoutSeconds) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string("IPVS timeout ") + name + ": " +
                                    std::to_string(seconds) + " s is above " +
                                    std::to_string(kMaxTimeoutSeconds) + " s, 31 days");
}

absl::Status Check(const SyncDaemon& daemon) {
  const auto invalid = [&](const std::string& why) {
    return absl::InvalidArgumentError("IPVS sync daemon, " + ToString(daemon.role) + ": " + why);
  };
  if (daemon.interface.empty() || daemon.interface.size() >= IP_VS_IFNAME_MAXLEN ||
      daemon.interface.find('\0') != std::string::npos) {
    return invalid("'" + daemon.interface + "' is no interface's name");
  }
  if (daemon.sync_id > kMaxSyncId) {
    return invalid("sync id " + std::to_string(daemon.sync_id) + " is above 255");
  }
  if (!IsMulticast(daemon.group)) {
    return invalid(daemon.group.ToString() + " is no multicast address");
  }
  if (daemon.port == 0) return invalid("a port from 1 on is needed");
  if (daemon.ttl == 0) return invalid("a ttl from 1 on is needed");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Info> DecodeInfo(ByteView message) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes, FirstLevel(message, Command::kInfo));
  std::optional<uint32_t> version, size;
  for (const Attribute& a : attributes) {
    if (a.type == IPVS_INFO_ATTR_VERSION) {
      KUBE_LVS_ASSIGN_OR_RETURN(version, Number32(a, "version"));
    } else if (a.type == IPVS_INFO_ATTR_CONN_TAB_SIZE) {
      KUBE_LVS_ASSIGN_OR_RETURN(size, Number32(a, "connection table size"));
    }
  }
  if (!version || !size) return Missing("info");
  return Info{.version = *version, .connection_table_size = *size};
}

absl::StatusOr<Bytes> EncodeTimeouts(const IpvsTimeouts& timeouts) {
  KUBE_LVS_RETURN_IF_ERROR(CheckTimeout("tcp", timeouts.tcp_seconds));
  KUBE_LVS_RETURN_IF_ERROR(CheckTimeout("tcpfin", timeouts.tcp_fin_seconds));
  KUBE_LVS_RETURN_IF_ERROR(CheckTimeout("udp", timeouts.udp_seconds));
  Bytes message = EncodePlain(Command::kSetConfig);
  AttributeWriter out(message);
  out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts.tcp_seconds);
  out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts.tcp_fin_seconds);
  out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts.udp_seconds);
  return message;
}

absl::StatusOr<IpvsTimeouts> DecodeTimeouts(ByteView message) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes, FirstLevel(message, Command::kSetConfig));
  IpvsTimeouts out;
  for (const Attribute& a : attributes) {
    switch (a.type) {
      case IPVS_CMD_ATTR_TIMEOUT_TCP: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.tcp_seconds, Number32(a, "tcp timeout"));
        break;
      }
      case IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.tcp_fin_seconds, Number32(a, "tcpfin timeout"));
        break;
      }
      case IPVS_CMD_ATTR_TIMEOUT_UDP: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.udp_seconds, Number32(a, "udp timeout"));
        break;
      }
    }
  }
  return out;
}

absl::StatusOr<Bytes> EncodeDaemon(const SyncDaemon& daemon) {
  KUBE_LVS_RETURN_IF_ERROR(Check(daemon));
  Bytes message = EncodePlain(Command::kNewDaemon);
  AttributeWriter out(message);
  const size_t nest = out.Begin(IPVS_CMD_ATTR_DAEMON);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_STATE, static_cast<uint32_t>(daemon.role));
  out.PutString(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id);
  if (daemon.max_length != 0) {
    out.PutNumber<uint16_t>(IPVS_DAEMON_ATTR_SYNC_MAXLEN, daemon.max_length);
  }
  const ByteView group(daemon.group.bytes.data(), daemon.group.Size());
  out.Put(daemon.group.IsV4() ? IPVS_DAEMON_ATTR_MCAST_GROUP : IPVS_DAEMON_ATTR_MCAST_GROUP6,
          group);
  // Unlike all other ports, in this machine's byte order.
  out.PutNumber<uint16_t>(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port);
  out.PutNumber<uint8_t>(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl);
  out.End(nest);
  return message;
}

Bytes EncodeRemoveDaemon(SyncRole role) {
  Bytes message = EncodePlain(Command::kRemoveDaemon);
  AttributeWriter out(message);
  const size_t nest = out.Begin(IPVS_CMD_ATTR_DAEMON);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_STATE, static_cast<uint32_t>(role));
  out.End(nest);
  return message;
}

absl::StatusOr<SyncDaemon> DecodeDaemon(ByteView message) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ByteView nested,
                            Inside(message, Command::kNewDaemon, IPVS_CMD_ATTR_DAEMON));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes, ParseAttributes(nested));
  SyncDaemon out;
  std::optional<uint32_t> role, sync_id;
  std::optional<std::string> interface;
  const auto group = [&out](const Attribute& a, Family family) {
    out.group = {.family = family, .bytes = {}};
    if (a.value.size() != out.group.Size()) {
      return absl::InternalError("IPVS message: multicast group has " +
                                 std::to_string(a.value.size()) + " bytes, not " +
                                 std::to_string(out.group.Size()));
    }
    std::copy(a.value.begin(), a.value.end(), out.group.bytes.begin());
    return absl::OkStatus();
  };
  for (const Attribute& a : attributes) {
    switch (a.type) {
      case IPVS_DAEMON_ATTR_STATE: {
        KUBE_LVS_ASSIGN_OR_RETURN(role, Number32(a, "daemon state"));
        break;
      }
      case IPVS_DAEMON_ATTR_MCAST_IFN: {
        KUBE_LVS_ASSIGN_OR_RETURN(interface, TextOf(a, "daemon interface"));
        break;
      }
      case IPVS_DAEMON_ATTR_SYNC_ID: {
        KUBE_LVS_ASSIGN_OR_RETURN(sync_id, Number32(a, "sync id"));
        break;
      }
      case IPVS_DAEMON_ATTR_SYNC_MAXLEN: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.max_length, Number16(a, "sync length"));
        break;
      }
      case IPVS_DAEMON_ATTR_MCAST_GROUP:
        KUBE_LVS_RETURN_IF_ERROR(group(a, Family::kIpv4));
        break;
      case IPVS_DAEMON_ATTR_MCAST_GROUP6:
        KUBE_LVS_RETURN_IF_ERROR(group(a, Family::kIpv6));
        break;
      case IPVS_DAEMON_ATTR_MCAST_PORT: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.port, Number16(a, "multicast port"));
        break;
      }
      case IPVS_DAEMON_ATTR_MCAST_TTL: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.ttl, Number8(a, "multicast ttl"));
        break;
      }
    }
  }
  if (!role || !interface || !sync_id) return Missing("daemon");
  if (*role != IP_VS_STATE_MASTER && *role != IP_VS_STATE_BACKUP) {
    return absl::InternalError("IPVS message: daemon state " + std::to_string(*role));
  }
  out.role = static_cast<SyncRole>(*role);
  out.interface = *interface;
  out.sync_id = *sync_id;
  return out;
}

}  // namespace kube_lvs::ipvs
