#include "dataplane/ipvs/codec.h"

#include <linux/ip_vs.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <string>

#include "base/status.h"

namespace kube_lvs::ipvs {
namespace {

constexpr size_t kGenericHeader = 4;
constexpr size_t kAddressBytes = 16;  // of union nf_inet_addr
// ipvsadm's limit; the kernel multiplies by its tick rate in 32 bits.
constexpr uint32_t kMaxPersistenceSeconds = 31 * 24 * 3600;

// The same bits for sh and mh.
constexpr uint32_t kFallbackFlag = IP_VS_SVC_F_SCHED1;
constexpr uint32_t kSourcePortFlag = IP_VS_SVC_F_SCHED2;

absl::Status Invalid(const ServiceKey& key, const std::string& why) {
  return absl::InvalidArgumentError(ToString(key) + ": " + why);
}

Bytes Header(Command command) { return {static_cast<uint8_t>(command), IPVS_GENL_VERSION, 0, 0}; }

uint16_t AddressFamily(Family family) { return family == Family::kIpv4 ? AF_INET : AF_INET6; }

uint32_t Netmask(Family family, int prefix_length) {
  if (family == Family::kIpv6) return static_cast<uint32_t>(prefix_length);
  const uint32_t mask = prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length);
  return __builtin_bswap32(mask);
}

bool HasHash(const std::string& scheduler) { return scheduler == "sh" || scheduler == "mh"; }

void PutIdentity(AttributeWriter& out, const ServiceKey& key) {
  out.PutNumber<uint16_t>(IPVS_SVC_ATTR_AF, AddressFamily(FamilyOf(key)));
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    out.PutNumber<uint32_t>(IPVS_SVC_ATTR_FWMARK, mark->mark);
    return;
  }
  const auto& vip = std::get<Endpoint>(key.match);
  out.PutNumber<uint16_t>(IPVS_SVC_ATTR_PROTOCOL, static_cast<uint16_t>(key.protocol));
  out.Put(IPVS_SVC_ATTR_ADDR, vip.ip.bytes);
  out.PutPort(IPVS_SVC_ATTR_PORT, vip.port);
}

void PutService(AttributeWriter& out, const ServiceKey& key) {
  const size_t service = out.Begin(IPVS_CMD_ATTR_SERVICE);
  PutIdentity(out, key);
  out.End(service);
}

absl::Status Check(const ServiceKey& key, const ServiceConfig& config) {
  if (const auto* mark = std::get_if<FwMark>(&key.match); mark != nullptr && mark->mark == 0) {
    return Invalid(key, "mark 0 means no mark");
  }
  if (config.scheduler.empty() || config.scheduler.size() >= IP_VS_SCHEDNAME_MAXLEN ||
      config.scheduler.find('\0') != std::string::npos || config.scheduler == "none") {
    return Invalid(key, "'" + config.scheduler + "' is no scheduler's name");
  }
  if (config.hash != HashFlags{} && !HasHash(config.scheduler)) {
    return Invalid(
        key, "source-port and fallback are for the schedulers sh and mh, not " + config.scheduler);
  }
  if (config.one_packet && std::holds_alternative<Endpoint>(key.match) &&
      key.protocol != Protocol::kUdp) {
    return Invalid(key, "one-packet scheduling is for UDP");
  }
  if (!config.persistence) return absl::OkStatus();
  const Persistence& persistence = *config.persistence;
  if (persistence.timeout_seconds == 0 || persistence.timeout_seconds > kMaxPersistenceSeconds) {
    return Invalid(key, "a persistence of " + std::to_string(persistence.timeout_seconds) +
                            " s is not within 1 s and 31 days");
  }
  const int bits = FamilyOf(key) == Family::kIpv4 ? 32 : 128;
  if (persistence.prefix_length < 1 || persistence.prefix_length > bits) {
    return Invalid(key, "a persistence prefix of " + std::to_string(persistence.prefix_length) +
                            " bits is not within 1 and " + std::to_string(bits));
  }
  // Beyond the NUL the kernel's limit counts one more, which does not fit its own buffer.
  if (persistence.engine.size() >= IP_VS_PENAME_MAXLEN ||
      persistence.engine.find('\0') != std::string::npos) {
    return Invalid(key, "'" + persistence.engine + "' is no persistence engine's name");
  }
  return absl::OkStatus();
}

