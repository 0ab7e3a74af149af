// What this node is, as far as the rules depend on it: one plain value, read anew for each pass.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.h"

namespace kube_lvs {

struct InterfaceFacts {
  struct Address {
    IpAddress ip;
    int prefix_length = 0;
    bool operator==(const Address&) const = default;
  };
  std::string name;
  uint32_t index = 0;
  MacAddress mac;
  uint32_t mtu = 0;
  bool up = false;
  bool loopback = false;
  std::string kind;  // "veth", "bridge", ...; empty for a real NIC
  std::string
      master_kind;  // of what it is part of: "bridge", "bond", "vrf", ...; empty if of nothing
  // By what its packets come and go: the ports of a bond, bridge or vrf, the parent of a VLAN.
  std::set<std::string> below = {};
  std::vector<Address> addresses;
  bool operator==(const InterfaceFacts&) const = default;
};

// A leg of a unicast route of the main table. Those of a multipath route have the same destination
// and metric.
struct RouteFacts {
  Cidr destination;
  uint32_t metric = 0;
  std::string interface;
  std::optional<IpAddress> gateway;
  bool operator==(const RouteFacts&) const = default;
};

struct NodeFacts {
  std::string node_name;
  std::optional<IpAddress> node_address;  // where peers reach us, as told or PreferredAddress
  std::string kernel_release;             // "6.1.0-56-cloud-amd64"
  bool has_btf = false;                   // the kernel describes its types: our programs can load
  bool has_ipvs = false;                  // ip_vs is loaded in this kernel
  std::map<std::string, InterfaceFacts> interfaces;  // by name
  std::vector<RouteFacts> routes;
  // First and last of the ports that the kernel gives connections of the node itself, of both
  // families (net.ipv4.ip_local_port_range); nullopt: not known.
  std::optional<std::pair<uint16_t, uint16_t>> local_ports;
  std::string reserved_ports;  // net.ipv4.ip_local_reserved_ports: "8080,30000-32767"
  bool operator==(const NodeFacts&) const = default;
};

// Where packets to `to` leave: "lo" if the address is our own, else all legs of the longest route
// of the lowest metric, each once. Empty: no route. Policy routing is not looked at. Answers come
// in by any of them.
std::vector<const InterfaceFacts*> InterfacesTowards(const NodeFacts& facts, const IpAddress& to);

// Those of the default route of that family, each once; empty if there is none.
std::vector<const InterfaceFacts*> DefaultRouteInterfaces(const NodeFacts& facts, Family family);

// Whether `ip` is in the subnet of one of its addresses; a host address (a VIP) has none.
bool HasSubnetOf(const InterfaceFacts& interface, const IpAddress& ip);

// All addresses of the node, VIPs that sit on it included.
std::set<IpAddress> OwnAddresses(const NodeFacts& facts);

// The interface's first address of that family that is neither a host address (as VIPs are) nor of
// loopback or link-local scope.
std::optional<IpAddress> UsableAddress(const InterfaceFacts& interface, Family family);

// The first IPv4 (else IPv6) address of an interface with the default route, else of any, that is
// neither a host address (as VIPs are) nor of loopback or link-local scope.
std::optional<IpAddress> PreferredAddress(const NodeFacts& facts);

// Whether `name` matches the shell pattern ("eth*").
bool MatchesGlob(const std::string& pattern, const std::string& name);

}  // namespace kube_lvs
