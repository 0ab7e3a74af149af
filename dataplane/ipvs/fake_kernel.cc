#include "dataplane/ipvs/fake_kernel.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "base/status.h"
#include "dataplane/ipvs/errors.h"
#include "dataplane/ipvs/message.h"
#include "dataplane/ipvs/statistics.h"

namespace kube_lvs::ipvs {
namespace {

constexpr size_t kGenericHeader = 4;

// A kernel policy: the size of each known attribute; text and binary ones say at most how much.
struct Rule {
  enum Kind { kExact, kText, kAtMost, kAtLeast, kNested } kind = kExact;
  size_t size = 0;
};
using Policy = std::map<uint16_t, Rule>;

const Policy& CommandPolicy() {
  static const Policy policy = {{IPVS_CMD_ATTR_SERVICE, {Rule::kNested, 0}},
                                {IPVS_CMD_ATTR_DEST, {Rule::kNested, 0}},
                                {IPVS_CMD_ATTR_DAEMON, {Rule::kNested, 0}},
                                {IPVS_CMD_ATTR_TIMEOUT_TCP, {Rule::kExact, 4}},
                                {IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, {Rule::kExact, 4}},
                                {IPVS_CMD_ATTR_TIMEOUT_UDP, {Rule::kExact, 4}}};
  return policy;
}

const Policy& DaemonPolicy() {
  static const Policy policy = {
      {IPVS_DAEMON_ATTR_STATE, {Rule::kExact, 4}},
      {IPVS_DAEMON_ATTR_MCAST_IFN, {Rule::kText, IP_VS_IFNAME_MAXLEN - 1}},
      {IPVS_DAEMON_ATTR_SYNC_ID, {Rule::kExact, 4}},
      {IPVS_DAEMON_ATTR_SYNC_MAXLEN, {Rule::kExact, 2}},
      {IPVS_DAEMON_ATTR_MCAST_GROUP, {Rule::kExact, 4}},
      {IPVS_DAEMON_ATTR_MCAST_GROUP6, {Rule::kAtLeast, 16}},
      {IPVS_DAEMON_ATTR_MCAST_PORT, {Rule::kExact, 2}},
      {IPVS_DAEMON_ATTR_MCAST_TTL, {Rule::kExact, 1}}};
  return policy;
}

const Policy& ServicePolicy() {
  static const Policy policy = {
      {IPVS_SVC_ATTR_AF, {Rule::kExact, 2}},
      {IPVS_SVC_ATTR_PROTOCOL, {Rule::kExact, 2}},
      {IPVS_SVC_ATTR_ADDR, {Rule::kAtMost, 16}},
      {IPVS_SVC_ATTR_PORT, {Rule::kExact, 2}},
      {IPVS_SVC_ATTR_FWMARK, {Rule::kExact, 4}},
      {IPVS_SVC_ATTR_SCHED_NAME, {Rule::kText, IP_VS_SCHEDNAME_MAXLEN - 1}},
      {IPVS_SVC_ATTR_PE_NAME, {Rule::kText, IP_VS_PENAME_MAXLEN}},
      {IPVS_SVC_ATTR_FLAGS, {Rule::kAtMost, 8}},
      {IPVS_SVC_ATTR_TIMEOUT, {Rule::kExact, 4}},
      {IPVS_SVC_ATTR_NETMASK, {Rule::kExact, 4}}};
  return policy;
}

const Policy& RealPolicy() {
  static const Policy policy = {{IPVS_DEST_ATTR_ADDR, {Rule::kAtMost, 16}},
                                {IPVS_DEST_ATTR_PORT, {Rule::kExact, 2}},
                                {IPVS_DEST_ATTR_FWD_METHOD, {Rule::kExact, 4}},
                                {IPVS_DEST_ATTR_WEIGHT, {Rule::kExact, 4}},
                                {IPVS_DEST_ATTR_U_THRESH, {Rule::kExact, 4}},
                                {IPVS_DEST_ATTR_L_THRESH, {Rule::kExact, 4}},
                                {IPVS_DEST_ATTR_ADDR_FAMILY, {Rule::kExact, 2}},
                                {IPVS_DEST_ATTR_TUN_TYPE, {Rule::kExact, 1}},
                                {IPVS_DEST_ATTR_TUN_PORT, {Rule::kExact, 2}},
                                {IPVS_DEST_ATTR_TUN_FLAGS, {Rule::kExact, 2}}};
  return policy;
}

using Parsed = std::map<uint16_t, ByteView>;

// nullopt when the policy is broken. A too long number is let through by the kernel with a warning;
// here it is refused: nobody should send one.
std::optional<Parsed> Parse(ByteView bytes, const Policy& policy) {
  const auto attributes = ParseAttributes(bytes);
  if (!attributes.ok()) return std::nullopt;
  Parsed out;
  for (const Attribute& a : *attributes) {
    const auto rule = policy.find(a.type);
    if (rule == policy.end()) continue;
    const size_t size = a.value.size();
    switch (rule->second.kind) {
      case Rule::kExact:
        if (size != rule->second.size) return std::nullopt;
        break;
      case Rule::kAtMost:
        if (size > rule->second.size) return std::nullopt;
        break;
      case Rule::kAtLeast:
        if (size < rule->second.size) return std::nullopt;
        break;
      case Rule::kText: {
        const auto nul = std::ranges::find(a.value, uint8_t{0});
        if (nul == a.value.end() || nul - a.value.begin() > int64_t(rule->second.size)) {
          return std::nullopt;
        }
        break;
      }
      case Rule::kNested:
        if (size > 0 && size < 4) return std::nullopt;
        break;
    }
    out[a.type] = a.value;
  }
  return out;
}

template <typename T>
T Get(const Parsed& parsed, uint16_t type) {
  T out{};
  const auto it = parsed.find(type);
  if (it != parsed.end()) {
    std::memcpy(&out, it->second.data(), std::min(sizeof(T), it->second.size()));
  }
  return out;
}

std::string GetText(const Parsed& parsed, uint16_t type) {
  const auto it = parsed.find(type);
  if (it == parsed.end()) return "";
  return std::string(it->second.begin(), std::ranges::find(it->second, uint8_t{0}));
}

bool HasAll(const Parsed& parsed, std::initializer_list<uint16_t> types) {
  return std::ranges::all_of(types, [&](uint16_t type) { return parsed.contains(type); });
}

// Of an address, only what its family has.
std::array<uint8_t, 16> AddressIn(const Parsed& parsed, uint16_t type, uint16_t family) {
  auto out = Get<std::array<uint8_t, 16>>(parsed, type);
  if (family == AF_INET) std::fill(out.begin() + 4, out.end(), 0);
  return out;
}

// Whether the kernel takes it for a host's address (local or unicast).
bool IsHost(uint16_t family, const std::array<uint8_t, 16>& a) {
  if (family == AF_INET6) {
    const bool multicast = a[0] == 0xff;
    const bool link_local = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
    return !multicast && !link_local && a != std::array<uint8_t, 16>{};
  }
  const bool multicast = (a[0] & 0xf0) == 0xe0;
  const bool broadcast = a[0] == 255 && a[1] == 255 && a[2] == 255 && a[3] == 255;
  return !multicast && !broadcast && !(a[0] == 0 && a[1] == 0 && a[2] == 0 && a[3] == 0);
}

void PutStatistics(AttributeWriter& out, uint16_t type, bool wide, const Statistics& s) {
  const size_t nest = out.Begin(type);
  const auto put = [&](uint16_t attribute, uint64_t number, bool always_wide = false) {
    if (wide || always_wide) {
      out.PutNumber<uint64_t>(attribute, number);
    } else {
      out.PutNumber<uint32_t>(attribute, static_cast<uint32_t>(number));
    }
  };
  put(IPVS_STATS_ATTR_CONNS, s.counters.connections);
  put(IPVS_STATS_ATTR_INPKTS, s.counters.packets);
  put(IPVS_STATS_ATTR_OUTPKTS, s.counters.reply_packets);
  put(IPVS_STATS_ATTR_INBYTES, s.counters.bytes, true);
  put(IPVS_STATS_ATTR_OUTBYTES, s.counters.reply_bytes, true);
  put(IPVS_STATS_ATTR_CPS, s.rates.connections);
  put(IPVS_STATS_ATTR_INPPS, s.rates.packets);
  put(IPVS_STATS_ATTR_OUTPPS, s.rates.reply_packets);
  put(IPVS_STATS_ATTR_INBPS, s.rates.bytes);
  put(IPVS_STATS_ATTR_OUTBPS, s.rates.reply_bytes);
  out.End(nest);
}

// The kernel's, at 250 ticks a second, as Debian builds it.
constexpr uint32_t kMaxTimeoutSeconds = 0x7fffffff / 250;
// mh's table, which has a place for so many real servers.
constexpr size_t kMaglevTable = 4093;

Bytes Header(uint8_t command) { return {command, IPVS_GENL_VERSION, 0, 0}; }

absl::Status NoIpvs() {
  return absl::FailedPreconditionError("the kernel has no ip_vs: load or install the module ip_vs");
}

}  // namespace

struct FakeKernel::ServiceRequest {
  Key key;
  std::string scheduler, engine;
  uint32_t flags = 0, mask = 0, timeout = 0, netmask = 0;
};

struct FakeKernel::RealRequest {
  Real real;
};

int FakeKernel::ParseService(ByteView nested, bool full, ServiceRequest& out) const {
  const auto parsed = Parse(nested, ServicePolicy());
  if (!parsed) return EINVAL;
  const bool marked = parsed->contains(IPVS_SVC_ATTR_FWMARK);
  if (!parsed->contains(IPVS_SVC_ATTR_AF)) return EINVAL;
  if (!marked &&
      !HasAll(*parsed, {IPVS_SVC_ATTR_PORT, IPVS_SVC_ATTR_PROTOCOL, IPVS_SVC_ATTR_ADDR})) {
    return EINVAL;
  }
  const auto family = Get<uint16_t>(*parsed, IPVS_SVC_ATTR_AF);
  if (family != AF_INET && !(family == AF_INET6 && has_ipv6)) return EAFNOSUPPORT;
  if (marked) {
    out.key = {family, Get<uint32_t>(*parsed, IPVS_SVC_ATTR_FWMARK), 0, {}, 0};
  } else {
    out.key = {family, 0, Get<uint16_t>(*parsed, IPVS_SVC_ATTR_PROTOCOL),
               AddressIn(*parsed, IPVS_SVC_ATTR_ADDR, family),
               Get<uint16_t>(*parsed, IPVS_SVC_ATTR_PORT)};
  }
  if (!full) return 0;
  if (!HasAll(*parsed, {IPVS_SVC_ATTR_SCHED_NAME, IPVS_SVC_ATTR_FLAGS, IPVS_SVC_ATTR_TIMEOUT,
                        IPVS_SVC_ATTR_NETMASK})) {
    return EINVAL;
  }
  const auto flags = Get<std::array<uint32_t, 2>>(*parsed, IPVS_SVC_ATTR_FLAGS);
  out.flags = flags[0];
  out.mask = flags[1];
  out.scheduler = GetText(*parsed, IPVS_SVC_ATTR_SCHED_NAME);
  out.engine = GetText(*parsed, IPVS_SVC_ATTR_PE_NAME);
  out.timeout = Get<uint32_t>(*parsed, IPVS_SVC_ATTR_TIMEOUT);
  out.netmask = Get<uint32_t>(*parsed, IPVS_SVC_ATTR_NETMASK);
  return 0;
}

int FakeKernel::ParseReal(ByteView nested, bool full, RealRequest& out) const {
  const auto parsed = Parse(nested, RealPolicy());
  if (!parsed || !HasAll(*parsed, {IPVS_DEST_ATTR_ADDR, IPVS_DEST_ATTR_PORT})) return EINVAL;
  Real& real = out.real;
  real.family = Get<uint16_t>(*parsed, IPVS_DEST_ATTR_ADDR_FAMILY);
  real.address = Get<Address>(*parsed, IPVS_DEST_ATTR_ADDR);
  real.port = Get<uint16_t>(*parsed, IPVS_DEST_ATTR_PORT);
  if (!full) return 0;
  if (!HasAll(*parsed, {IPVS_DEST_ATTR_FWD_METHOD, IPVS_DEST_ATTR_WEIGHT, IPVS_DEST_ATTR_U_THRESH,
                        IPVS_DEST_ATTR_L_THRESH})) {
    return EINVAL;
  }
  real.method = Get<uint32_t>(*parsed, IPVS_DEST_ATTR_FWD_METHOD) & IP_VS_CONN_F_FWD_MASK;
  real.weight = Get<uint32_t>(*parsed, IPVS_DEST_ATTR_WEIGHT);
  real.upper = Get<uint32_t>(*parsed, IPVS_DEST_ATTR_U_THRESH);
  real.lower = Get<uint32_t>(*parsed, IPVS_DEST_ATTR_L_THRESH);
  if (!knows_tunnels) return 0;
  real.tunnel_type = Get<uint8_t>(*parsed, IPVS_DEST_ATTR_TUN_TYPE);
  real.tunnel_port = Get<uint16_t>(*parsed, IPVS_DEST_ATTR_TUN_PORT);
  real.tunnel_flags = Get<uint16_t>(*parsed, IPVS_DEST_ATTR_TUN_FLAGS);
  return 0;
}

int FakeKernel::CheckScheduler(const ServiceRequest& request) const {
  if (request.scheduler != "none" && !schedulers.contains(request.scheduler)) return ENOENT;
  if (!request.engine.empty() && !engines.contains(request.engine)) return ENOENT;
  if (std::get<0>(request.key) == AF_INET6 && (request.netmask < 1 || request.netmask > 128)) {
    return EINVAL;
  }
  return 0;
}

int FakeKernel::SetConfig(ByteView attributes) {
  const auto parsed = Parse(attributes, CommandPolicy());
  IpvsTimeouts wanted;
  wanted.tcp_seconds = Get<uint32_t>(*parsed, IPVS_CMD_ATTR_TIMEOUT_TCP);
  wanted.tcp_fin_seconds = Get<uint32_t>(*parsed, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN);
  wanted.udp_seconds = Get<uint32_t>(*parsed, IPVS_CMD_ATTR_TIMEOUT_UDP);
  if (std::max({wanted.tcp_seconds, wanted.tcp_fin_seconds, wanted.udp_seconds}) >
      kMaxTimeoutSeconds) {
    return EINVAL;
  }
  if (wanted.tcp_seconds != 0) timeouts_.tcp_seconds = wanted.tcp_seconds;
  if (wanted.tcp_fin_seconds != 0) timeouts_.tcp_fin_seconds = wanted.tcp_fin_seconds;
  if (wanted.udp_seconds != 0) timeouts_.udp_seconds = wanted.udp_seconds;
  return 0;
}

bool FakeKernel::AnyMixed() const {
  return std::ranges::any_of(services_, [](const auto& entry) {
    return std::ranges::any_of(entry.second.reals, [&](const Real& real) {
      return real.family != std::get<0>(entry.first);
    });
  });
}

int FakeKernel::HandleDaemon(uint8_t command, ByteView attributes) {
  const auto outer = Parse(attributes, CommandPolicy());
  if (!outer->contains(IPVS_CMD_ATTR_DAEMON)) return EINVAL;
  const auto parsed = Parse(outer->at(IPVS_CMD_ATTR_DAEMON), DaemonPolicy());
  if (!parsed || !parsed->contains(IPVS_DAEMON_ATTR_STATE)) return EINVAL;
  const auto state = Get<uint32_t>(*parsed, IPVS_DAEMON_ATTR_STATE);
  if (command == IPVS_CMD_DEL_DAEMON) {
    if (state != IP_VS_STATE_MASTER && state != IP_VS_STATE_BACKUP) return EINVAL;
    return daemons_.erase(static_cast<SyncRole>(state)) != 0 ? 0 : ESRCH;
  }
  if (!HasAll(*parsed, {IPVS_DAEMON_ATTR_MCAST_IFN, IPVS_DAEMON_ATTR_SYNC_ID})) return EINVAL;
  SyncDaemon wanted;
  wanted.interface = GetText(*parsed, IPVS_DAEMON_ATTR_MCAST_IFN);
  wanted.sync_id = Get<uint32_t>(*parsed, IPVS_DAEMON_ATTR_SYNC_ID);
  wanted.max_length = Get<uint16_t>(*parsed, IPVS_DAEMON_ATTR_SYNC_MAXLEN);
  if (parsed->contains(IPVS_DAEMON_ATTR_MCAST_GROUP)) {
    wanted.group = {.family = Family::kIpv4,
                    .bytes = AddressIn(*parsed, IPVS_DAEMON_ATTR_MCAST_GROUP, AF_INET)};
    if ((wanted.group.bytes[0] & 0xf0) != 0xe0) return EINVAL;
  } else if (parsed->contains(IPVS_DAEMON_ATTR_MCAST_GROUP6)) {
    wanted.group = {.family = Family::kIpv6,
                    .bytes = Get<Address>(*parsed, IPVS_DAEMON_ATTR_MCAST_GROUP6)};
    if (wanted.group.bytes[0] != 0xff) return EINVAL;
  }
  if (const auto port = Get<uint16_t>(*parsed, IPVS_DAEMON_ATTR_MCAST_PORT)) wanted.port = port;
  if (const auto ttl = Get<uint8_t>(*parsed, IPVS_DAEMON_ATTR_MCAST_TTL)) wanted.ttl = ttl;
  if (AnyMixed()) return EINVAL;
  return StartDaemon(wanted, state);
}

int FakeKernel::StartDaemon(const SyncDaemon& wanted, uint32_t state) {
  if (!interfaces.contains(wanted.interface)) return ENODEV;
  if (state != IP_VS_STATE_MASTER && state != IP_VS_STATE_BACKUP) return EINVAL;
  SyncDaemon daemon = wanted;
  daemon.role = static_cast<SyncRole>(state);
  // IP and UDP headers; a backup takes what masters of its MTU may send.
  const int headers = daemon.group.IsV4() ? 28 : 48;
  const int least = daemon.role == SyncRole::kBackup ? 1024 : 1;
  daemon.max_length = static_cast<uint16_t>(
      daemon.max_length == 0 ? 1500 - headers
                             : std::clamp<int>(daemon.max_length, least, 65535 - headers));
  return daemons_.emplace(daemon.role, daemon).second ? 0 : EEXIST;
}

int FakeKernel::Handle(const Bytes& request) {
  if (request.size() < kGenericHeader) return EINVAL;
  const uint8_t command = request[0];
  const ByteView rest = ByteView(request).subspan(kGenericHeader);
  const auto attributes = Parse(rest, CommandPolicy());
  if (!attributes) return EINVAL;
  switch (command) {
    case IPVS_CMD_SET_CONFIG:
      return SetConfig(rest);
    case IPVS_CMD_NEW_DAEMON:
    case IPVS_CMD_DEL_DAEMON:
      return HandleDaemon(command, rest);
    case IPVS_CMD_FLUSH:
      services_.clear();
      return 0;
    case IPVS_CMD_ZERO:
      if (!attributes->contains(IPVS_CMD_ATTR_SERVICE)) {
        for (auto& [key, service] : services_) Zero(service);
        return 0;
      }
      break;
    case IPVS_CMD_NEW_SERVICE:
    case IPVS_CMD_SET_SERVICE:
    case IPVS_CMD_DEL_SERVICE:
    case IPVS_CMD_NEW_DEST:
    case IPVS_CMD_SET_DEST:
    case IPVS_CMD_DEL_DEST:
      break;
    default:
      return EOPNOTSUPP;
  }
  if (!attributes->contains(IPVS_CMD_ATTR_SERVICE)) return EINVAL;
  const bool full = command == IPVS_CMD_NEW_SERVICE || command == IPVS_CMD_SET_SERVICE;
  ServiceRequest service;
  if (const int error = ParseService(attributes->at(IPVS_CMD_ATTR_SERVICE), full, service)) {
    return error;
  }
  const auto found = services_.find(service.key);
  if (command != IPVS_CMD_NEW_SERVICE && found == services_.end()) return ESRCH;
  if (command <= IPVS_CMD_DEL_SERVICE) return HandleService(command, service);
  if (command == IPVS_CMD_ZERO) {
    Zero(found->second);
    return 0;
  }

  if (!attributes->contains(IPVS_CMD_ATTR_DEST)) return EINVAL;
  RealRequest real;
  if (const int error =
          ParseReal(attributes->at(IPVS_CMD_ATTR_DEST), command != IPVS_CMD_DEL_DEST, real)) {
    return error;
  }
  return HandleReal(command, found->second, std::get<0>(service.key), real);
}

int FakeKernel::HandleService(uint8_t command, const ServiceRequest& request) {
  if (command == IPVS_CMD_DEL_SERVICE) {
    services_.erase(request.key);
    return 0;
  }
  const auto found = services_.find(request.key);
  if (command == IPVS_CMD_NEW_SERVICE && found != services_.end()) return EEXIST;
  if (const int error = CheckScheduler(request)) return error;
  if (request.scheduler == "mh" && found != services_.end() && found->second.scheduler != "mh" &&
      found->second.reals.size() > kMaglevTable) {
    return EINVAL;
  }
  Service& service = services_[request.key];
  service.scheduler = request.scheduler;
  service.engine = request.engine;
  const uint32_t before = service.flags & ~uint32_t{IP_VS_SVC_F_HASHED};
  service.flags = (before & ~request.mask) | (request.flags & request.mask) | IP_VS_SVC_F_HASHED;
  service.timeout = request.timeout;
  service.netmask = request.netmask;
  return 0;
}

int FakeKernel::HandleReal(uint8_t command, Service& service, uint16_t family,
                           const RealRequest& request) {
  Real real = request.real;
  if (real.family == 0) real.family = family;
  if (real.family != AF_INET && !(real.family == AF_INET6 && has_ipv6)) return EAFNOSUPPORT;
  if (real.family == AF_INET) std::fill(real.address.begin() + 4, real.address.end(), 0);
  // Of the other family: only tunnels, and the daemons cannot copy such connections.
  if (real.family != family && command != IPVS_CMD_DEL_DEST &&
      (real.method != IP_VS_CONN_F_TUNNEL || !daemons_.empty())) {
    return EINVAL;
  }
  const auto found = std::ranges::find_if(service.reals, [&](const Real& other) {
    return other.family == real.family && other.address == real.address && other.port == real.port;
  });
  if (command == IPVS_CMD_DEL_DEST) {
    if (found == service.reals.end()) return ENOENT;
    service.reals.erase(found);
    return 0;
  }
  if (static_cast<int32_t>(real.weight) < 0) return ERANGE;
  if (real.lower > real.upper) return ERANGE;
  if (static_cast<int32_t>(real.upper) < 0) return EINVAL;
  if (real.tunnel_type == IP_VS_CONN_F_TUNNEL_TYPE_GUE && real.tunnel_port == 0) return EINVAL;
  if (command == IPVS_CMD_SET_DEST) {
    if (found == service.reals.end()) return ENOENT;
    real.active = found->active;
    real.inactive = found->inactive;
    real.statistics = found->statistics;
    *found = real;
    return 0;
  }
  if (found != service.reals.end()) return EEXIST;
  if (!IsHost(real.family, real.address)) return EINVAL;
  service.reals.push_front(real);
  return 0;
}

void FakeKernel::Zero(Service& service) {
  service.statistics = {};
  for (Real& real : service.reals) real.statistics = {};
}

Bytes FakeKernel::Encode(const Key& key, const Service& service) const {
  Bytes message = Header(IPVS_CMD_NEW_SERVICE);
  AttributeWriter out(message);
  const size_t nest = out.Begin(IPVS_CMD_ATTR_SERVICE);
  const auto& [family, mark, protocol, address, port] = key;
  out.PutNumber<uint16_t>(IPVS_SVC_ATTR_AF, family);
  if (mark != 0) {
    out.PutNumber<uint32_t>(IPVS_SVC_ATTR_FWMARK, mark);
  } else {
    out.PutNumber<uint16_t>(IPVS_SVC_ATTR_PROTOCOL, protocol);
    out.Put(IPVS_SVC_ATTR_ADDR, address);
    out.PutNumber<uint16_t>(IPVS_SVC_ATTR_PORT, port);
  }
  out.PutString(IPVS_SVC_ATTR_SCHED_NAME, service.scheduler);
  if (!service.engine.empty()) out.PutString(IPVS_SVC_ATTR_PE_NAME, service.engine);
  uint8_t flags[8];
  std::memcpy(flags, &service.flags, 4);
  std::fill(flags + 4, flags + 8, 0xff);
  out.Put(IPVS_SVC_ATTR_FLAGS, flags);
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_TIMEOUT, service.timeout);
  out.PutNumber<uint32_t>(IPVS_SVC_ATTR_NETMASK, service.netmask);
  PutStatistics(out, IPVS_SVC_ATTR_STATS, false, service.statistics);
  if (knows_wide_statistics) PutStatistics(out, IPVS_SVC_ATTR_STATS64, true, service.statistics);
  out.End(nest);
  return message;
}

