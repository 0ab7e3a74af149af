// Virtual services and real servers: the rules, as plain values, the same for both dataplanes.
// Identity and settings are different structs: a change of identity is a removal and an addition,
// a change of settings is one "set". Pure: no socket, clock, thread or log.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "dataplane/model/schedulers.h"

namespace kube_lvs {

enum class Dataplane : uint8_t { kIpvs, kEbpf };
enum class Protocol : uint8_t { kTcp = 6, kUdp = 17, kSctp = 132 };
enum class ForwardingMethod : uint8_t { kNat, kDirectRouting, kTunnel };
enum class TunnelType : uint8_t { kIpip, kGue, kGre };

// A service found by the packet's mark instead of by address and port (IPVS only).
struct FwMark {
  uint32_t mark = 0;
  Family family = Family::kIpv4;
  auto operator<=>(const FwMark&) const = default;
  bool operator==(const FwMark&) const = default;
};

// Ports `first` to `last` of a VIP, both included. Real servers have port 0: each
// packet keeps its port.
struct PortRange {
  IpAddress vip;
  uint16_t first = 0;
  uint16_t last = 0;
  auto operator<=>(const PortRange&) const = default;
  bool operator==(const PortRange&) const = default;
};

// Every port of a VIP by TCP, UDP and SCTP. Real servers have port 0.
struct AllPorts {
  IpAddress vip;
  auto operator<=>(const AllPorts&) const = default;
  bool operator==(const AllPorts&) const = default;
};

// Every address of a prefix as a VIP, at ports `first` to `last`, both included; 0 to
// 65535 is every port by TCP, UDP and SCTP. Real servers have port 0, but with a single port they
// may have another: then each packet goes to theirs.
struct Prefix {
  Cidr vips;
  uint16_t first = 0;
  uint16_t last = UINT16_MAX;
  bool HasAllPorts() const { return first == 0 && last == UINT16_MAX; }
  auto operator<=>(const Prefix&) const = default;
  bool operator==(const Prefix&) const = default;
};

// Identity of a virtual service. With AllPorts, a Prefix of all ports and FwMark, `protocol` has no
// meaning and stays kTcp.
struct ServiceKey {
  Dataplane dataplane = Dataplane::kEbpf;
  std::variant<Endpoint, PortRange, AllPorts, FwMark, Prefix> match;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const ServiceKey&) const = default;
  bool operator==(const ServiceKey&) const = default;
};

// The address that clients use; nullopt for FwMark. A prefix goes by its first address wherever one
// VIP stands for what is answered, held and elected together: no other VIP overlaps it.
std::optional<IpAddress> VipOf(const ServiceKey& key);
// All addresses that clients use; nullopt for FwMark.
std::optional<Cidr> VipsOf(const ServiceKey& key);
// Whether it is for every port of every protocol.
bool IsOfAllPorts(const ServiceKey& key);
// Whether IPVS, which knows one address and one port, has it by a mark of our own.
bool NeedsMark(const ServiceKey& key);
// Whether a packet can belong to both. A FwMark overlaps nothing but itself.
bool Overlap(const ServiceKey& a, const ServiceKey& b);

struct Persistence {
  uint32_t timeout_seconds = 360;
  int prefix_length = 32;  // of client addresses that stick together
  std::string engine;      // "" is the source address, "sip" the kernel's SIP engine
  // IPVS, IPv4: a netmask that is no prefix, as a number (0xff00ff00 is 255.0.255.0). If it is not
  // 0 it is the mask, and prefix_length is 0.
  uint32_t mask_with_holes = 0;
  bool operator==(const Persistence&) const = default;
};

// Flags of the hash schedulers (sh, mh): ipvsadm's sh-port/mh-port and sh-fallback/mh-fallback.
struct HashFlags {
  bool source_port = false;
  bool fallback = false;
  uint32_t table_size = kMaglevDefaultSize;  // of mh with eBPF: one of kMaglevSizes
  bool operator==(const HashFlags&) const = default;
};

// Settings of a virtual service.
struct ServiceConfig {
  std::string scheduler = "wrr";  // the kernel's name; "none" is a service that schedules nothing
  HashFlags hash;
  std::optional<Persistence> persistence;
  bool one_packet = false;
  // NAT only: also replace the client's address by the director's (DIP), for real servers that do
  // not route replies back through the director.
  bool source_nat = false;
  // IPVS: bits of the kernel's service flags without a name above, as ipvsadm's flag-1 to flag-3
  // (8, 16, 32) for a scheduler that is neither sh nor mh. Nobody desires any; they are here so
  // that what another program set is seen, shown and put right.
  uint32_t unnamed_flags = 0;
  // IPVS, a service by a mark of ours: packets do not reach it, because somebody took away what
  // leads them there. Nobody desires it.
  bool unreached = false;
  bool operator==(const ServiceConfig&) const = default;
};

// How packets to a real server are wrapped, with ForwardingMethod::kTunnel; elsewhere the default.
struct Tunnel {
  TunnelType type = TunnelType::kIpip;
  uint16_t port = 0;             // GUE, which needs one: where the real server listens (UDP)
  bool checksum = false;         // GUE: of the outer UDP header; GRE: of the GRE header
  bool remote_checksum = false;  // GUE: remote checksum offload
  bool operator==(const Tunnel&) const = default;
};

// One real server of a service. Identity is `at`; the rest is settings.
struct RealServer {
  Endpoint at;
  ForwardingMethod method = ForwardingMethod::kNat;
  uint32_t weight = 1;           // 0 quiesces it: no new connections
  uint32_t upper_threshold = 0;  // connections; 0 is none
  uint32_t lower_threshold = 0;  // with an upper one, 0 means three quarters of it
  Tunnel tunnel = {};
  bool operator==(const RealServer&) const = default;
};

// A service's settings and its real servers. The list is ordered: order decides rr, ties and hash
// tables. Canonical order is by (address, port).
struct VirtualService {
  ServiceConfig config;
  std::vector<RealServer> reals;
  bool operator==(const VirtualService&) const = default;
};

using ServiceTable = std::map<ServiceKey, VirtualService>;

// Puts real servers into canonical order.
void SortCanonically(std::vector<RealServer>& reals);

std::string ToString(Dataplane dataplane);      // "IPVS", "eBPF"
std::string ToString(Protocol protocol);        // "tcp"
std::string ToString(ForwardingMethod method);  // "NAT", "DirectRouting", "Tunnel"
std::string ToString(TunnelType type);          // "IPIP", "GUE", "GRE"
std::string ToString(const Tunnel& tunnel);     // "GUE port 6080 checksum"
// "eBPF 192.0.2.1:80/tcp", "IPVS 192.0.2.1:80-89/tcp", "IPVS 192.0.2.1:all", "IPVS fwmark 7/IPv4",
// "IPVS 192.0.2.0/24:80/tcp"
std::string ToString(const ServiceKey& key);
std::string ToString(const ServiceConfig& config);  // "wrr source-nat"
std::string ToString(const RealServer& real);       // "10.0.0.1:8080 NAT weight 3"

}  // namespace kube_lvs
