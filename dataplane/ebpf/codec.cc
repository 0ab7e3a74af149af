#include "dataplane/ebpf/codec.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "dataplane/model/schedulers.h"
#include "dataplane/plan/maglev.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kMaxWeight = 65535;
constexpr uint32_t kMaxPersistenceSeconds = 31 * 86400;  // ipvsadm's limit; in jiffies, 32 bits

absl::Status Unimplemented(const ServiceKey& key, const std::string& what) {
  return absl::UnimplementedError(ToString(key) + ": " + what);
}

absl::Status Invalid(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(where + ": " + what);
}

struct NamedScheduler {
  const char* name;
  klvs_scheduler number;
};
constexpr NamedScheduler kNamedSchedulers[] = {
    {"rr", KLVS_SCHEDULER_RR},     {"wrr", KLVS_SCHEDULER_WRR},     {"mh", KLVS_SCHEDULER_MH},
    {"lc", KLVS_SCHEDULER_LC},     {"wlc", KLVS_SCHEDULER_WLC},     {"sed", KLVS_SCHEDULER_SED},
    {"nq", KLVS_SCHEDULER_NQ},     {"fo", KLVS_SCHEDULER_FO},       {"ovf", KLVS_SCHEDULER_OVF},
    {"twos", KLVS_SCHEDULER_TWOS}, {"sh", KLVS_SCHEDULER_SH},       {"dh", KLVS_SCHEDULER_DH},
    {"lblc", KLVS_SCHEDULER_LBLC}, {"lblcr", KLVS_SCHEDULER_LBLCR},
};
static_assert(std::size(kNamedSchedulers) == kSchedulers.size());

std::optional<klvs_scheduler> SchedulerByName(std::string_view name) {
  const auto* found = std::ranges::find(kNamedSchedulers, name, &NamedScheduler::name);
  if (found == std::end(kNamedSchedulers)) return std::nullopt;
  return found->number;
}

const char* SchedulerName(uint8_t scheduler) {
  const auto* found = std::ranges::find(kNamedSchedulers, scheduler, &NamedScheduler::number);
  return found == std::end(kNamedSchedulers) ? nullptr : found->name;
}

std::string SchedulersWeHave() {
  std::string out;
  for (const std::string_view name : kSchedulers) {
    out += (out.empty() ? "" : ", ") + std::string(name);
  }
  return out;
}

bool Listed(std::span<const klvs_list_entry> list, uint32_t real, size_t* index) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].real != real) continue;
    *index = i;
    return true;
  }
  return false;
}

std::string MacText(const uint8_t (&mac)[6]) {
  MacAddress out;
  std::ranges::copy(mac, out.bytes.begin());
  return out.ToString();
}

struct Ports {
  uint16_t first, last;
};

// nullopt: a single port, or all.
std::optional<Ports> RangeOf(const ServiceKey& key) {
  if (const auto* range = std::get_if<PortRange>(&key.match))
    return Ports{range->first, range->last};
  const auto* prefix = std::get_if<Prefix>(&key.match);
  if (prefix == nullptr || prefix->HasAllPorts() || prefix->first == prefix->last) {
    return std::nullopt;
  }
  return Ports{prefix->first, prefix->last};
}

Tunnel TunnelOf(const klvs_real& record) {
  if (record.gue_port == 0) return {};
  return {.type = TunnelType::kGue, .port = FromWirePort(record.gue_port)};
}

// Of a service of a single port.
uint16_t PortOf(const ServiceKey& key) {
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) return prefix->first;
  return std::get<Endpoint>(key.match).port;
}