Bytes FakeKernel::Encode(const Real& real) const {
  Bytes message = Header(IPVS_CMD_NEW_DEST);
  AttributeWriter out(message);
  const size_t nest = out.Begin(IPVS_CMD_ATTR_DEST);
  out.Put(IPVS_DEST_ATTR_ADDR, real.address);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_PORT, real.port);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_FWD_METHOD, real.method);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_WEIGHT, real.weight);
  if (knows_tunnels) {
    out.PutNumber<uint8_t>(IPVS_DEST_ATTR_TUN_TYPE, real.tunnel_type);
    out.PutNumber<uint16_t>(IPVS_DEST_ATTR_TUN_PORT, real.tunnel_port);
    out.PutNumber<uint16_t>(IPVS_DEST_ATTR_TUN_FLAGS, real.tunnel_flags);
  }
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_U_THRESH, real.upper);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_L_THRESH, real.lower);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_ACTIVE_CONNS, real.active);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_INACT_CONNS, real.inactive);
  out.PutNumber<uint32_t>(IPVS_DEST_ATTR_PERSIST_CONNS, 0);
  out.PutNumber<uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, real.family);
  PutStatistics(out, IPVS_DEST_ATTR_STATS, false, real.statistics);
  if (knows_wide_statistics) PutStatistics(out, IPVS_DEST_ATTR_STATS64, true, real.statistics);
  out.End(nest);
  return message;
}

