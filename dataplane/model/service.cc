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
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) return {prefix->first, prefix->last};
  return {0, UINT16_MAX};
}

std::string Host(const Cidr& vips) {
  return vips.address.IsV4() ? vips.ShortText() : "[" + vips.ShortText() + "]";
}

}  // namespace

std::optional<IpAddress> VipOf(const ServiceKey& key) {
  if (const auto* one = std::get_if<Endpoint>(&key.match)) return one->ip;
  const auto vips = VipsOf(key);
  return vips ? std::optional(vips->address) : std::nullopt;
}

std::optional<Cidr> VipsOf(const ServiceKey& key) {
  if (const auto* one = std::get_if<Endpoint>(&key.match)) return Cidr::Host(one->ip);
  if (const auto* range = std::get_if<PortRange>(&key.match)) return Cidr::Host(range->vip);
  if (const auto* all = std::get_if<AllPorts>(&key.match)) return Cidr::Host(all->vip);
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) return prefix->vips;
  return std::nullopt;
}

bool IsOfAllPorts(const ServiceKey& key) {
  const auto* prefix = std::get_if<Prefix>(&key.match);
  return std::holds_alternative<AllPorts>(key.match) ||
         (prefix != nullptr && prefix->HasAllPorts());
}

bool NeedsMark(const ServiceKey& key) {
  return std::holds_alternative<PortRange>(key.match) ||
         std::holds_alternative<AllPorts>(key.match) || std::holds_alternative<Prefix>(key.match);
}

bool Overlap(const ServiceKey& a, const ServiceKey& b) {
  if (a == b) return true;
  const auto vips = VipsOf(a), others = VipsOf(b);
  if (!vips || !others || a.dataplane != b.dataplane || !vips->Overlaps(*others)) return false;
  const Ports ours = PortsOf(a), theirs = PortsOf(b);
  return (IsOfAllPorts(a) || IsOfAllPorts(b) || a.protocol == b.protocol) &&
         ours.first <= theirs.last && theirs.first <= ours.last;
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
  if (const auto* one = std::get_if<Endpoint>(&key.match)) {
    return out + one->ToString() + "/" + ToString(key.protocol);
  }
  out += Host(*VipsOf(key)) + ":";
  if (IsOfAllPorts(key)) return out + "all";
  const Ports ports = PortsOf(key);
  out += std::to_string(ports.first);
  if (ports.last != ports.first || std::holds_alternative<PortRange>(key.match)) {
    out += "-" + std::to_string(ports.last);
  }
  return out + "/" + ToString(key.protocol);
}

std::string ToString(const ServiceConfig& config) {
  std::string out = config.scheduler;
  if (config.hash.source_port) out += " source-port";
  if (config.hash.fallback) out += " fallback";
  if (config.hash.table_size != kMaglevDefaultSize) {
    out += " table " + std::to_string(config.hash.table_size);
  }
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