absl::Status CheckPersistence(const ServiceKey& key, const Persistence& persistence) {
  if (!persistence.engine.empty()) {
    return Unimplemented(key, "persistence engine \"" + persistence.engine +
                                  "\" needs dataplane IPVS; eBPF goes by the client's address");
  }
  if (persistence.mask_with_holes != 0) {
    return Unimplemented(key,
                         "a netmask that is no prefix needs dataplane IPVS; use one such as "
                         "255.255.255.0");
  }
  const bool v4 = VipOf(key)->IsV4();
  const int longest = v4 ? 32 : 128, shortest = v4 ? 0 : 1;
  if (persistence.prefix_length < shortest || persistence.prefix_length > longest) {
    return Invalid(ToString(key), "prefix length " + std::to_string(persistence.prefix_length) +
                                      " of persistence; it is " + std::to_string(shortest) +
                                      " to " + std::to_string(longest));
  }
  if (persistence.timeout_seconds == 0 || persistence.timeout_seconds > kMaxPersistenceSeconds) {
    return Invalid(ToString(key), "persistence of " + std::to_string(persistence.timeout_seconds) +
                                      " s; it is 1 to " + std::to_string(kMaxPersistenceSeconds));
  }
  return absl::OkStatus();
}

}  // namespace

__be32 ToWire(const IpAddress& address) {
  __be32 out = 0;
  if (address.IsV4()) std::memcpy(&out, address.bytes.data(), sizeof out);
  return out;
}

klvs_in6 ToWire6(const IpAddress& address) {
  klvs_in6 out{};
  if (!address.IsV4()) std::memcpy(&out, address.bytes.data(), sizeof out);
  return out;
}

IpAddress FromWire(__be32 address) {
  IpAddress out;
  std::memcpy(out.bytes.data(), &address, sizeof address);
  return out;
}

IpAddress FromWire(const klvs_in6& address) {
  IpAddress out;
  out.family = Family::kIpv6;
  std::memcpy(out.bytes.data(), &address, sizeof address);
  return out;
}

bool IsUnspecified(const IpAddress& address) {
  return std::ranges::all_of(address.bytes, [](uint8_t byte) { return byte == 0; });
}

IpAddress RealRecord::Address() const {
  return (real.flags & KLVS_REAL_IPV6) != 0 ? FromWire(ends6.address) : FromWire(real.address);
}
IpAddress RealRecord::NextHopAddress() const {
  return (real.flags & KLVS_REAL_IPV6) != 0 ? FromWire(ends6.next_hop) : FromWire(real.next_hop);
}
IpAddress RealRecord::Source() const {
  return (real.flags & KLVS_REAL_IPV6) != 0 ? FromWire(ends6.source) : FromWire(real.source);
}

__be16 ToWirePort(uint16_t port) { return htons(port); }
uint16_t FromWirePort(__be16 port) { return ntohs(port); }

absl::Status CheckSupported(const ServiceKey& key, const ServiceConfig& config) {
  if (std::holds_alternative<FwMark>(key.match)) {
    return Unimplemented(key, "services by firewall mark need dataplane IPVS");
  }
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) {
    if (prefix->vips.IsHost() || !Cidr::Parse(prefix->vips.ToString()).ok()) {
      return Invalid(ToString(key), "a network has no host bits, and more than one address");
    }
    if (config.scheduler == "lblc" || config.scheduler == "lblcr") {
      return Unimplemented(key, "with eBPF " + config.scheduler +
                                    " keeps one real server for all VIPs of a service, not one for "
                                    "each; use dh, single addresses, or dataplane IPVS");
    }
  }
  if (const auto ports = RangeOf(key); ports && (ports->first == 0 || ports->first > ports->last)) {
    return Invalid(ToString(key), "a range begins at port 1 or above, and ends at a higher one");
  }
  if (!IsWide(key) && PortOf(key) == 0)
    return Unimplemented(key, "a service on all ports needs dataplane IPVS");
  if (!SchedulerByName(config.scheduler)) {
    return Unimplemented(key, "eBPF has no scheduler \"" + config.scheduler + "\"; use one of " +
                                  SchedulersWeHave() + ", or dataplane IPVS");
  }
  if ((config.hash.source_port || config.hash.fallback) && !TakesHashFlags(config.scheduler)) {
    return Invalid(ToString(key), "hash flags make no sense with scheduler \"" + config.scheduler +
                                      "\"; use sh or mh, or leave them out");
  }
  if (config.hash.table_size != kMaglevDefaultSize) {
    if (config.scheduler != "mh") return Invalid(ToString(key), "only scheduler mh has a table size");
    if (!IsMaglevSize(config.hash.table_size)) {
      return Invalid(ToString(key), std::to_string(config.hash.table_size) +
                                        " is no size of a Maglev table; use " + MaglevSizes());
    }
  }
  if (config.persistence) KUBE_LVS_RETURN_IF_ERROR(CheckPersistence(key, *config.persistence));
  if (config.one_packet && key.protocol != Protocol::kUdp) {
    return Invalid(ToString(key), "one-packet scheduling is for UDP; leave it out");
  }
  if (config.unnamed_flags != 0) return Unimplemented(key, "IPVS flags need dataplane IPVS");
  return absl::OkStatus();
}

