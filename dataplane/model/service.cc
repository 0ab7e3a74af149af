#include "dataplane/model/service.h"

#include <algorithm>
#include <cstdio>

namespace kube_lvs {
namespace {

std::string Hex(uint32_t number) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", number);
  return text;
}

struct Ports {
  uint16_t first, last;
};

Ports PortsOf(const ServiceKey& key) {
  const auto* one = std::get_if<Endpoint>(&key.match);
  if (one != nullptr && one->port != 0) return {one->port, one->port};
  if (const auto* range = std::get_if<PortRange>(&key.match)) return {range->first, range->last};
  return {0, UINT16_MAX};
}

}  // namespace

std::optional<IpAddress> VipOf(const ServiceKey& key) {
  if (const auto* one = std::get_if<Endpoint>(&key.match)) return one->ip;
  if (const auto* range = std::get_if<PortRange>(&key.match)) return range->vip;
  if (const auto* all = std::get_if<AllPorts>(&key.match)) return all->vip;
  return std::nullopt;
}

bool IsOfManyPorts(const ServiceKey& key) {
  return std::holds_alternative<PortRange>(key.match) ||
         std::holds_alternative<AllPorts>(key.match);
}

bool Overlap(const ServiceKey& a, const ServiceKey& b) {
  if (a == b) return true;
  const auto vip = VipOf(a);
  if (!vip.has_value() || a.dataplane != b.dataplane || vip != VipOf(b)) return false;
  const bool all_protocols =
      std::holds_alternative<AllPorts>(a.match) || std::holds_alternative<AllPorts>(b.match);
  const Ports ours = PortsOf(a), theirs = PortsOf(b);
  return (all_protocols || a.protocol == b.protocol) && ours.first <= theirs.last &&
         theirs.first <= ours.last;
}

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

std::string ToString(TunnelType type) {
  switch (type) {
    case TunnelType::kIpip:
      return "IPIP";
    case TunnelType::kGue:
      return "GUE";
    case TunnelType::kGre:
      return "GRE";
  }
  return "tunnel " + std::to_string(static_cast<int>(type));
}

std::string ToString(const Tunnel& tunnel) {
  std::string out = ToString(tunnel.type);
  if (tunnel.port != 0) out += " port " + std::to_string(tunnel.port);
  if (tunnel.checksum) out += " checksum";
  if (tunnel.remote_checksum) out += " remote-checksum";
  return out;
}

std::string ToString(const ServiceKey& key) {
  std::string out = ToString(key.dataplane) + " ";
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    return out + "fwmark " + std::to_string(mark->mark) +
           (mark->family == Family::kIpv4 ? "/IPv4" : "/IPv6");
  }
  if (const auto* all = std::get_if<AllPorts>(&key.match)) {
    return out + (all->vip.IsV4() ? all->vip.ToString() : "[" + all->vip.ToString() + "]") + ":all";
  }
  if (const auto* range = std::get_if<PortRange>(&key.match)) {
    out += Endpoint{range->vip, range->first}.ToString() + "-" + std::to_string(range->last);
  } else {
    out += std::get<Endpoint>(key.match).ToString();
  }
  return out + "/" + ToString(key.protocol);
}

std::string ToString(const ServiceConfig& config) {
  std::string out = config.scheduler;
  if (config.hash.source_port) out += " source-port";
  if (config.hash.fallback) out += " fallback";
  if (config.persistence) {
    out += " persistent " + std::to_string(config.persistence->timeout_seconds) + "s/" +
           (config.persistence->mask_with_holes != 0
                ? IpAddress::FromV4(config.persistence->mask_with_holes).ToString()
                : std::to_string(config.persistence->prefix_length));
    if (!config.persistence->engine.empty()) out += " " + config.persistence->engine;
  }
  if (config.one_packet) out += " one-packet";
  if (config.source_nat) out += " source-nat";
  if (config.unnamed_flags != 0) out += " flags " + Hex(config.unnamed_flags);
  if (config.unreached) out += " unreached";
  return out;
}

std::string ToString(const RealServer& real) {
  std::string out =
      real.at.ToString() + " " + ToString(real.method) + " weight " + std::to_string(real.weight);
  if (real.tunnel != Tunnel{}) out += " by " + ToString(real.tunnel);
  if (real.upper_threshold != 0) out += " upper " + std::to_string(real.upper_threshold);
  if (real.lower_threshold != 0) out += " lower " + std::to_string(real.lower_threshold);
  return out;
}

}  // namespace kube_lvs
