#include "kube/api/validate.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/status.h"
#include "dataplane/model/schedulers.h"
#include "kube/api/pools.h"

namespace kube_lvs::api {
namespace {

class Problems {
 public:
  void Invalid(const std::string& field, const std::string& what) {
    Add(kInvalidSpec, field + ": " + what);
  }
  void Unsupported(const std::string& what) {
    Add(kUnsupportedByDataplane, what + " is not supported yet: leave it out");
  }
  void NotPermitted(const std::string& message) { Add(kBackendNotPermitted, message); }
  void NotHere(const std::string& message) { Add(kUnsupportedByDataplane, message); }
  bool empty() const { return all_.empty(); }
  std::vector<Problem> Take() { return std::move(all_); }

 private:
  void Add(const char* reason, const std::string& message) {
    // A list of thousands helps nobody, and has to fit into a condition.
    if (all_.size() < 20) all_.push_back({.reason = reason, .message = message});
  }
  std::vector<Problem> all_;
};

std::string Item(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

// A DNS label, or a port's name, of at most `max` characters.
bool IsName(std::string_view text, size_t max) {
  if (text.empty() || text.size() > max || text.front() == '-' || text.back() == '-') return false;
  return std::ranges::all_of(
      text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

uint16_t LastPort(const ServicePort& port) { return port.end_port.value_or(port.port); }

void CheckPorts(const LvsServiceSpec& spec, Problems& out) {
  if (spec.all_ports) {
    if (!spec.ports.empty()) out.Invalid("spec", "set ports, or allPorts: Enabled, but not both");
    return;
  }
  if (spec.ports.empty()) out.Invalid("spec.ports", "at least one port is needed");
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const ServicePort& port = spec.ports[i];
    const std::string field = Item("spec.ports", i);
    if (!IsName(port.name, 15)) {
      out.Invalid(field + ".name", "must be 1 to 15 characters of a-z, 0-9 and -, no - at an end");
    }
    if (port.port == 0) out.Invalid(field + ".port", "must be from 1 to 65535");
    if (port.end_port) {
      if (*port.end_port <= port.port || port.target_port) {
        out.Invalid(field, "endPort must be above port, and a range has no targetPort");
      }
    }
    for (size_t j = 0; j < i; ++j) {
      const ServicePort& other = spec.ports[j];
      if (other.name == port.name) {
        out.Invalid(field + ".name", "\"" + port.name + "\" is there twice");
      }
      if (other.protocol == port.protocol && other.port <= LastPort(port) &&
          port.port <= LastPort(other)) {
        out.Invalid(field,
                    "overlaps port " + other.name + ": each port and protocol may be named once");
      }
    }
  }
}

Family FamilyOf(const AddressRequest& request) {
  if (request.type == AddressRequest::Type::kPool) return request.ip_family.value_or(Family::kIpv4);
  return request.value.find(':') == std::string::npos ? Family::kIpv4 : Family::kIpv6;
}

void CheckAddresses(const LvsServiceSpec& spec, Problems& out) {
  if (spec.ip_family_policy != "SingleStack") {
    out.Unsupported("spec.ipFamilyPolicy: " + spec.ip_family_policy);
  }
  for (size_t i = 0; i < spec.addresses.size(); ++i) {
    const AddressRequest& request = spec.addresses[i];
    const std::string field = Item("spec.addresses", i);
    switch (request.type) {
      case AddressRequest::Type::kPool:
        if (!request.value.empty()) out.Invalid(field, "type Pool takes poolName and ipFamily");
        break;
      case AddressRequest::Type::kIp: {
        const absl::StatusOr<IpAddress> ip = IpAddress::Parse(request.value);
        if (!ip.ok()) {
          out.Invalid(field + ".value", Message(ip.status()));
        } else if (IsNeverAllowed(*ip)) {
          out.Invalid(field + ".value",
                      "loopback, link-local, multicast and unspecified addresses cannot be VIPs");
        }
        break;
      }
      case AddressRequest::Type::kCidr:
        if (const absl::StatusOr<Cidr> cidr = Cidr::Parse(request.value); !cidr.ok()) {
          out.Invalid(field + ".value", Message(cidr.status()));
        } else if (const absl::Status allowed = CheckVipPrefix(*cidr); !allowed.ok()) {
          out.Invalid(field + ".value", Message(allowed));
        }
        break;
    }
    if (request.type != AddressRequest::Type::kPool &&
        (!request.pool_name.empty() || request.ip_family)) {
      out.Invalid(field, "types IP and CIDR take value only");
    }
  }
  if (spec.addresses.size() > 1) {
    if (FamilyOf(spec.addresses[0]) == FamilyOf(spec.addresses[1])) {
      out.Invalid("spec.addresses", "at most one per family");
    }
    out.Unsupported("a second address in spec.addresses");
  }
}

void CheckForwarding(const LvsServiceSpec& spec, Problems& out) {
  if (spec.fallback != "None") out.Unsupported("spec.forwarding.fallback: " + spec.fallback);
  if (spec.tunnel_type != "IPIP" || spec.tunnel_port) {
    if (spec.method != ForwardingMethod::kTunnel) {
      out.Invalid("spec.forwarding.tunnel", "is for method Tunnel only");
    }
    if ((spec.tunnel_type == "GUE") != spec.tunnel_port.has_value()) {
      out.Invalid("spec.forwarding.tunnel.port", "goes with type GUE, and only with it");
    }
    const bool all_static = std::ranges::all_of(
        spec.backends, [](const BackendSource& backend) { return backend.is_static; });
    if (spec.tunnel_type == "GRE" && !all_static) {
      out.NotHere(
          "spec.forwarding.tunnel.type: GRE is for static backends: real servers of a serviceRef "
          "take IPIP and GUE");
    }
  }
  if (spec.method == ForwardingMethod::kNat) return;
  const std::string method = ToString(spec.method);
  if (spec.source_nat != SourceNatChoice::kAuto) {
    out.Invalid("spec.forwarding.sourceNAT", "is for method NAT only");
  }
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const ServicePort& port = spec.ports[i];
    if (port.target_port &&
        (!port.target_port->name.empty() || port.target_port->number != port.port)) {
      out.Invalid(Item("spec.ports", i) + ".targetPort",
                  method + " cannot map ports: leave targetPort out, or set it to port");
    }
  }
}

void CheckScheduler(const LvsServiceSpec& spec, Problems& out) {
  if (!IsScheduler(spec.scheduler)) {
    out.Invalid("spec.scheduler.name",
                "\"" + spec.scheduler.substr(0, 64) + "\" is no scheduler that LVS has");
  }
  if (spec.hash != HashFlags{} && !TakesHashFlags(spec.scheduler)) {
    out.Invalid("spec.scheduler.hash", "is for schedulers sh and mh only");
  } else if (spec.hash.table_size != kMaglevDefaultSize && spec.scheduler != "mh") {
    out.Invalid("spec.scheduler.hash.tableSize", "is for scheduler mh only");
  } else if (!IsMaglevSize(spec.hash.table_size)) {
    out.Invalid("spec.scheduler.hash.tableSize", "must be " + MaglevSizes());
  }
  if (spec.slow_start_seconds != 0) out.Unsupported("spec.scheduler.slowStartSeconds");
  const bool all_udp =
      !spec.ports.empty() && std::ranges::all_of(spec.ports, [](const ServicePort& port) {
        return port.protocol == Protocol::kUdp;
      });
  if (spec.one_packet) {
    if (!all_udp) out.Invalid("spec.onePacketScheduling", "is for UDP ports only");
    if (spec.persistence) {
      out.Invalid("spec.onePacketScheduling", "and persistence exclude each other");
    }
  }
  if (spec.persistence && spec.persistence->engine != "SourceAddress") {
    if (!all_udp) out.Invalid("spec.persistence.engine", "SIP is for UDP ports only");
  }
}

bool HasManyPorts(const LvsServiceSpec& spec) {
  return spec.all_ports || std::ranges::any_of(spec.ports, &ServicePort::KeepsPorts);
}

void CheckStatic(const LvsServiceSpec& spec, const StaticBackend& real, const std::string& field,
                 Problems& out) {
  const absl::StatusOr<IpAddress> ip = IpAddress::Parse(real.address);
  if (!ip.ok()) {
    out.Invalid(field + ".address", Message(ip.status()));
  } else if (IsNeverAllowed(*ip)) {
    out.NotPermitted(
        field +
        ".address: loopback, link-local (metadata), multicast and unspecified addresses "
        "are refused");
  }
  if (real.lower_threshold != 0 && real.lower_threshold >= real.upper_threshold) {
    out.Invalid(field, "lowerThreshold must be below upperThreshold");
  }
  if (real.method) out.Unsupported(field + ".method");
  if (real.port && HasManyPorts(spec)) {
    out.Invalid(field + ".port",
                "with a port range or allPorts each packet keeps its port: leave port out, or give "
                "the single ports an LVSService of their own");
  } else if (spec.method != ForwardingMethod::kNat && real.port &&
             std::ranges::find(spec.ports, *real.port, &ServicePort::port) == spec.ports.end()) {
    out.Invalid(field + ".port", ToString(spec.method) +
                                     " cannot map ports: leave port out, or set it to the port of "
                                     "the service");
  }
}

void CheckBackends(const LvsServiceSpec& spec, Problems& out) {
  if (spec.backends.empty()) out.Invalid("spec.backends", "at least one backend is needed");
  for (size_t i = 0; i < spec.backends.size(); ++i) {
    const BackendSource& backend = spec.backends[i];
    const std::string field = Item("spec.backends", i);
    if (!IsName(backend.name, 63)) {
      out.Invalid(field + ".name", "must be 1 to 63 characters of a-z, 0-9 and -, no - at an end");
    }
    for (size_t j = 0; j < i; ++j) {
      if (spec.backends[j].name == backend.name) {
        out.Invalid(field + ".name", "\"" + backend.name + "\" is there twice");
      }
    }
    if (!backend.service_name.empty() + backend.selector.has_value() + backend.is_static != 1) {
      out.Invalid(field, "set exactly one of serviceRef, selector and static");
    }
    if (backend.weight > 65535) out.Invalid(field + ".weight", "must be at most 65535");
    if (backend.selector) out.Unsupported(field + ".selector");
    for (size_t j = 0; j < backend.static_reals.size(); ++j) {
      CheckStatic(spec, backend.static_reals[j], field + "." + Item("static", j), out);
    }
  }
}

void CheckRest(const LvsServiceSpec& spec, Problems& out) {
  if (spec.director_group.empty()) out.Invalid("spec.directorGroupName", "is empty");
  if (spec.health_check) {
    const HealthCheck& check = *spec.health_check;
    if (check.timeout_seconds > check.interval_seconds) {
      out.Invalid("spec.healthCheck", "timeoutSeconds must not exceed intervalSeconds");
    }
    if (check.http && check.type != "HTTP" && check.type != "HTTPS") {
      out.Invalid("spec.healthCheck.http", "is for types HTTP and HTTPS");
    }
    if (check.type != "None") {
      out.Unsupported("spec.healthCheck.type: " + check.type);
    } else if (check.port) {
      out.Invalid("spec.healthCheck.port", "type None takes no port");
    }
    if (check.via != "Direct") out.Unsupported("spec.healthCheck.via: " + check.via);
  }
  const Availability& availability = spec.availability;
  if (availability.quorum != 1) out.Unsupported("spec.availability.quorum other than 1");
  if (availability.hysteresis != 0) out.Unsupported("spec.availability.hysteresis");
  if (availability.real_server_failure_policy != "Quiesce") {
    out.Unsupported("spec.availability.realServerFailurePolicy: " +
                    availability.real_server_failure_policy);
  }
  if (availability.on_quorum_lost != "KeepLast") {
    out.Unsupported("spec.availability.onQuorumLost: " + availability.on_quorum_lost);
  }
  if (availability.sorry_server) out.Unsupported("spec.availability.sorryServer");
  for (size_t i = 0; i < spec.allowed_source_ranges.size(); ++i) {
    const std::string& range = spec.allowed_source_ranges[i];
    const std::string field = Item("spec.access.allowedSourceRanges", i);
    if (const absl::StatusOr<Cidr> cidr = Cidr::Parse(range); !cidr.ok()) {
      out.Invalid(field, Message(cidr.status()));
    } else if (cidr->length != 0) {
      out.Unsupported(field + " other than 0.0.0.0/0 and ::/0");
    }
  }
  if (spec.icmp_echo == "Ignore") out.Unsupported("spec.access.icmpEcho: Ignore");
  if (!spec.topology_prefer.empty()) out.Unsupported("spec.topology");
}

void CheckEbpf(const LvsService& service, Problems& out) {
  const LvsServiceSpec& spec = service.spec;
  const std::string mend = " needs dataplane IPVS; dataplane eBPF does not support it yet";
  if (spec.persistence && spec.persistence->engine != "SourceAddress") {
    out.NotHere("spec.persistence.engine: " + spec.persistence->engine + mend);
  }
  if (spec.one_packet && spec.method == ForwardingMethod::kNat) {
    out.NotHere("spec.onePacketScheduling: Enabled with method NAT" + mend);
  }
  if (spec.tunnel_type == "GRE") {
    out.NotHere("spec.forwarding.tunnel.type: " + spec.tunnel_type + mend);
  }
  if (const absl::Status able = CheckCidrByEbpf(spec); HasCidr(spec) && !able.ok()) {
    out.NotHere("spec.scheduler.name: " + Message(able));
  }
}

}  // namespace

bool IsNeverAllowed(const IpAddress& address) {
  if (address.IsV4()) {
    const uint32_t ip = address.V4();
    return ip >> 24 == 0 || ip >> 24 == 127 || ip >> 16 == 0xa9fe || ip >> 28 >= 0xe;
  }
  const auto& b = address.bytes;
  if (b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)) return true;
  // "::" and "::1".
  return std::all_of(b.begin(), b.end() - 1, [](uint8_t byte) { return byte == 0; }) && b[15] <= 1;
}

absl::Status CheckVipPrefix(const Cidr& cidr) {
  // None of what is never allowed has a longer prefix than the shortest one here, but ::1, whose
  // prefixes begin with ::.
  if (IsNeverAllowed(cidr.address)) {
    return absl::InvalidArgumentError(
        "loopback, link-local, multicast and unspecified addresses cannot be VIPs");
  }
  const auto [shortest, longest] = VipPrefixLengthsOf(cidr.address.family);
  if (cidr.length >= shortest && cidr.length <= longest) return absl::OkStatus();
  return absl::InvalidArgumentError("must be of /" + std::to_string(shortest) + " to /" +
                                    std::to_string(longest) + "; a single address is of type IP");
}

absl::Status CheckCidrByEbpf(const LvsServiceSpec& spec) {
  if (spec.scheduler != "lblc" && spec.scheduler != "lblcr") return absl::OkStatus();
  return absl::UnimplementedError(spec.scheduler +
                                  " with an address of type CIDR needs dataplane IPVS; dataplane "
                                  "eBPF keeps one real server for all addresses of a service");
}

bool HasCidr(const LvsServiceSpec& spec) {
  return std::ranges::any_of(spec.addresses, [](const AddressRequest& request) {
    return request.type == AddressRequest::Type::kCidr;
  });
}

std::optional<Dataplane> EffectiveDataplane(const LvsServiceSpec& spec,
                                            const LvsDirectorGroup* group) {
  DataplaneChoice choice = spec.dataplane;
  if (choice == DataplaneChoice::kAuto && group != nullptr) choice = group->spec.dataplane;
  if (choice == DataplaneChoice::kIpvs) return Dataplane::kIpvs;
  if (choice == DataplaneChoice::kEbpf) return Dataplane::kEbpf;
  if (group != nullptr && group->status.dataplane == "IPVS") return Dataplane::kIpvs;
  if (group != nullptr && group->status.dataplane == "eBPF") return Dataplane::kEbpf;
  return std::nullopt;
}

bool EffectiveSourceNat(const LvsServiceSpec& spec) {
  if (spec.method != ForwardingMethod::kNat) return false;
  if (spec.source_nat != SourceNatChoice::kAuto) {
    return spec.source_nat == SourceNatChoice::kEnabled;
  }
  return std::ranges::any_of(
      spec.backends, [](const BackendSource& backend) { return !backend.service_name.empty(); });
}

std::vector<Problem> Validate(const LvsService& service, std::optional<Dataplane> dataplane) {
  Problems out;
  CheckPorts(service.spec, out);
  CheckAddresses(service.spec, out);
  CheckForwarding(service.spec, out);
  CheckScheduler(service.spec, out);
  CheckBackends(service.spec, out);
  CheckRest(service.spec, out);
  if (dataplane == Dataplane::kEbpf) CheckEbpf(service, out);
  if (dataplane == Dataplane::kIpvs && service.spec.hash.table_size != kMaglevDefaultSize) {
    out.NotHere(
        "spec.scheduler.hash.tableSize: IPVS's tables have the size that its kernel was built with; "
        "leave it out, or use dataplane eBPF");
  }
  return out.Take();
}

std::vector<Problem> Validate(const LvsAddressPool& pool) {
  Problems out;
  if (pool.spec.addresses.empty()) out.Invalid("spec.addresses", "at least one is needed");
  const absl::StatusOr<std::vector<Cidr>> cidrs = PoolCidrs(pool.spec);
  if (!cidrs.ok()) {
    out.Invalid("spec", Message(cidrs.status()));
    return out.Take();
  }
  static constexpr const char* kForbidden[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                               "224.0.0.0/3", "::/127",      "fe80::/10",
                                               "ff00::/8"};
  for (const char* text : kForbidden) {
    const absl::StatusOr<Cidr> forbidden = Cidr::Parse(text);
    for (const Cidr& cidr : *cidrs) {
      if (forbidden.ok() && Overlap(*forbidden, cidr)) {
        out.Invalid(
            "spec.addresses",
            cidr.ToString() +
                ": loopback, link-local, multicast and unspecified addresses cannot be VIPs");
        break;
      }
    }
  }
  return out.Take();
}

std::vector<Problem> Validate(const LvsDirectorGroup& group) {
  Problems out;
  for (size_t i = 0; i < group.spec.static_allowed_ranges.size(); ++i) {
    const absl::StatusOr<Cidr> cidr = Cidr::Parse(group.spec.static_allowed_ranges[i]);
    if (!cidr.ok()) {
      out.Invalid(Item("spec.staticBackends.allowedRanges", i), Message(cidr.status()));
    }
  }
  if (group.spec.connection_sync && group.spec.dataplane != DataplaneChoice::kIpvs) {
    out.Invalid("spec.connectionSync", "Enabled needs dataplane: IPVS");
  }
  return out.Take();
}

}  // namespace kube_lvs::api