absl::Status CheckSupported(const ServiceKey& key, const RealServer& real) {
  const std::string where = ToString(key) + " -> " + real.at.ToString();
  const bool of_network = std::holds_alternative<Prefix>(key.match);
  // A real server's that is not the packet's.
  const bool maps_port = !IsWide(key) && real.at.port != 0 && real.at.port != PortOf(key);
  const auto vip = VipOf(key);
  if (vip && vip->family != real.at.ip.family) {
    return absl::UnimplementedError(where +
                                    ": with eBPF a real server has the family of its VIP; give it "
                                    "an address of that family, or use dataplane IPVS");
  }
  if (IsWide(key) && real.at.port != 0) {
    return Invalid(where, "each packet keeps its port; leave the real server's out");
  }
  if (!IsWide(key) && !of_network && real.at.port == 0) {
    return Invalid(where, "a real server needs a port");
  }
  if (IsUnspecified(real.at.ip)) {
    return Invalid(where, real.at.ip.ToString() + " is no real server");
  }
  if (maps_port && real.method != ForwardingMethod::kNat) {
    return Invalid(where, ToString(real.method) + " cannot change the port; use port " +
                              std::to_string(PortOf(key)) + " or method NAT");
  }
  if (maps_port && key.protocol == Protocol::kSctp) {
    return absl::UnimplementedError(where + ": with eBPF the port of SCTP stays; use port " +
                                    std::to_string(PortOf(key)) + " or dataplane IPVS");
  }
  if (real.weight > kMaxWeight) {
    return Invalid(
        where, "weight " + std::to_string(real.weight) + " is above " + std::to_string(kMaxWeight));
  }
  if (real.lower_threshold > real.upper_threshold) {
    return Invalid(where, "lower threshold " + std::to_string(real.lower_threshold) +
                              " is above the upper one, " + std::to_string(real.upper_threshold) +
                              "; lower it, or leave it out");
  }
  Tunnel able;
  if (real.method == ForwardingMethod::kTunnel && real.tunnel.type == TunnelType::kGue) {
    able = {.type = TunnelType::kGue, .port = real.tunnel.port};
    if (real.tunnel.port == 0) return Invalid(where, "GUE needs the port that it is taken at");
  }
  if (real.tunnel != able) {
    return absl::UnimplementedError(where + ": eBPF tunnels by IPIP, or by GUE without checksum; " +
                                    ToString(real.tunnel) + " needs dataplane IPVS");
  }
  return absl::OkStatus();
}

absl::Status CheckSupported(const ServiceKey& key, const ServiceConfig& config,
                            const RealServer& real) {
  if (!config.one_packet || real.method != ForwardingMethod::kNat) return absl::OkStatus();
  return Unimplemented(key, real.at.ToString() +
                                ": one-packet scheduling with method NAT needs dataplane IPVS; use "
                                "DirectRouting or Tunnel");
}

klvs_service_key EncodeKey(uint32_t vip_id, const ServiceKey& key) {
  klvs_service_key out{};
  out.vip_id = vip_id;
  out.port = ToWirePort(PortOf(key));
  out.protocol = static_cast<uint8_t>(key.protocol);
  return out;
}

ServiceKey DecodeKey(const Cidr& vips, const klvs_service_key& key) {
  const uint16_t port = FromWirePort(key.port);
  ServiceKey out;
  out.dataplane = Dataplane::kEbpf;
  out.match = Endpoint{vips.address, port};
  if (!vips.IsHost()) out.match = Prefix{vips, port, port};
  out.protocol = static_cast<Protocol>(key.protocol);
  return out;
}