Bytes FakeKernel::Encode(const SyncDaemon& daemon) {
  Bytes message = Header(IPVS_CMD_NEW_DAEMON);
  AttributeWriter out(message);
  const size_t nest = out.Begin(IPVS_CMD_ATTR_DAEMON);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_STATE, static_cast<uint32_t>(daemon.role));
  out.PutString(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface);
  out.PutNumber<uint32_t>(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id);
  out.PutNumber<uint16_t>(IPVS_DAEMON_ATTR_SYNC_MAXLEN, daemon.max_length);
  out.PutNumber<uint16_t>(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port);
  out.PutNumber<uint8_t>(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl);
  out.Put(daemon.group.IsV4() ? IPVS_DAEMON_ATTR_MCAST_GROUP : IPVS_DAEMON_ATTR_MCAST_GROUP6,
          ByteView(daemon.group.bytes.data(), daemon.group.Size()));
  out.End(nest);
  return message;
}

FakeKernel::Key FakeKernel::KeyOf(const ServiceKey& key) {
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    const uint16_t family = mark->family == Family::kIpv4 ? AF_INET : AF_INET6;
    return {family, mark->mark, 0, {}, 0};
  }
  const auto& vip = std::get<Endpoint>(key.match);
  const uint16_t family = vip.ip.IsV4() ? AF_INET : AF_INET6;
  return {family, 0, static_cast<uint16_t>(key.protocol), vip.ip.bytes, htons(vip.port)};
}