absl::Status Check(const ServiceKey& key, const RealServer& real) {
  const std::string name = "real server " + real.at.ToString();
  if (real.weight > std::numeric_limits<int32_t>::max()) {
    return Invalid(key, name + ": weight " + std::to_string(real.weight) + " is above 2147483647");
  }
  if (real.upper_threshold > std::numeric_limits<int32_t>::max()) {
    return Invalid(key, name + ": upper threshold " + std::to_string(real.upper_threshold) +
                            " is above 2147483647");
  }
  if (real.lower_threshold > real.upper_threshold) {
    return Invalid(key, name + ": lower threshold " + std::to_string(real.lower_threshold) +
                            " is above the upper one, " + std::to_string(real.upper_threshold));
  }
  if (real.at.ip.family != FamilyOf(key) && real.method != ForwardingMethod::kTunnel) {
    return Invalid(key, name + ": only Tunnel forwards to the other IP family");
  }
  const auto* vip = std::get_if<Endpoint>(&key.match);
  if (vip != nullptr && real.method != ForwardingMethod::kNat && real.at.port != vip->port) {
    return Invalid(key, name + ": " + ToString(real.method) + " cannot change the port");
  }
  return absl::OkStatus();
}

uint32_t MethodNumber(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kNat:
      return IP_VS_CONN_F_MASQ;
    case ForwardingMethod::kDirectRouting:
      return IP_VS_CONN_F_DROUTE;
    case ForwardingMethod::kTunnel:
      return IP_VS_CONN_F_TUNNEL;
  }
  return IP_VS_CONN_F_MASQ;
}

std::optional<ForwardingMethod> MethodOf(uint32_t number) {
  switch (number & IP_VS_CONN_F_FWD_MASK) {
    case IP_VS_CONN_F_MASQ:
      return ForwardingMethod::kNat;
    case IP_VS_CONN_F_DROUTE:
      return ForwardingMethod::kDirectRouting;
    case IP_VS_CONN_F_TUNNEL:
      return ForwardingMethod::kTunnel;
    default:
      return std::nullopt;
  }
}

// The attributes inside the first-level attribute `type`.
absl::StatusOr<std::vector<Attribute>> Inside(ByteView message, Command command, uint16_t type) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Command found, CommandOf(message));
  if (found != command) {
    return absl::InternalError("IPVS message: command " + std::to_string(int(found)) + ", not " +
                               std::to_string(int(command)));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto outer, ParseAttributes(message.subspan(kGenericHeader)));
  for (const Attribute& attribute : outer) {
    if (attribute.type == type) return ParseAttributes(attribute.value);
  }
  return absl::InternalError("IPVS message: attribute " + std::to_string(type) + " is missing");
}

absl::Status Missing(std::string_view name) {
  return absl::InternalError("IPVS message: " + std::string(name) + " is missing");
}

absl::StatusOr<IpAddress> AddressOf(const Attribute& attribute, Family family) {
  if (attribute.value.size() != kAddressBytes) {
    return absl::InternalError("IPVS message: address has " +
                               std::to_string(attribute.value.size()) + " bytes, not 16");
  }
  IpAddress out{.family = family, .bytes = {}};
  std::copy_n(attribute.value.begin(), out.Size(), out.bytes.begin());
  return out;
}

absl::StatusOr<Family> FamilyFrom(uint16_t number) {
  if (number == AF_INET) return Family::kIpv4;
  if (number == AF_INET6) return Family::kIpv6;
  return absl::InternalError("IPVS message: address family " + std::to_string(number));
}

// `wide`: all counters have 64 bits (since 4.1); else packets and connections have 32.
absl::StatusOr<Counters> CountersFrom(ByteView bytes, bool wide) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes, ParseAttributes(bytes));
  Counters out;
  const auto read = [&](const Attribute& a, const char* name) -> absl::StatusOr<uint64_t> {
    if (wide) return Number64(a, name);
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t narrow, Number32(a, name));
    return narrow;
  };
  for (const Attribute& a : attributes) {
    switch (a.type) {
      case IPVS_STATS_ATTR_CONNS: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.connections, read(a, "connection counter"));
        break;
      }
      case IPVS_STATS_ATTR_INPKTS: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.packets, read(a, "packet counter"));
        break;
      }
      case IPVS_STATS_ATTR_OUTPKTS: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.reply_packets, read(a, "reply packet counter"));
        break;
      }
      case IPVS_STATS_ATTR_INBYTES: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.bytes, Number64(a, "byte counter"));
        break;
      }
    }
  }
  return out;
}