bool IsWide(const ServiceKey& key) {
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) return prefix->first != prefix->last;
  return std::holds_alternative<PortRange>(key.match) ||
         std::holds_alternative<AllPorts>(key.match);
}

klvs_wide_key EncodeWideKey(uint32_t vip_id, const ServiceKey& key) {
  klvs_wide_key out{};
  out.vip_id = vip_id;
  out.last = ToWirePort(UINT16_MAX);
  if (const auto ports = RangeOf(key)) {
    out.first = ToWirePort(ports->first);
    out.last = ToWirePort(ports->last);
    out.protocol = static_cast<uint8_t>(key.protocol);
  }
  return out;
}

ServiceKey DecodeKey(const Cidr& vips, const klvs_wide_key& key) {
  const uint16_t first = FromWirePort(key.first), last = FromWirePort(key.last);
  const bool all = key.protocol == 0;
  ServiceKey out;
  out.dataplane = Dataplane::kEbpf;
  if (!all) out.protocol = static_cast<Protocol>(key.protocol);
  if (!vips.IsHost()) {
    out.match = all ? Prefix{vips} : Prefix{vips, first, last};
  } else if (all) {
    out.match = AllPorts{vips.address};
  } else {
    out.match = PortRange{vips.address, first, last};
  }
  return out;
}

klvs_service EncodeConfig(const ServiceConfig& config) {
  klvs_service out{};
  out.scheduler = static_cast<uint8_t>(*SchedulerByName(config.scheduler));
  if (config.source_nat) out.flags |= KLVS_SERVICE_SOURCE_NAT;
  if (config.hash.source_port) out.flags |= KLVS_SERVICE_HASH_PORT;
  if (config.hash.fallback) out.flags |= KLVS_SERVICE_HASH_FALLBACK;
  if (config.one_packet) out.flags |= KLVS_SERVICE_ONE_PACKET;
  if (config.persistence) {
    out.flags |= KLVS_SERVICE_PERSISTENT;
    out.template_seconds = config.persistence->timeout_seconds;
    out.template_prefix = static_cast<uint8_t>(config.persistence->prefix_length);
  }
  if (out.scheduler == KLVS_SCHEDULER_MH) out.table_size = config.hash.table_size;
  if (out.scheduler == KLVS_SCHEDULER_SH || out.scheduler == KLVS_SCHEDULER_DH) {
    out.table_size = KLVS_HASH_BUCKETS;
  }
  return out;
}

absl::StatusOr<ServiceConfig> DecodeConfig(const klvs_service& service) {
  const char* scheduler = SchedulerName(service.scheduler);
  if (scheduler == nullptr) {
    return absl::DataLossError("service " + std::to_string(service.id) + " has scheduler number " +
                               std::to_string(service.scheduler));
  }
  ServiceConfig out;
  out.scheduler = scheduler;
  out.source_nat = (service.flags & KLVS_SERVICE_SOURCE_NAT) != 0;
  out.hash.source_port = (service.flags & KLVS_SERVICE_HASH_PORT) != 0;
  out.hash.fallback = (service.flags & KLVS_SERVICE_HASH_FALLBACK) != 0;
  if (service.scheduler == KLVS_SCHEDULER_MH) out.hash.table_size = service.table_size;
  out.one_packet = (service.flags & KLVS_SERVICE_ONE_PACKET) != 0;
  if ((service.flags & KLVS_SERVICE_PERSISTENT) != 0) {
    out.persistence.emplace();
    out.persistence->timeout_seconds = service.template_seconds;
    out.persistence->prefix_length = service.template_prefix;
  }
  return out;
}

void SetWrr(std::span<const klvs_list_entry> list, klvs_service& service) {
  uint32_t divisor = 0;
  uint32_t largest = 0;
  for (const klvs_list_entry& entry : list) {
    divisor = std::gcd(divisor, entry.weight);
    largest = std::max(largest, entry.weight);
  }
  service.wrr_gcd = divisor == 0 ? 1 : divisor;
  service.wrr_max = largest == 0 ? 0 : largest - service.wrr_gcd + 1;
}