void FakeKernel::Count(const ServiceKey& key, const Endpoint& at, const Counters& counters,
                       uint32_t active, uint32_t inactive, const Rates& rates) {
  Service& service = services_.at(KeyOf(key));
  service.statistics = {counters, rates};
  for (Real& real : service.reals) {
    if (real.address != at.ip.bytes || real.port != htons(at.port)) continue;
    real.statistics = {counters, rates};
    real.active = active;
    real.inactive = inactive;
  }
}

std::string FakeKernel::Show() const {
  std::string out =
      "IP Virtual Server version 1.2.1 (size=4096)\n"
      "Prot LocalAddress:Port Scheduler Flags\n"
      "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
  char line[192];
  const auto endpoint = [](uint16_t family, const Address& address, uint16_t port) {
    char text[64];
    const uint8_t* b = address.data();
    if (family == AF_INET) {
      std::snprintf(text, sizeof text, "%02X%02X%02X%02X:%04X", b[0], b[1], b[2], b[3],
                    ntohs(port));
    } else {
      std::snprintf(text, sizeof text,
                    "[%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x]"
                    ":%04X",
                    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                    b[13], b[14], b[15], ntohs(port));
    }
    return std::string(text);
  };
  for (const auto& [key, service] : services_) {
    const auto& [family, mark, protocol, address, port] = key;
    if (mark != 0) {
      std::snprintf(line, sizeof line, "FWM  %08X", mark);
      out += line;
    } else {
      out += protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : "SCTP";
      out += "  " + endpoint(family, address, port);
    }
    out += " " + service.scheduler + " ";
    const bool six = mark == 0 && family == AF_INET6;
    if ((service.flags & IP_VS_SVC_F_ONEPACKET) && !six) out += "ops ";
    if (service.flags & IP_VS_SVC_F_PERSISTENT) {
      std::snprintf(line, sizeof line, "persistent %d %08X",
                    static_cast<int>(service.timeout * 250), ntohl(service.netmask));
      out += line;
    }
    out += "\n";
    for (const Real& real : service.reals) {
      static constexpr const char* kNames[] = {"Masq", "Local", "Tunnel", "Route", "Bypass"};
      std::snprintf(line, sizeof line, "  -> %s      %-7s %-6d %-10u %-10u\n",
                    endpoint(real.family, real.address, real.port).c_str(),
                    kNames[real.method & IP_VS_CONN_F_FWD_MASK], static_cast<int>(real.weight),
                    real.active, real.inactive);
      out += line;
    }
  }
  return out;
}

