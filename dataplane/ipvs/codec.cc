#include "dataplane/ipvs/codec.h"

#include <arpa/inet.h>
#include <linux/ip_vs.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <string>

#include "base/status.h"
#include "dataplane/ipvs/statistics.h"

namespace kube_lvs::ipvs {
namespace {

constexpr size_t kAddressBytes = 16;  // of union nf_inet_addr
// ipvsadm's limit; the kernel multiplies by its tick rate in 32 bits.
constexpr uint32_t kMaxPersistenceSeconds = 31 * 24 * 3600;

// The same bits for sh and mh.
constexpr uint32_t kFallbackFlag = IP_VS_SVC_F_SCHED1;
constexpr uint32_t kSourcePortFlag = IP_VS_SVC_F_SCHED2;
// That have a name for every scheduler, or are the kernel's own.
constexpr uint32_t kNamedFlags =
    IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED | IP_VS_SVC_F_ONEPACKET;
constexpr uint16_t kTunnelFlags = IP_VS_TUNNEL_ENCAP_FLAG_CSUM | IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM;

absl::Status Invalid(const ServiceKey& key, const std::string& why) {
  return absl::InvalidArgumentError(ToString(key) + ": " + why);
}

uint16_t AddressFamily(Family family) { return family == Family::kIpv4 ? AF_INET : AF_INET6; }

uint32_t Mask(int prefix_length) {
  return prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length);
}

// As the kernel has it: of IPv4 a mask in network order, of IPv6 a prefix length.
uint32_t Netmask(Family family, const std::optional<Persistence>& persistence) {
  if (family == Family::kIpv6) {
    return persistence ? static_cast<uint32_t>(persistence->prefix_length) : 128;
  }
  if (!persistence) return ~uint32_t{0};
  if (persistence->mask_with_holes != 0) return htonl(persistence->mask_with_holes);
  return htonl(Mask(persistence->prefix_length));
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

uint8_t TunnelNumber(TunnelType type) {
  switch (type) {
    case TunnelType::kIpip:
      return IP_VS_CONN_F_TUNNEL_TYPE_IPIP;
    case TunnelType::kGue:
      return IP_VS_CONN_F_TUNNEL_TYPE_GUE;
    case TunnelType::kGre:
      return IP_VS_CONN_F_TUNNEL_TYPE_GRE;
  }
  return IP_VS_CONN_F_TUNNEL_TYPE_IPIP;
}

void PutTunnel(AttributeWriter& out, const Tunnel& tunnel) {
  uint16_t flags = IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM;
  if (tunnel.checksum) flags |= IP_VS_TUNNEL_ENCAP_FLAG_CSUM;
  if (tunnel.remote_checksum) flags |= IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM;
  out.PutNumber<uint8_t>(IPVS_DEST_ATTR_TUN_TYPE, TunnelNumber(tunnel.type));
  out.PutPort(IPVS_DEST_ATTR_TUN_PORT, tunnel.port);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_TUN_FLAGS, flags);
}

absl::Status Check(const ServiceKey& key, const ServiceConfig& config) {
  if (const auto* mark = std::get_if<FwMark>(&key.match); mark != nullptr && mark->mark == 0) {
    return Invalid(key, "mark 0 means no mark");
  }
  if (config.scheduler.empty() || config.scheduler.size() >= IP_VS_SCHEDNAME_MAXLEN ||
      config.scheduler.find('\0') != std::string::npos) {
    return Invalid(key, "'" + config.scheduler + "' is no scheduler's name");
  }
  if (config.hash.table_size != kMaglevDefaultSize) {
    return Invalid(key, "the kernel's mh has tables of the size that it was built with; leave table "
                        "size " + std::to_string(config.hash.table_size) +
                            " out, or use dataplane eBPF");
  }
  if (config.hash != HashFlags{} && !HasHash(config.scheduler)) {
    return Invalid(
        key, "source-port and fallback are for the schedulers sh and mh, not " + config.scheduler);
  }
  const uint32_t named =
      HasHash(config.scheduler) ? kNamedFlags | kFallbackFlag | kSourcePortFlag : kNamedFlags;
  if ((config.unnamed_flags & named) != 0) {
    return Invalid(key, "flags " + std::to_string(config.unnamed_flags) +
                            " have a bit that has a name of its own");
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
  const bool four = FamilyOf(key) == Family::kIpv4;
  const int fewest = four ? 0 : 1, most = four ? 32 : 128;
  if (persistence.prefix_length < fewest || persistence.prefix_length > most) {
    return Invalid(key, "a persistence prefix of " + std::to_string(persistence.prefix_length) +
                            " bits is not within " + std::to_string(fewest) + " and " +
                            std::to_string(most));
  }
  if (const uint32_t mask = persistence.mask_with_holes; mask != 0) {
    if (!four || persistence.prefix_length != 0 || mask == Mask(std::popcount(mask))) {
      return Invalid(key, "a persistence mask is for IPv4, instead of a prefix and unlike one");
    }
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
  const Tunnel& tunnel = real.tunnel;
  if (tunnel != Tunnel{} && real.method != ForwardingMethod::kTunnel) {
    return Invalid(key, name + ": " + ToString(tunnel) + " is for method Tunnel");
  }
  if ((tunnel.type == TunnelType::kGue) != (tunnel.port != 0)) {
    return Invalid(key, name + ": a tunnel's port goes with GUE, and GUE with a port");
  }
  if (tunnel.checksum && tunnel.type == TunnelType::kIpip) {
    return Invalid(key, name + ": IPIP has no checksum");
  }
  if (tunnel.remote_checksum && tunnel.type != TunnelType::kGue) {
    return Invalid(key, name + ": remote checksum offload is GUE's");
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

std::optional<TunnelType> TunnelTypeOf(uint8_t number) {
  switch (number) {
    case IP_VS_CONN_F_TUNNEL_TYPE_IPIP:
      return TunnelType::kIpip;
    case IP_VS_CONN_F_TUNNEL_TYPE_GUE:
      return TunnelType::kGue;
    case IP_VS_CONN_F_TUNNEL_TYPE_GRE:
      return TunnelType::kGre;
    default:
      return std::nullopt;
  }
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

// The two attributes with the same numbers.
struct RawStatistics {
  std::optional<ByteView> narrow, wide;
};

absl::StatusOr<Statistics> StatisticsOf(const RawStatistics& raw, Content content) {
  if (content == Content::kRules) return Statistics{};
  if (raw.wide) return DecodeStatistics(*raw.wide, true);
  if (raw.narrow) return DecodeStatistics(*raw.narrow, false);
  return Statistics{};
}

// What DecodeService collects before it can judge.
struct RawService {
  std::optional<uint16_t> family, protocol, port;
  std::optional<uint32_t> mark, timeout, netmask, flags;
  std::optional<Attribute> address;
  std::optional<std::string> scheduler;
  std::string engine;
  RawStatistics statistics;
};

absl::Status Collect(const Attribute& a, RawService& raw) {
  switch (a.type) {
    case IPVS_SVC_ATTR_AF:
      return ReadNumber(a, "service family", raw.family);
    case IPVS_SVC_ATTR_PROTOCOL:
      return ReadNumber(a, "service protocol", raw.protocol);
    case IPVS_SVC_ATTR_ADDR:
      raw.address = a;
      break;
    case IPVS_SVC_ATTR_PORT:
      return ReadPort(a, "service port", raw.port);
    case IPVS_SVC_ATTR_FWMARK:
      return ReadNumber(a, "service mark", raw.mark);
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
    case IPVS_SVC_ATTR_TIMEOUT:
      return ReadNumber(a, "persistence timeout", raw.timeout);
    case IPVS_SVC_ATTR_NETMASK:
      return ReadNumber(a, "persistence netmask", raw.netmask);
    case IPVS_SVC_ATTR_PE_NAME: {
      KUBE_LVS_ASSIGN_OR_RETURN(raw.engine, TextOf(a, "persistence engine"));
      break;
    }
    case IPVS_SVC_ATTR_STATS:
      raw.statistics.narrow = a.value;
      break;
    case IPVS_SVC_ATTR_STATS64:
      raw.statistics.wide = a.value;
      break;
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

// What DecodeReal collects before it can judge.
struct RawReal {
  RealEntry entry;  // what needs no judgement
  std::optional<Attribute> address;
  std::optional<uint16_t> port;
  std::optional<uint32_t> method, weight;
  RawStatistics statistics;
};

// `family`: changed when the message says its own.
absl::Status Collect(const Attribute& a, RawReal& raw, Family& family) {
  RealEntry& out = raw.entry;
  switch (a.type) {
    case IPVS_DEST_ATTR_ADDR:
      raw.address = a;
      break;
    case IPVS_DEST_ATTR_ADDR_FAMILY: {
      KUBE_LVS_ASSIGN_OR_RETURN(const uint16_t number, Number16(a, "real server family"));
      KUBE_LVS_ASSIGN_OR_RETURN(family, FamilyFrom(number));
      break;
    }
    case IPVS_DEST_ATTR_PORT:
      return ReadPort(a, "real server port", raw.port);
    case IPVS_DEST_ATTR_FWD_METHOD:
      return ReadNumber(a, "forwarding method", raw.method);
    case IPVS_DEST_ATTR_WEIGHT:
      return ReadNumber(a, "weight", raw.weight);
    case IPVS_DEST_ATTR_U_THRESH:
      return ReadNumber(a, "upper threshold", out.real.upper_threshold);
    case IPVS_DEST_ATTR_L_THRESH:
      return ReadNumber(a, "lower threshold", out.real.lower_threshold);
    case IPVS_DEST_ATTR_ACTIVE_CONNS:
      return ReadNumber(a, "active connections", out.active_connections);
    case IPVS_DEST_ATTR_INACT_CONNS:
      return ReadNumber(a, "inactive connections", out.inactive_connections);
    case IPVS_DEST_ATTR_PERSIST_CONNS:
      return ReadNumber(a, "persistent connections", out.persistent_connections);
    case IPVS_DEST_ATTR_TUN_TYPE: {
      KUBE_LVS_ASSIGN_OR_RETURN(const uint8_t number, Number8(a, "tunnel type"));
      out.tells_tunnel = true;
      if (const auto known = TunnelTypeOf(number)) {
        out.real.tunnel.type = *known;
      } else {
        out.foreign = true;
      }
      break;
    }
    case IPVS_DEST_ATTR_TUN_PORT:
      return ReadPort(a, "tunnel port", out.real.tunnel.port);
    case IPVS_DEST_ATTR_TUN_FLAGS: {
      KUBE_LVS_ASSIGN_OR_RETURN(const uint16_t flags, Number16(a, "tunnel flags"));
      out.real.tunnel.checksum = (flags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM) != 0;
      out.real.tunnel.remote_checksum = (flags & IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM) != 0;
      if ((flags & ~kTunnelFlags) != 0) out.foreign = true;
      break;
    }
    case IPVS_DEST_ATTR_STATS:
      raw.statistics.narrow = a.value;
      break;
    case IPVS_DEST_ATTR_STATS64:
      raw.statistics.wide = a.value;
      break;
  }
  return absl::OkStatus();
}

}  // namespace

Family FamilyOf(const ServiceKey& key) {
  if (const auto* mark = std::get_if<FwMark>(&key.match)) return mark->family;
  return VipOf(key)->family;
}

Bytes EncodeKey(Command command, const ServiceKey& key) {
  Bytes message = EncodePlain(command);
  AttributeWriter out(message);
  PutService(out, key);
  return message;
}

absl::StatusOr<Bytes> EncodeService(Command command, const ServiceKey& key,
                                    const ServiceConfig& config) {
  KUBE_LVS_RETURN_IF_ERROR(Check(key, config));
  uint32_t flags = config.unnamed_flags, timeout = 0;
  if (config.persistence) {
    flags |= IP_VS_SVC_F_PERSISTENT;
    timeout = config.persistence->timeout_seconds;
  }
  if (config.one_packet) flags |= IP_VS_SVC_F_ONEPACKET;
  if (config.hash.fallback) flags |= kFallbackFlag;
  if (config.hash.source_port) flags |= kSourcePortFlag;

  Bytes message = EncodePlain(command);
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
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_NETMASK, Netmask(FamilyOf(key), config.persistence));
  out.End(service);
  return message;
}

absl::StatusOr<Bytes> EncodeReal(Command command, const ServiceKey& key, const RealServer& real) {
  KUBE_LVS_RETURN_IF_ERROR(Check(key, real));
  Bytes message = EncodePlain(command);
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
  // Without them the kernel takes IPIP, also in a change.
  if (real.tunnel != Tunnel{}) PutTunnel(out, real.tunnel);
  out.End(destination);
  return message;
}

Bytes EncodeRemoveReal(const ServiceKey& key, const Endpoint& at) {
  Bytes message = EncodePlain(Command::kRemoveReal);
  AttributeWriter out(message);
  PutService(out, key);
  const size_t destination = out.Begin(IPVS_CMD_ATTR_DEST);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, AddressFamily(at.ip.family));
  out.Put(IPVS_DEST_ATTR_ADDR, at.ip.bytes);
  out.PutPort(IPVS_DEST_ATTR_PORT, at.port);
  out.End(destination);
  return message;
}

absl::StatusOr<ServiceEntry> DecodeService(ByteView message, Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ByteView nested,
                            Inside(message, Command::kNewService, IPVS_CMD_ATTR_SERVICE));
  RawService raw;
  KUBE_LVS_RETURN_IF_ERROR(
      ForEachAttribute(nested, [&raw](const Attribute& a) { return Collect(a, raw); }));
  ServiceEntry out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.key, KeyFrom(raw));
  if (!raw.scheduler) return Missing("scheduler name");
  if (!raw.flags) return Missing("service flags");
  if (!raw.timeout) return Missing("persistence timeout");
  if (!raw.netmask) return Missing("persistence netmask");
  KUBE_LVS_ASSIGN_OR_RETURN(const Statistics statistics, StatisticsOf(raw.statistics, content));
  out.counters = statistics.counters;
  out.rates = statistics.rates;
  out.engine = raw.engine;

  out.config.scheduler = *raw.scheduler;
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
      const uint32_t mask = ntohl(*raw.netmask);
      const int length = std::popcount(mask);
      if (mask == Mask(length)) {
        persistence.prefix_length = length;
      } else {
        persistence.mask_with_holes = mask;
      }
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
  out.config.unnamed_flags = flags;
  return out;
}

absl::StatusOr<RealEntry> DecodeReal(ByteView message, Family family, Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ByteView nested,
                            Inside(message, Command::kNewReal, IPVS_CMD_ATTR_DEST));
  RawReal raw;
  KUBE_LVS_RETURN_IF_ERROR(
      ForEachAttribute(nested, [&](const Attribute& a) { return Collect(a, raw, family); }));
  RealEntry& out = raw.entry;
  if (!raw.address || !raw.port) return Missing("real server address");
  if (!raw.method) return Missing("forwarding method");
  if (!raw.weight) return Missing("weight");
  // Last, because the family may come after the address.
  KUBE_LVS_ASSIGN_OR_RETURN(out.real.at.ip, AddressOf(*raw.address, family));
  out.real.at.port = *raw.port;
  out.real.weight = *raw.weight;
  out.kernel_method = *raw.method & IP_VS_CONN_F_FWD_MASK;
  if (const auto known = MethodOf(*raw.method)) {
    out.real.method = *known;
  } else {
    out.foreign = true;
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const Statistics statistics, StatisticsOf(raw.statistics, content));
  out.counters = statistics.counters;
  out.rates = statistics.rates;
  return std::move(out);
}

}  // namespace kube_lvs::ipvs
