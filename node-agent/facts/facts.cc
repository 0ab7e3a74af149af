#include "node-agent/facts/facts.h"

#include <fnmatch.h>

#include <algorithm>
#include <bit>
#include <utility>

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

// The interfaces, each once, of the longest of the routes that fit, of the lowest metric.
template <typename Fits>
std::vector<const InterfaceFacts*> LegsOfBest(const NodeFacts& facts, Fits fits) {
  const auto rank = [](const RouteFacts& route) {
    return std::pair(-route.destination.length, route.metric);
  };
  const RouteFacts* best = nullptr;
  for (const RouteFacts& route : facts.routes) {
    if (fits(route) && (best == nullptr || rank(route) < rank(*best))) best = &route;
  }
  std::vector<const InterfaceFacts*> legs;
  for (const RouteFacts& route : facts.routes) {
    if (!fits(route) || rank(route) != rank(*best)) continue;
    const InterfaceFacts* leg = Find(facts, route.interface);
    if (leg != nullptr && std::ranges::find(legs, leg) == legs.end()) legs.push_back(leg);
  }
  return legs;
}

// How many bits of two addresses of one family are the same, from the first on.
int EqualBits(const IpAddress& a, const IpAddress& b) {
  for (size_t i = 0; i < a.Size(); ++i) {
    const auto differing = static_cast<uint8_t>(a.bytes[i] ^ b.bytes[i]);
    if (differing != 0) return static_cast<int>(i) * 8 + std::countl_zero(differing);
  }
  return a.Bits();
}

}  // namespace

std::vector<const InterfaceFacts*> InterfacesTowards(const NodeFacts& facts, const IpAddress& to) {
  for (const auto& [name, interface] : facts.interfaces) {
    for (const auto& address : interface.addresses) {
      if (address.ip != to) continue;
      const InterfaceFacts* loopback = Find(facts, "lo");
      if (loopback == nullptr) return {};
      return {loopback};
    }
  }
  return LegsOfBest(facts, [&to](const RouteFacts& route) {
    return route.destination.address.family == to.family && route.destination.Contains(to);
  });
}

std::vector<const InterfaceFacts*> DefaultRouteInterfaces(const NodeFacts& facts, Family family) {
  return LegsOfBest(facts, [family](const RouteFacts& route) {
    return route.destination.address.family == family && route.destination.length == 0;
  });
}

bool HasSubnetOf(const InterfaceFacts& interface, const IpAddress& ip) {
  return std::any_of(interface.addresses.begin(), interface.addresses.end(),
                     [&ip](const InterfaceFacts::Address& address) {
                       if (address.ip.family != ip.family) return false;
                       if (address.prefix_length >= ip.Bits()) return false;
                       return EqualBits(address.ip, ip) >= address.prefix_length;
                     });
}

std::set<IpAddress> OwnAddresses(const NodeFacts& facts) {
  std::set<IpAddress> all;
  for (const auto& [name, interface] : facts.interfaces) {
    for (const auto& address : interface.addresses) all.insert(address.ip);
  }
  return all;
}

std::optional<IpAddress> UsableAddress(const InterfaceFacts& interface, Family family) {
  for (const auto& address : interface.addresses) {
    if (address.ip.family == family && UsableByPeers(interface, address)) return address.ip;
  }
  return std::nullopt;
}

std::optional<IpAddress> PreferredAddress(const NodeFacts& facts) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const InterfaceFacts* uplink : DefaultRouteInterfaces(facts, family)) {
      if (const auto address = UsableAddress(*uplink, family)) return address;
    }
  }
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const auto& [name, interface] : facts.interfaces) {
      if (const auto address = UsableAddress(interface, family)) return address;
    }
  }
  return std::nullopt;
}

bool MatchesGlob(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

}  // namespace kube_lvs