void ContinueRoundRobin(const klvs_service& before, uint64_t cursor,
                        std::span<const klvs_list_entry> old_list,
                        std::span<const klvs_list_entry> new_list, klvs_service& next) {
  uint32_t position = before.start_position;
  uint32_t weight = before.start_weight;
  if (static_cast<uint16_t>(cursor >> 48) == before.generation && before.generation != 0) {
    position = static_cast<uint16_t>(cursor >> 32);
    weight = static_cast<uint32_t>(cursor);
  }
  next.start_position = 0;
  next.start_weight = 0;
  if (next.scheduler == KLVS_SCHEDULER_RR && before.scheduler == KLVS_SCHEDULER_RR) {
    for (uint32_t i = std::min<uint32_t>(position, static_cast<uint32_t>(old_list.size())); i > 0;
         --i) {
      size_t index = 0;
      if (!Listed(new_list, old_list[i - 1].real, &index)) continue;
      next.start_position = static_cast<uint16_t>(index + 1);
      break;
    }
  }
  if (next.scheduler != KLVS_SCHEDULER_WRR) return;
  if (before.scheduler != KLVS_SCHEDULER_WRR || weight == 0 || weight > next.wrr_max) {
    next.start_weight = next.wrr_max;
  } else if (next.wrr_gcd > 1) {
    next.start_weight = weight / next.wrr_gcd * next.wrr_gcd + 1;
  } else {
    next.start_weight = weight;
  }
}

RealRecord EncodeReal(uint32_t service_id, const RealServer& real) {
  RealRecord record;
  klvs_real& out = record.real;
  out.address = ToWire(real.at.ip);
  record.ends6.address = ToWire6(real.at.ip);
  out.port = ToWirePort(real.at.port);
  out.method = static_cast<uint8_t>(real.method);
  out.gue_port = ToWirePort(real.tunnel.port);
  out.flags = KLVS_REAL_VALID;
  if (!real.at.ip.IsV4()) out.flags |= KLVS_REAL_IPV6;
  out.weight = real.weight;
  out.last_weight = real.weight;
  out.service = service_id;
  out.upper_threshold = real.upper_threshold;
  out.lower_threshold = real.lower_threshold;
  return record;
}

absl::StatusOr<RealServer> DecodeReal(const RealRecord& whole, uint32_t weight) {
  const klvs_real& record = whole.real;
  if ((record.flags & KLVS_REAL_VALID) == 0 || record.method > KLVS_METHOD_TUNNEL) {
    return absl::DataLossError("a list names a real server whose record is not valid");
  }
  RealServer out;
  out.at = {whole.Address(), FromWirePort(record.port)};
  out.method = static_cast<ForwardingMethod>(record.method);
  out.tunnel = TunnelOf(record);
  out.weight = weight;
  out.upper_threshold = record.upper_threshold;
  out.lower_threshold = record.lower_threshold;
  return out;
}

bool CountsConnections(const klvs_service& service) {
  return (service.scheduler >= KLVS_SCHEDULER_LC && service.scheduler <= KLVS_SCHEDULER_TWOS) ||
         service.scheduler == KLVS_SCHEDULER_LBLC || service.scheduler == KLVS_SCHEDULER_LBLCR ||
         (service.flags & KLVS_SERVICE_THRESHOLDS) != 0;
}

bool IsOverloaded(const klvs_real& record, const klvs_real_conns& conns) {
  const uint32_t upper = record.upper_threshold;
  const uint32_t lower = record.lower_threshold != 0 ? record.lower_threshold : upper - upper / 4;
  const uint32_t total = conns.active + conns.inactive;
  if (upper == 0) return false;
  if (total >= upper) return true;
  return total >= lower && conns.overloaded != 0;
}