// What DecodeService collects before it can judge.
struct RawService {
  std::optional<uint16_t> family, protocol, port;
  std::optional<uint32_t> mark, timeout, netmask, flags;
  std::optional<Attribute> address;
  std::optional<std::string> scheduler;
  std::string engine;
  std::optional<Counters> narrow, wide;
};

absl::Status Collect(const Attribute& a, RawService& raw) {
  switch (a.type) {
    case IPVS_SVC_ATTR_AF: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.family, Number16(a, "service family"));
      break;
    }
    case IPVS_SVC_ATTR_PROTOCOL: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.protocol, Number16(a, "service protocol"));
      break;
    }
    case IPVS_SVC_ATTR_ADDR:
      raw.address = a;
      break;
    case IPVS_SVC_ATTR_PORT: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.port, PortOf(a, "service port"));
      break;
    }
    case IPVS_SVC_ATTR_FWMARK: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.mark, Number32(a, "service mark"));
      break;
    }
    case IPVS_SVC_ATTR_SCHED_NAME: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.scheduler, TextOf(a, "scheduler name"));
      break;
    }
    case IPVS_SVC_ATTR_FLAGS: {
      // struct ip_vs_flags: flags, then a mask that is all ones in answers.
      KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t both, Number64(a, "service flags"));
      raw.flags = std::bit_cast<std::array<uint32_t, 2>>(both)[0];
      break;
    }
    case IPVS_SVC_ATTR_TIMEOUT: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.timeout, Number32(a, "persistence timeout"));
      break;
    }
    case IPVS_SVC_ATTR_NETMASK: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.netmask, Number32(a, "persistence netmask"));
      break;
    }
    case IPVS_SVC_ATTR_PE_NAME: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.engine, TextOf(a, "persistence engine"));
      break;
    }
    case IPVS_SVC_ATTR_STATS: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.narrow, CountersFrom(a.value, false));
      break;
    }
    case IPVS_SVC_ATTR_STATS64: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.wide, CountersFrom(a.value, true));
      break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ServiceKey> KeyFrom(const RawService& raw) {
  if (!raw.family) return Missing("service family");
  KUBE_LVS_ASSIGN_OR_RETURN(const Family family, FamilyFrom(*raw.family));
  ServiceKey key{.dataplane = Dataplane::kIpvs, .match = {}, .protocol = Protocol::kTcp};
  if (raw.mark) {
    key.match = FwMark{.mark = *raw.mark, .family = family};
    return key;
  }
  if (!raw.protocol || !raw.address || !raw.port) return Missing("service address");
  switch (*raw.protocol) {
    case uint16_t(Protocol::kTcp):
    case uint16_t(Protocol::kUdp):
    case uint16_t(Protocol::kSctp):
      key.protocol = static_cast<Protocol>(*raw.protocol);
      break;
    default:
      return absl::UnimplementedError("IPVS message: protocol " + std::to_string(*raw.protocol));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const IpAddress ip, AddressOf(*raw.address, family));
  key.match = Endpoint{.ip = ip, .port = *raw.port};
  return key;
}

}  // namespace

Family FamilyOf(const ServiceKey& key) {
  if (const auto* mark = std::get_if<FwMark>(&key.match)) return mark->family;
  return std::get<Endpoint>(key.match).ip.family;
}

absl::StatusOr<Command> CommandOf(ByteView message) {
  if (message.size() < kGenericHeader) {
    return absl::InternalError("IPVS message: shorter than its header");
  }
  return static_cast<Command>(message[0]);
}

Bytes EncodePlain(Command command) { return Header(command); }

Bytes EncodeKey(Command command, const ServiceKey& key) {
  Bytes message = Header(command);
  AttributeWriter out(message);
  PutService(out, key);
  return message;
}

