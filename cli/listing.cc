#include "cli/listing.h"

#include <linux/ip_vs.h>

#include <charconv>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <iterator>
#include <string_view>

namespace kube_lvs::cli {
namespace {

constexpr size_t kMaxEndpoint = 59, kMaxServiceColumn = 33, kMaxServerColumn = 28;

__attribute__((format(printf, 1, 2))) std::string Print(const char* format, ...) {
  std::string out(128, '\0');
  for (;;) {
    va_list arguments;
    va_start(arguments, format);
    const int size = std::vsnprintf(out.data(), out.size(), format, arguments);
    va_end(arguments);
    if (size < 0) return "";
    if (static_cast<size_t>(size) < out.size()) {
      out.resize(static_cast<size_t>(size));
      return out;
    }
    out.resize(static_cast<size_t>(size) + 1);
  }
}

// Appends `text`, and spaces up to `width`.
void AppendLeft(std::string& out, std::string_view text, size_t width) {
  out += text;
  if (text.size() < width) out.append(width - text.size(), ' ');
}

void AppendLeft(std::string& out, int64_t number, size_t width) {
  char digits[24];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
  AppendLeft(out, std::string_view(digits, static_cast<size_t>(end - digits)), width);
}

std::string Large(uint64_t number, bool exact) {
  if (exact) {
    const std::string text = std::to_string(number);
    return text.size() <= 8 ? Print("%9" PRIu64, number) : " " + text;
  }
  if (number < 100'000'000) return Print("%9" PRIu64, number);
  if (number < 1'000'000'000) return Print("%8" PRIu64 "K", number / 1000);
  if (number < 100'000'000'000) return Print("%8" PRIu64 "M", number / 1'000'000);
  if (number < 100'000'000'000'000) return Print("%8" PRIu64 "G", number / 1'000'000'000);
  return Print("%8" PRIu64 "T", number / 1'000'000'000'000);
}

std::string Mask(const ServiceKey& key, const Persistence& persistence, const char* word) {
  if (ipvs::FamilyOf(key) == Family::kIpv6) {
    if (persistence.prefix_length == 128) return "";
    return Print(" %s %d", word, persistence.prefix_length);
  }
  if (persistence.prefix_length == 32) return "";
  const uint32_t mask = persistence.mask_with_holes != 0 ? persistence.mask_with_holes
                        : persistence.prefix_length == 0
                            ? 0
                            : ~uint32_t{0} << (32 - persistence.prefix_length);
  return std::string(" ") + word + " " + IpAddress::FromV4(mask).ToString();
}

// Of flags that are set but have no name for this scheduler nothing is left but the brackets.
struct SchedulerFlags {
  bool any = false;
  std::string text;
};

SchedulerFlags FlagsOf(const ServiceConfig& config) {
  SchedulerFlags out;
  const auto add = [&out](bool set, const std::string& name) {
    if (set) out.text += (out.text.empty() ? "" : ",") + name;
  };
  add(config.hash.fallback, config.scheduler + "-fallback");
  add(config.hash.source_port, config.scheduler + "-port");
  add(config.hash.table_size != kMaglevDefaultSize,
      config.scheduler + "-table-size=" + std::to_string(config.hash.table_size));
  if (config.scheduler != "sh" && config.scheduler != "mh") {
    add((config.unnamed_flags & IP_VS_SVC_F_SCHED1) != 0, "flag-1");
    add((config.unnamed_flags & IP_VS_SVC_F_SCHED2) != 0, "flag-2");
    add((config.unnamed_flags & IP_VS_SVC_F_SCHED3) != 0, "flag-3");
  }
  out.any =
      config.hash != HashFlags{} ||
      (config.unnamed_flags & (IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | IP_VS_SVC_F_SCHED3)) != 0;
  return out;
}

uint16_t ProtocolOf(const ServiceKey& key) {
  return std::holds_alternative<FwMark>(key.match) ? 0 : static_cast<uint16_t>(key.protocol);
}

// "TCP  192.0.2.1:80", "FWM  7 IPv6"; of rules "-t 192.0.2.1:80", "-f 7 -6".
std::string ServiceName(const ServiceKey& key, const Format& format, const Names& names) {
  const bool rules = format.columns == Columns::kRules;
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    const std::string number =
        format.full ? std::to_string(mark->mark) : std::to_string(static_cast<int32_t>(mark->mark));
    const bool six = mark->family == Family::kIpv6;
    if (rules) return "-f " + number + (six ? " -6" : "");
    return "FWM  " + number + (six ? " IPv6" : "");
  }
  const std::string at = MatchText(key, names);
  const char *option = "-t", *protocol = "TCP";
  if (key.protocol == Protocol::kUdp) option = "-u", protocol = "UDP";
  if (key.protocol == Protocol::kSctp) option = "--sctp-service", protocol = "SCTP";
  if (IsOfAllPorts(key)) protocol = "ALL";
  if (rules) return std::string(option) + " " + at;
  std::string out = Print("%-4s %s", protocol, at.c_str());
  if (VipOf(key)->IsV4() && out.size() > kMaxServiceColumn) out.resize(kMaxServiceColumn);
  return out;
}

std::string Numbers(const Counters& c, bool exact) {
  return Large(c.connections, exact) + Large(c.packets, exact) + Large(c.reply_packets, exact) +
         Large(c.bytes, exact) + Large(c.reply_bytes, exact);
}

std::string RuleOf(const ListedService& listed, const std::string& name) {
  const ServiceConfig& config = listed.service.config;
  std::string out = "-A " + name + " -s " + config.scheduler;
  if (config.persistence) {
    out += " -p " + std::to_string(config.persistence->timeout_seconds) +
           Mask(listed.service.key, *config.persistence, "-M");
  }
  if (!listed.service.engine.empty()) out += " --pe " + listed.service.engine;
  if (config.one_packet) out += " -o";
  if (const SchedulerFlags flags = FlagsOf(config); flags.any) out += " -b " + flags.text;
  return out;
}

std::string ServiceLine(const ListedService& listed, const Format& format, const Names& names) {
  const std::string name = ServiceName(listed.service.key, format, names);
  const ServiceConfig& config = listed.service.config;
  switch (format.columns) {
    case Columns::kRules:
      return RuleOf(listed, name);
    case Columns::kStats:
      return Print("%-33s", name.c_str()) + Numbers(listed.service.counters, format.exact);
    case Columns::kRate: {
      const Rates& r = listed.service.rates;
      return Print("%-33s", name.c_str()) + Numbers({.packets = r.packets,
                                                     .bytes = r.bytes,
                                                     .connections = r.connections,
                                                     .reply_packets = r.reply_packets,
                                                     .reply_bytes = r.reply_bytes},
                                                    format.exact);
    }
    default:
      break;
  }
  std::string out = name + " " + config.scheduler;
  if (const SchedulerFlags flags = FlagsOf(config); flags.any) out += " (" + flags.text + ")";
  if (config.persistence) {
    out += " persistent " + std::to_string(config.persistence->timeout_seconds) +
           Mask(listed.service.key, *config.persistence, "mask");
    if (!listed.service.engine.empty()) out += " pe " + listed.service.engine;
  }
  if (config.one_packet) out += " ops";
  return out;
}

const char* ForwardName(uint32_t method) {
  switch (method) {
    case IP_VS_CONN_F_MASQ:
      return "Masq";
    case IP_VS_CONN_F_LOCALNODE:
      return "Local";
    case IP_VS_CONN_F_TUNNEL:
      return "Tunnel";
    case IP_VS_CONN_F_DROUTE:
      return "Route";
  }
  return "(null)";
}

const char* ForwardOption(uint32_t method) {
  switch (method) {
    case IP_VS_CONN_F_MASQ:
      return "-m";
    case IP_VS_CONN_F_TUNNEL:
      return "-i";
    case IP_VS_CONN_F_LOCALNODE:
    case IP_VS_CONN_F_DROUTE:
      return "-g";
  }
  return "(null)";
}

const char* ChecksumText(const Tunnel& tunnel) {
  return tunnel.remote_checksum ? "r+c" : tunnel.checksum ? "+c" : "-c";
}

const char* ChecksumOption(const Tunnel& tunnel) {
  return tunnel.remote_checksum ? "--tun-remcsum" : tunnel.checksum ? "--tun-csum" : "--tun-nocsum";
}

std::string TunnelInfo(const ipvs::RealEntry& entry) {
  if (entry.kernel_method != IP_VS_CONN_F_TUNNEL) return "n/a";
  const Tunnel& tunnel = entry.real.tunnel;
  switch (tunnel.type) {
    case TunnelType::kIpip:
      return "ipip";
    case TunnelType::kGue:
      return Print("gue:%u:%s", tunnel.port, ChecksumText(tunnel));
    case TunnelType::kGre:
      return std::string("gre:") + ChecksumText(tunnel);
  }
  return "n/a";
}

std::string TunnelOptions(const Tunnel& tunnel) {
  switch (tunnel.type) {
    case TunnelType::kIpip:
      return " --tun-type ipip";
    case TunnelType::kGue:
      return Print(" --tun-type gue --tun-port %u %s", tunnel.port, ChecksumOption(tunnel));
    case TunnelType::kGre:
      return std::string(" --tun-type gre ") + ChecksumOption(tunnel);
  }
  return "";
}

std::string RuleOf(const ipvs::RealEntry& entry, const std::string& service, const std::string& at,
                   bool full) {
  std::string out = "-a " + service + " -r " + at + " " + ForwardOption(entry.kernel_method) +
                    Print(" -w %d", static_cast<int32_t>(entry.real.weight));
  if (entry.kernel_method == IP_VS_CONN_F_TUNNEL) out += TunnelOptions(entry.real.tunnel);
  if (full && entry.real.upper_threshold != 0) {
    out += " -x " + std::to_string(entry.real.upper_threshold);
  }
  if (full && entry.real.lower_threshold != 0) {
    out += " -y " + std::to_string(entry.real.lower_threshold);
  }
  return out;
}

std::string ServerLine(const ListedService& listed, const ipvs::RealEntry& entry,
                       const Format& format, const Names& names) {
  std::string at = EndpointText(entry.real.at, ProtocolOf(listed.service.key), names);
  if (format.columns == Columns::kRules) {
    return RuleOf(entry, ServiceName(listed.service.key, format, names), at, format.full);
  }
  if (entry.real.at.ip.IsV4() && at.size() > kMaxServerColumn) at.resize(kMaxServerColumn);
  std::string begin;
  begin.reserve(80);
  begin += "  -> ";
  AppendLeft(begin, at, kMaxServerColumn);
  const int weight = static_cast<int32_t>(entry.real.weight);
  const unsigned active = entry.active_connections, inactive = entry.inactive_connections;
  switch (format.columns) {
    case Columns::kRules:
      break;
    case Columns::kStats:
      return begin + Numbers(entry.counters, format.exact);
    case Columns::kRate: {
      const Rates& r = entry.rates;
      return begin +
             Print(" %8" PRIu64 " %8" PRIu64 " %8" PRIu64, r.connections, r.packets,
                   r.reply_packets) +
             Large(r.bytes, format.exact) + Large(r.reply_bytes, format.exact);
    }
    case Columns::kThresholds:
      return begin + Print(" %-10u %-10u %-10u %-10u", entry.real.upper_threshold,
                           entry.real.lower_threshold, active, inactive);
    case Columns::kPersistentConn:
      return begin + Print(" %-9d %-11u %-10u %-10u", weight, entry.persistent_connections, active,
                           inactive);
    case Columns::kTunnelInfo:
      return begin + Print(" %-7s %-13s %-6d %-10u %-10u", ForwardName(entry.kernel_method),
                           TunnelInfo(entry).c_str(), weight, active, inactive);
    case Columns::kPlain:
      break;
  }
  // As " %-7s %-6d %-10u %-10u": the line of which there are most, and printf takes its time.
  begin += ' ';
  AppendLeft(begin, ForwardName(entry.kernel_method), 7);
  begin += ' ';
  AppendLeft(begin, weight, 6);
  begin += ' ';
  AppendLeft(begin, active, 10);
  begin += ' ';
  AppendLeft(begin, inactive, 10);
  return begin;
}

}  // namespace

Format FormatOf(const Request& request) {
  Format out{.columns = Columns::kPlain,
             .exact = request.Has(Option::kExact),
             .full = request.extensions.full};
  if (request.action == Action::kSave) {
    out.columns = Columns::kRules;
  } else if (request.Has(Option::kStats)) {
    out.columns = Columns::kStats;
  } else if (request.Has(Option::kRate)) {
    out.columns = Columns::kRate;
  } else if (request.Has(Option::kThresholds)) {
    out.columns = Columns::kThresholds;
  } else if (request.Has(Option::kPersistentConn)) {
    out.columns = Columns::kPersistentConn;
  } else if (request.Has(Option::kTunnelInfo)) {
    out.columns = Columns::kTunnelInfo;
  }
  return out;
}

std::string Title(const Format& format) {
  const char* const name = "Prot LocalAddress:Port";
  const char* const second = "  -> RemoteAddress:Port\n";
  switch (format.columns) {
    case Columns::kRules:
      return "";
    case Columns::kStats:
      return Print("%-33s %8s %8s %8s %8s %8s\n", name, "Conns", "InPkts", "OutPkts", "InBytes",
                   "OutBytes") +
             second;
    case Columns::kRate:
      return Print("%-33s %8s %8s %8s %8s %8s\n", name, "CPS", "InPPS", "OutPPS", "InBPS",
                   "OutBPS") +
             second;
    case Columns::kThresholds:
      return Print("%-33s %-10s %-10s %-10s %-10s\n", name, "Uthreshold", "Lthreshold",
                   "ActiveConn", "InActConn") +
             second;
    case Columns::kPersistentConn:
      return Print("%-33s %-9s %-11s %-10s %-10s\n", name, "Weight", "PersistConn", "ActiveConn",
                   "InActConn") +
             second;
    case Columns::kTunnelInfo:
      return "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn "
             "InActConn\n";
    case Columns::kPlain:
      break;
  }
  return "Prot LocalAddress:Port Scheduler Flags\n"
         "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
}

std::string Services(const Table& table, const Format& format, const Names& names) {
  constexpr size_t kLine = 80;
  size_t lines = table.size();
  for (const ListedService& listed : table) lines += listed.reals.size();
  std::string out;
  out.reserve(lines * kLine);
  for (const ListedService& listed : table) {
    out += ServiceLine(listed, format, names);
    out += '\n';
    for (const ipvs::RealEntry& entry : listed.reals) {
      out += ServerLine(listed, entry, format, names);
      out += '\n';
    }
  }
  return out;
}

std::string TimeoutsLine(const IpvsTimeouts& timeouts) {
  return Print("Timeout (tcp tcpfin udp): %d %d %d\n", static_cast<int>(timeouts.tcp_seconds),
               static_cast<int>(timeouts.tcp_fin_seconds), static_cast<int>(timeouts.udp_seconds));
}

std::string DaemonLines(const std::vector<SyncDaemon>& daemons) {
  std::string out;
  for (const SyncDaemon& daemon : daemons) {
    out += ToString(daemon.role) + " sync daemon (mcast=" + daemon.interface +
           ", syncid=" + std::to_string(daemon.sync_id);
    if (daemon.max_length != 0) out += ", maxlen=" + std::to_string(daemon.max_length);
    out += ", group=" + daemon.group.ToString();
    if (daemon.port != 0) out += ", port=" + std::to_string(daemon.port);
    if (daemon.ttl != 0) out += ", ttl=" + std::to_string(daemon.ttl);
    out += ")\n";
  }
  return out;
}

std::string EndpointText(const Endpoint& at, uint16_t protocol, const Names& names) {
  const std::optional<std::string> name = names.HostName(at.ip);
  const std::string host = name ? *name : at.ip.ToString();
  const std::optional<std::string> port = names.ServiceName(at.port, protocol);
  std::string out = at.ip.IsV4() ? host : "[" + host + "]";
  out += ':';
  out += port ? *port : std::to_string(at.port);
  if (out.size() > kMaxEndpoint) out.resize(kMaxEndpoint);
  return out;
}

std::string MatchText(const ServiceKey& key, const Names& names) {
  const auto protocol = static_cast<uint16_t>(key.protocol);
  if (const auto* one = std::get_if<Endpoint>(&key.match)) {
    return EndpointText(*one, protocol, names);
  }
  const Cidr vips = VipsOf(key).value_or(Cidr::Host({}));
  const std::optional<std::string> name =
      vips.IsHost() ? names.HostName(vips.address) : std::nullopt;
  const std::string host = name ? *name : vips.ShortText();
  const std::string ports = [&] {
    const auto text = [](uint16_t first, uint16_t last) {
      return std::to_string(first) + "-" + std::to_string(last);
    };
    if (const auto* range = std::get_if<PortRange>(&key.match)) {
      return text(range->first, range->last);
    }
    const auto* network = std::get_if<Prefix>(&key.match);
    if (network == nullptr || network->HasAllPorts()) return std::string("all");
    if (network->first != network->last) return text(network->first, network->last);
    const std::optional<std::string> service = names.ServiceName(network->first, protocol);
    return service ? *service : std::to_string(network->first);
  }();
  return (vips.address.IsV4() ? host : "[" + host + "]") + ":" + ports;
}

}  // namespace kube_lvs::cli
