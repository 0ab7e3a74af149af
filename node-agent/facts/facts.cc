#include "node-agent/facts/facts.h"

#include <fnmatch.h>

namespace kube_lvs {
namespace {

bool UsableByPeers(const InterfaceFacts& interface, const InterfaceFacts::Address& address) {
  if (interface.loopback || address.prefix_length >= address.ip.Bits()) return false;
  if (address.ip.IsV4()) return address.ip.V4() >> 16 != 0xa9fe;                  // 169.254.0.0/16
  return !(address.ip.bytes[0] == 0xfe && (address.ip.bytes[1] & 0xc0) == 0x80);  // fe80::/10
}

const InterfaceFacts* Find(const NodeFacts& facts, const std::string& name) {
  const auto it = facts.interfaces.find(name);
  return it == facts.interfaces.end() ? nullptr : &it->second;
}

std::optional<IpAddress> FirstUsable(const InterfaceFacts& interface, Family family) {
  for (const auto& address : interface.addresses) {
    if (address.ip.family == family && UsableByPeers(interface, address)) return address.ip;
  }
  return std::nullopt;
}

}  // namespace

const InterfaceFacts* InterfaceTowards(const NodeFacts& facts, const IpAddress& to) {
  for (const auto& [name, interface] : facts.interfaces) {
    for (const auto& address : interface.addresses) {
      if (address.ip == to) return Find(facts, "lo");
    }
  }
  const RouteFacts* best = nullptr;
  for (const RouteFacts& route : facts.routes) {
    if (route.destination.address.family != to.family || !route.destination.Contains(to)) continue;
    if (best == nullptr || route.destination.length > best->destination.length ||
        (route.destination.length == best->destination.length && route.metric < best->metric)) {
      best = &route;
    }
  }
  return best == nullptr ? nullptr : Find(facts, best->interface);
}

const InterfaceFacts* DefaultRouteInterface(const NodeFacts& facts, Family family) {
  const RouteFacts* best = nullptr;
  for (const RouteFacts& route : facts.routes) {
    if (route.destination.address.family != family || route.destination.length != 0) continue;
    if (best == nullptr || route.metric < best->metric) best = &route;
  }
  return best == nullptr ? nullptr : Find(facts, best->interface);
}

std::set<IpAddress> OwnAddresses(const NodeFacts& facts) {
  std::set<IpAddress> all;
  for (const auto& [name, interface] : facts.interfaces) {
    for (const auto& address : interface.addresses) all.insert(address.ip);
  }
  return all;
}

std::optional<IpAddress> PreferredAddress(const NodeFacts& facts) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    if (const InterfaceFacts* uplink = DefaultRouteInterface(facts, family)) {
      if (const auto address = FirstUsable(*uplink, family)) return address;
    }
  }
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const auto& [name, interface] : facts.interfaces) {
      if (const auto address = FirstUsable(interface, family)) return address;
    }
  }
  return std::nullopt;
}

bool MatchesGlob(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

}  // namespace kube_lvs