void SetWay(const NextHop& hop, RealRecord& whole) {
  klvs_real& record = whole.real;
  record.flags &= static_cast<uint8_t>(~(KLVS_REAL_LOCAL | KLVS_REAL_L2));
  if (hop.local) record.flags |= KLVS_REAL_LOCAL;
  record.ifindex = hop.ifindex;
  if ((record.flags & KLVS_REAL_IPV6) != 0) {
    whole.ends6.next_hop = ToWire6(hop.neighbour);
    whole.ends6.source = ToWire6(hop.source);
  } else {
    record.next_hop = ToWire(hop.neighbour);
    record.source = ToWire(hop.source);
  }
  record.mtu = static_cast<uint16_t>(std::min<uint32_t>(hop.mtu, UINT16_MAX));
  std::ranges::copy(hop.neighbour_mac.bytes, record.dst_mac);
  std::ranges::copy(hop.source_mac.bytes, record.src_mac);
  if (hop.ifindex != 0 && !hop.neighbour_mac.IsZero() && !hop.source_mac.IsZero()) {
    record.flags |= KLVS_REAL_L2;
  }
}

std::string ToString(const klvs_service_key& key) {
  return "vip " + std::to_string(key.vip_id) + ":" + std::to_string(FromWirePort(key.port)) + "/" +
         ToString(static_cast<Protocol>(key.protocol));
}

std::string ToString(const klvs_service& service) {
  const char* scheduler = SchedulerName(service.scheduler);
  std::string out = "service " + std::to_string(service.id) + " " +
                    (scheduler == nullptr ? "scheduler?" : scheduler) + " generation " +
                    std::to_string(service.generation) + " list " +
                    std::to_string(service.list_base) + "+" + std::to_string(service.list_count);
  if (service.table_size != 0) {
    out +=
        " table " + std::to_string(service.table_base) + "+" + std::to_string(service.table_size);
  }
  if ((service.flags & KLVS_SERVICE_SOURCE_NAT) != 0) out += " source-nat";
  if (service.delivers == KLVS_DELIVERS) out += " local " + std::to_string(service.local);
  if (service.delivers == KLVS_DELIVERED) out += " was-local " + std::to_string(service.local);
  if ((service.flags & KLVS_SERVICE_PERSISTENT) != 0) {
    out += " persistent " + std::to_string(service.template_seconds) + "s/" +
           std::to_string(service.template_prefix);
  }
  return out;
}

std::string ToString(const RealRecord& record) {
  const klvs_real& real = record.real;
  if ((real.flags & KLVS_REAL_VALID) == 0) return "empty";
  std::string out = ToString(RealServer{.at = {record.Address(), FromWirePort(real.port)},
                                        .method = static_cast<ForwardingMethod>(real.method),
                                        .weight = real.weight,
                                        .upper_threshold = real.upper_threshold,
                                        .lower_threshold = real.lower_threshold,
                                        .tunnel = TunnelOf(real)}) +
                    " of service " + std::to_string(real.service);
  if ((real.flags & KLVS_REAL_REMOVED) != 0) out += " removed";
  if ((real.flags & KLVS_REAL_LOCAL) != 0) return out + " local";
  if (real.ifindex == 0) return out + " no-route";
  out += " via " + record.NextHopAddress().ToString() + " if " + std::to_string(real.ifindex) +
         " from " + record.Source().ToString() + " mtu " + std::to_string(real.mtu);
  if ((real.flags & KLVS_REAL_L2) != 0) out += " mac " + MacText(real.dst_mac);
  return out;
}

std::string ToString(const klvs_address& address) {
  std::string out;
  const auto add = [&out](const std::string& word) { out += (out.empty() ? "" : " ") + word; };
  if ((address.flags & KLVS_ADDRESS_VIP) != 0) add("vip " + std::to_string(address.vip_id));
  if ((address.flags & KLVS_ADDRESS_ANSWER_ARP) != 0) {
    add("answered on if " + std::to_string(address.ifindex));
  }
  if ((address.flags & KLVS_ADDRESS_SNAT) != 0) add("source-nat");
  if ((address.flags & KLVS_ADDRESS_NAT_REAL) != 0) add("nat-real");
  if ((address.flags & KLVS_ADDRESS_TUNNEL) != 0) add("tunnel-source");
  return out;
}

}  // namespace kube_lvs::ebpf
