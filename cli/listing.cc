#include "cli/listing.h"

#include <cinttypes>
#include <cstdio>

namespace kube_lvs::cli {
namespace {

std::string Upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

// " mask 255.255.255.0", " mask 64"; nothing for a whole address.
std::string MaskText(const ServiceKey& key, int prefix_length) {
  const auto* mark = std::get_if<FwMark>(&key.match);
  const Family family = mark != nullptr ? mark->family : std::get<Endpoint>(key.match).ip.family;
  if (prefix_length == (family == Family::kIpv4 ? 32 : 128)) return "";
  if (family == Family::kIpv6) return " mask " + std::to_string(prefix_length);
  const uint32_t mask = prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length);
  return " mask " + IpAddress::FromV4(mask).ToString();
}

std::string ServiceLine(const ServiceKey& key, const ServiceConfig& config) {
  std::string line;
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    line = "FWM  " + std::to_string(mark->mark) + (mark->family == Family::kIpv6 ? " IPv6" : "");
  } else {
    std::string protocol = Upper(ToString(key.protocol));
    protocol.resize(4, ' ');
    line = protocol + " " + std::get<Endpoint>(key.match).ToString();
  }
  line += " " + config.scheduler;
  const bool hashes = config.scheduler == "mh" || config.scheduler == "sh";
  std::string flags;
  if (hashes && config.hash.fallback) flags += config.scheduler + "-fallback";
  if (hashes && config.hash.source_port) {
    flags += (flags.empty() ? "" : ",") + config.scheduler + "-port";
  }
  if (!flags.empty()) line += " (" + flags + ")";
  if (config.persistence) {
    line += " persistent " + std::to_string(config.persistence->timeout_seconds) +
            MaskText(key, config.persistence->prefix_length);
    if (!config.persistence->engine.empty()) line += " pe " + config.persistence->engine;
  }
  if (config.one_packet) line += " ops";
  return line;
}

const char* ForwardName(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kNat:
      return "Masq";
    case ForwardingMethod::kDirectRouting:
      return "Route";
    case ForwardingMethod::kTunnel:
      return "Tunnel";
  }
  return "?";
}

}  // namespace

std::string Listing(const std::string& heading, const ServiceTable& services, const Stats& stats) {
  std::string out = heading +
                    "\nProt LocalAddress:Port Scheduler Flags\n"
                    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
  for (const auto& [key, service] : services) {
    out += ServiceLine(key, service.config) + "\n";
    for (const RealServer& real : service.reals) {
      const auto found = stats.reals.find({key, real.at});
      const RealServerStats counted =
          found == stats.reals.end() ? RealServerStats{} : found->second;
      char line[160];
      std::snprintf(line, sizeof(line), "  -> %-28s %-7s %-6u %-10" PRIu64 " %-10" PRIu64 "\n",
                    real.at.ToString().c_str(), ForwardName(real.method), real.weight,
                    counted.active_connections, counted.inactive_connections);
      out += line;
    }
  }
  return out;
}

}  // namespace kube_lvs::cli