absl::StatusOr<Bytes> EncodeService(Command command, const ServiceKey& key,
                                    const ServiceConfig& config) {
  KUBE_LVS_RETURN_IF_ERROR(Check(key, config));
  uint32_t flags = 0, timeout = 0;
  int prefix_length = FamilyOf(key) == Family::kIpv4 ? 32 : 128;
  if (config.persistence) {
    flags |= IP_VS_SVC_F_PERSISTENT;
    timeout = config.persistence->timeout_seconds;
    prefix_length = config.persistence->prefix_length;
  }
  if (config.one_packet) flags |= IP_VS_SVC_F_ONEPACKET;
  if (config.hash.fallback) flags |= kFallbackFlag;
  if (config.hash.source_port) flags |= kSourcePortFlag;

  Bytes message = Header(command);
  AttributeWriter out(message);
  const size_t service = out.Begin(IPVS_CMD_ATTR_SERVICE);
  PutIdentity(out, key);
  out.PutString(IPVS_SVC_ATTR_SCHED_NAME, config.scheduler);
  if (config.persistence && !config.persistence->engine.empty()) {
    out.PutString(IPVS_SVC_ATTR_PE_NAME, config.persistence->engine);
  }
  // Mask: every flag is ours to set, so that one set by another program goes.
  const std::array<uint32_t, 2> flags_and_mask = {flags, ~uint32_t{0}};
  out.Put(IPVS_SVC_ATTR_FLAGS, std::bit_cast<std::array<uint8_t, 8>>(flags_and_mask));
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_TIMEOUT, timeout);
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_NETMASK, Netmask(FamilyOf(key), prefix_length));
  out.End(service);
  return message;
}

absl::StatusOr<Bytes> EncodeReal(Command command, const ServiceKey& key, const RealServer& real) {
  KUBE_LVS_RETURN_IF_ERROR(Check(key, real));
  Bytes message = Header(command);
  AttributeWriter out(message);
  PutService(out, key);
  const size_t destination = out.Begin(IPVS_CMD_ATTR_DEST);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, AddressFamily(real.at.ip.family));
  out.Put(IPVS_DEST_ATTR_ADDR, real.at.ip.bytes);
  out.PutPort(IPVS_DEST_ATTR_PORT, real.at.port);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_FWD_METHOD, MethodNumber(real.method));
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_WEIGHT, real.weight);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_U_THRESH, real.upper_threshold);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_L_THRESH, real.lower_threshold);
  out.End(destination);
  return message;
}

Bytes EncodeRemoveReal(const ServiceKey& key, const Endpoint& at) {
  Bytes message = Header(Command::kRemoveReal);
  AttributeWriter out(message);
  PutService(out, key);
  const size_t destination = out.Begin(IPVS_CMD_ATTR_DEST);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, AddressFamily(at.ip.family));
  out.Put(IPVS_DEST_ATTR_ADDR, at.ip.bytes);
  out.PutPort(IPVS_DEST_ATTR_PORT, at.port);
  out.End(destination);
  return message;
}

absl::StatusOr<ServiceEntry> DecodeService(ByteView message) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes,
                            Inside(message, Command::kNewService, IPVS_CMD_ATTR_SERVICE));
  RawService raw;
  for (const Attribute& attribute : attributes) {
    KUBE_LVS_RETURN_IF_ERROR(Collect(attribute, raw));
  }
  ServiceEntry out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.key, KeyFrom(raw));
  if (!raw.scheduler) return Missing("scheduler name");
  if (!raw.flags) return Missing("service flags");
  if (!raw.timeout) return Missing("persistence timeout");
  if (!raw.netmask) return Missing("persistence netmask");
  out.counters = raw.wide.value_or(raw.narrow.value_or(Counters{}));

  out.config.scheduler = *raw.scheduler;
  if (*raw.scheduler == "none") out.foreign = true;
  uint32_t flags = *raw.flags & ~uint32_t{IP_VS_SVC_F_HASHED};
  const auto take = [&flags](uint32_t flag) {
    const bool set = (flags & flag) != 0;
    flags &= ~flag;
    return set;
  };
  if (take(IP_VS_SVC_F_PERSISTENT)) {
    Persistence persistence{
        .timeout_seconds = *raw.timeout, .prefix_length = 0, .engine = raw.engine};
    if (FamilyOf(out.key) == Family::kIpv6) {
      if (*raw.netmask > 128) return absl::InternalError("IPVS message: netmask above 128");
      persistence.prefix_length = static_cast<int>(*raw.netmask);
    } else {
      persistence.prefix_length = std::popcount(*raw.netmask);
      if (Netmask(Family::kIpv4, persistence.prefix_length) != *raw.netmask) out.foreign = true;
    }
    out.config.persistence = persistence;
  } else if (!raw.engine.empty()) {
    out.foreign = true;
  }
  out.config.one_packet = take(IP_VS_SVC_F_ONEPACKET);
  if (HasHash(*raw.scheduler)) {
    out.config.hash.fallback = take(kFallbackFlag);
    out.config.hash.source_port = take(kSourcePortFlag);
  }
  if (flags != 0) out.foreign = true;
  return out;
}