absl::StatusOr<std::vector<int>> FakeKernel::Send(std::span<const Bytes> requests) {
  if (!has_ipvs) return NoIpvs();
  std::vector<int> out;
  for (const Bytes& request : requests) {
    ++changes_sent_;
    commands_.push_back(request.empty() ? 0 : request[0]);
    const int injected = fault ? fault(request) : 0;
    out.push_back(injected != 0 ? injected : Handle(request));
  }
  return out;
}

absl::StatusOr<Messages> FakeKernel::Dump(const Bytes& request) {
  if (!has_ipvs) return NoIpvs();
  if (request.size() < kGenericHeader) return StatusOf(EINVAL, Command::kGetService);
  Messages out;
  if (request[0] == IPVS_CMD_GET_SERVICE) {
    for (const auto& [key, service] : services_) out.Add(Encode(key, service));
    return out;
  }
  if (request[0] == IPVS_CMD_GET_DAEMON) {
    for (const auto& [role, daemon] : daemons_) out.Add(Encode(daemon));
    return out;
  }
  if (request[0] != IPVS_CMD_GET_DEST) return StatusOf(EOPNOTSUPP, Command::kGetService);
  // As the kernel: for no service, no real servers and no error.
  const auto attributes = Parse(ByteView(request).subspan(kGenericHeader), CommandPolicy());
  if (!attributes || !attributes->contains(IPVS_CMD_ATTR_SERVICE)) return out;
  ServiceRequest wanted;
  if (ParseService(attributes->at(IPVS_CMD_ATTR_SERVICE), false, wanted) != 0) return out;
  const auto found = services_.find(wanted.key);
  if (found == services_.end()) return out;
  for (const Real& real : found->second.reals) out.Add(Encode(real));
  return out;
}

