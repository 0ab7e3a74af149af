#include "dataplane/model/service.h"

#include <algorithm>

namespace kube_lvs {

void SortCanonically(std::vector<RealServer>& reals) {
  std::ranges::sort(reals, {}, &RealServer::at);
}

std::string ToString(Dataplane dataplane) {
  return dataplane == Dataplane::kIpvs ? "IPVS" : "eBPF";
}

std::string ToString(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "tcp";
    case Protocol::kUdp:
      return "udp";
    case Protocol::kSctp:
      return "sctp";
  }
  return "protocol " + std::to_string(static_cast<int>(protocol));
}

std::string ToString(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kNat:
      return "NAT";
    case ForwardingMethod::kDirectRouting:
      return "DirectRouting";
    case ForwardingMethod::kTunnel:
      return "Tunnel";
  }
  return "method " + std::to_string(static_cast<int>(method));
}

std::string ToString(const ServiceKey& key) {
  std::string out = ToString(key.dataplane) + " ";
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    return out + "fwmark " + std::to_string(mark->mark) +
           (mark->family == Family::kIpv4 ? "/IPv4" : "/IPv6");
  }
  return out + std::get<Endpoint>(key.match).ToString() + "/" + ToString(key.protocol);
}

std::string ToString(const ServiceConfig& config) {
  std::string out = config.scheduler;
  if (config.hash.source_port) out += " source-port";
  if (config.hash.fallback) out += " fallback";
  if (config.persistence) {
    out += " persistent " + std::to_string(config.persistence->timeout_seconds) + "s/" +
           std::to_string(config.persistence->prefix_length);
    if (!config.persistence->engine.empty()) out += " " + config.persistence->engine;
  }
  if (config.one_packet) out += " one-packet";
  if (config.source_nat) out += " source-nat";
  return out;
}

std::string ToString(const RealServer& real) {
  std::string out =
      real.at.ToString() + " " + ToString(real.method) + " weight " + std::to_string(real.weight);
  if (real.upper_threshold != 0) out += " upper " + std::to_string(real.upper_threshold);
  if (real.lower_threshold != 0) out += " lower " + std::to_string(real.lower_threshold);
  return out;
}

}  // namespace kube_lvs