absl::StatusOr<RealEntry> DecodeReal(ByteView message, Family family) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes,
                            Inside(message, Command::kNewReal, IPVS_CMD_ATTR_DEST));
  RealEntry out;
  std::optional<Attribute> address;
  std::optional<uint16_t> port;
  std::optional<uint32_t> method, weight;
  std::optional<Counters> narrow, wide;
  for (const Attribute& a : attributes) {
    switch (a.type) {
      case IPVS_DEST_ATTR_ADDR:
        address = a;
        break;
      case IPVS_DEST_ATTR_ADDR_FAMILY: {
        KUBE_LVS_ASSIGN_OR_RETURN(const uint16_t number, Number16(a, "real server family"));
        KUBE_LVS_ASSIGN_OR_RETURN(family, FamilyFrom(number));
        break;
      }
      case IPVS_DEST_ATTR_PORT: {
        KUBE_LVS_ASSIGN_OR_RETURN(port, PortOf(a, "real server port"));
        break;
      }
      case IPVS_DEST_ATTR_FWD_METHOD: {
        KUBE_LVS_ASSIGN_OR_RETURN(method, Number32(a, "forwarding method"));
        break;
      }
      case IPVS_DEST_ATTR_WEIGHT: {
        KUBE_LVS_ASSIGN_OR_RETURN(weight, Number32(a, "weight"));
        break;
      }
      case IPVS_DEST_ATTR_U_THRESH: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.real.upper_threshold, Number32(a, "upper threshold"));
        break;
      }
      case IPVS_DEST_ATTR_L_THRESH: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.real.lower_threshold, Number32(a, "lower threshold"));
        break;
      }
      case IPVS_DEST_ATTR_ACTIVE_CONNS: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.active_connections, Number32(a, "active connections"));
        break;
      }
      case IPVS_DEST_ATTR_INACT_CONNS: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.inactive_connections, Number32(a, "inactive connections"));
        break;
      }
      case IPVS_DEST_ATTR_PERSIST_CONNS: {
        KUBE_LVS_ASSIGN_OR_RETURN(out.persistent_connections,
                                  Number32(a, "persistent connections"));
        break;
      }
      case IPVS_DEST_ATTR_TUN_TYPE: {
        KUBE_LVS_ASSIGN_OR_RETURN(const uint8_t tunnel, Number8(a, "tunnel type"));
        if (tunnel != IP_VS_CONN_F_TUNNEL_TYPE_IPIP) out.foreign = true;
        break;
      }
      case IPVS_DEST_ATTR_STATS: {
        KUBE_LVS_ASSIGN_OR_RETURN(narrow, CountersFrom(a.value, false));
        break;
      }
      case IPVS_DEST_ATTR_STATS64: {
        KUBE_LVS_ASSIGN_OR_RETURN(wide, CountersFrom(a.value, true));
        break;
      }
    }
  }
  if (!address || !port) return Missing("real server address");
  if (!method) return Missing("forwarding method");
  if (!weight) return Missing("weight");
  // Last, because the family may come after the address.
  KUBE_LVS_ASSIGN_OR_RETURN(out.real.at.ip, AddressOf(*address, family));
  out.real.at.port = *port;
  out.real.weight = *weight;
  if (const auto known = MethodOf(*method)) {
    out.real.method = *known;
  } else {
    out.foreign = true;
  }
  out.counters = wide.value_or(narrow.value_or(Counters{}));
  return out;
}

absl::StatusOr<Info> DecodeInfo(ByteView message) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Command command, CommandOf(message));
  if (command != Command::kInfo) return Missing("info");
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attributes,
                            ParseAttributes(message.subspan(kGenericHeader)));
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

}  // namespace kube_lvs::ipvs