absl::StatusOr<Bytes> FakeKernel::Ask(const Bytes& request) {
  if (!has_ipvs) return NoIpvs();
  if (request.size() < kGenericHeader) return StatusOf(EINVAL, Command::kGetService);
  if (request[0] == IPVS_CMD_GET_INFO) {
    Bytes message = Header(IPVS_CMD_SET_INFO);
    AttributeWriter out(message);
    out.PutNumber<uint32_t>(IPVS_INFO_ATTR_VERSION, 0x010201);
    out.PutNumber<uint32_t>(IPVS_INFO_ATTR_CONN_TAB_SIZE, 4096);
    return message;
  }
  if (request[0] == IPVS_CMD_GET_CONFIG) {
    Bytes message = Header(IPVS_CMD_SET_CONFIG);
    AttributeWriter out(message);
    out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts_.tcp_seconds);
    out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts_.tcp_fin_seconds);
    out.PutNumber<uint32_t>(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts_.udp_seconds);
    return message;
  }
  if (request[0] != IPVS_CMD_GET_SERVICE) return StatusOf(EOPNOTSUPP, Command::kGetService);
  const auto attributes = Parse(ByteView(request).subspan(kGenericHeader), CommandPolicy());
  if (!attributes || !attributes->contains(IPVS_CMD_ATTR_SERVICE)) {
    return StatusOf(EINVAL, Command::kGetService);
  }
  ServiceRequest wanted;
  if (const int error = ParseService(attributes->at(IPVS_CMD_ATTR_SERVICE), false, wanted)) {
    return StatusOf(error, Command::kGetService);
  }
  const auto found = services_.find(wanted.key);
  if (found == services_.end()) return StatusOf(ESRCH, Command::kGetService);
  return Encode(found->first, found->second);
}

}  // namespace kube_lvs::ipvs
