// Everything that kube-lvs sets up on one node: the services, and the node items that their
// forwarding methods need. The same type says what is desired and what is there.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "dataplane/model/ipvs_settings.h"
#include "dataplane/model/service.h"

namespace kube_lvs {

// The VIPs of an item: of its prefix, or its VIP alone where `prefix_length` is 0.
inline Cidr VipsFrom(const IpAddress& vip, int prefix_length) {
  return prefix_length == 0 ? Cidr::Host(vip) : Cidr{vip, prefix_length};
}

// Node items. Each is its own identity: a change is an addition and a removal. Who applies it is
// named behind each. Their order in NodeItem is the order in which they are added.

// A sysctl held at a value; removal puts back what was there before us. Host.
struct Sysctl {
  std::string name;  // path below /proc/sys: "net/ipv4/conf/all/arp_ignore"
  std::string value;
  auto operator<=>(const Sysctl&) const = default;
  bool operator==(const Sysctl&) const = default;
};

// What this node itself, and what lives on it behind other interfaces, sends to VIPs passes no
// interface of Attachment. So it is routed into a pair of devices of ours: in at kLocalLink, out at
// kLocalLinkFar, where our programs take it as any client's.
inline constexpr char kLocalLink[] = "kube-lvs0";
inline constexpr char kLocalLinkFar[] = "kube-lvs1";

// The source address, by family, that a real server which is an address of this node sees with
// source NAT: routed into the pair, so that its replies come out at kLocalLinkFar. It leaves no
// node, so each has the same.
IpAddress LocalLinkSource(Family family);

// That pair of devices. `mtu` is that of IP packets; 0, only as read: there, but not as we made it.
// Host.
struct LocalLink {
  uint32_t mtu = 0;
  auto operator<=>(const LocalLink&) const = default;
  bool operator==(const LocalLink&) const = default;
};

// Our programs on an interface: on a director where clients and real servers are reached, on a
// real server where encapsulated packets arrive. eBPF.
struct Attachment {
  std::string interface;
  auto operator<=>(const Attachment&) const = default;
  bool operator==(const Attachment&) const = default;
};

// A director whose packets for `vip` this real server takes off their outer header. eBPF.
struct TunnelPeer {
  IpAddress director;
  IpAddress vip;
  int prefix_length = 0;  // as of a SilentVip
  Endpoint gue = {};      // where they come by GUE (UDP), at this real server; port 0: by IPIP
  Cidr Vips() const { return VipsFrom(vip, prefix_length); }
  auto operator<=>(const TunnelPeer&) const = default;
  bool operator==(const TunnelPeer&) const = default;
};

// The largest TCP segment that this real server may offer in a SYN-ACK from `vip`, so that what
// clients send still fits with the outer header. eBPF.
struct MssClamp {
  IpAddress vip;
  uint16_t mss = 0;
  int prefix_length = 0;  // as of a SilentVip
  Cidr Vips() const { return VipsFrom(vip, prefix_length); }
  auto operator<=>(const MssClamp&) const = default;
  bool operator==(const MssClamp&) const = default;
};

// VIP/32 (or /128) on lo of a real server, never answered for by ARP: the sysctls that keep it
// silent come before it. A prefix of VIPs is a local route there. Host.
struct SilentVip {
  IpAddress vip;
  int prefix_length = 0;  // of VIPs that begin at `vip`; 0: that one alone
  Cidr Vips() const { return VipsFrom(vip, prefix_length); }
  auto operator<=>(const SilentVip&) const = default;
  bool operator==(const SilentVip&) const = default;
};

// Source NAT for connections that IPVS forwards to `vip` by NAT. Host (nftables).
struct Masquerade {
  Endpoint vip;  // port 0: every port by every protocol, and `protocol` stays kTcp
  Protocol protocol = Protocol::kTcp;
  uint16_t last_port = 0;  // of a range that begins at vip.port; 0: that port alone
  int prefix_length = 0;   // as of a SilentVip
  auto operator<=>(const Masquerade&) const = default;
  bool operator==(const Masquerade&) const = default;
};

// This node answers ARP (NDP) for the VIP on `interface`: it is the active director. With IPVS the
// host puts the address there (of a prefix of VIPs, a local route, which of IPv6 nobody answers
// for); with eBPF our program answers and the VIP sits on no interface. Both announce it by
// gratuitous ARP when added.
struct AnsweredVip {
  Dataplane dataplane = Dataplane::kEbpf;
  IpAddress vip;
  std::string interface;
  int prefix_length = 0;  // as of a SilentVip
  Cidr Vips() const { return VipsFrom(vip, prefix_length); }
  auto operator<=>(const AnsweredVip&) const = default;
  bool operator==(const AnsweredVip&) const = default;
};

// This node's own packets for the VIP go into the LocalLink; those that name no address of their
// own come from `source`, an address of this node where replies reach it. Host.
struct LocalVip {
  IpAddress vip;
  IpAddress source;
  int prefix_length = 0;  // as of a SilentVip
  Cidr Vips() const { return VipsFrom(vip, prefix_length); }
  auto operator<=>(const LocalVip&) const = default;
  bool operator==(const LocalVip&) const = default;
};

// So long connections of one kind are remembered without a packet, whichever service they are of;
// removal puts back what was there before us. IPVS, eBPF.
enum class ConnectionKind : uint8_t { kTcp, kTcpFin, kUdp };  // established; after a FIN; UDP
struct ConnectionTimeout {
  Dataplane dataplane = Dataplane::kEbpf;
  ConnectionKind kind = ConnectionKind::kTcp;
  uint32_t seconds = 0;
  auto operator<=>(const ConnectionTimeout&) const = default;
  bool operator==(const ConnectionTimeout&) const = default;
};

// What both dataplanes begin with (net/netfilter/ipvs/ip_vs_proto_{tcp,udp}.c, Linux 6.12).
uint32_t DefaultSeconds(ConnectionKind kind);
std::string ToString(ConnectionKind kind);  // "tcp", "tcpfin", "udp"

// A SyncDaemon (IPVS) is an item too: one of each role, which copies connections between directors.
// Its max_length is 0: the kernel chooses it.
using NodeItem = std::variant<Sysctl, LocalLink, Attachment, TunnelPeer, MssClamp, SilentVip,
                              Masquerade, SyncDaemon, ConnectionTimeout, AnsweredVip, LocalVip>;

struct State {
  ServiceTable services;
  std::set<NodeItem> items;
  bool operator==(const State&) const = default;
};

std::string ToString(const NodeItem& item);

// What the kernel counted. 64 bit, since the object was made.
struct Counters {
  uint64_t packets = 0;  // from clients
  uint64_t bytes = 0;
  uint64_t connections = 0;
  uint64_t reply_packets = 0;  // to clients; only NAT's pass a director
  uint64_t reply_bytes = 0;
  bool operator==(const Counters&) const = default;
};

// What passes in a second now, as the kernel estimates it (IPVS; 0 with run_estimation=0).
struct Rates {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t connections = 0;
  uint64_t reply_packets = 0;
  uint64_t reply_bytes = 0;
  bool operator==(const Rates&) const = default;
};

struct RealServerStats {
  Counters counters;
  uint32_t weight = 0;
  uint64_t active_connections = 0;
  uint64_t inactive_connections = 0;
  uint64_t persistent_connections = 0;  // eBPF: clients, or prefixes of them, that stay with it
  bool operator==(const RealServerStats&) const = default;
};

struct Stats {
  std::map<ServiceKey, Counters> services;
  std::map<std::pair<ServiceKey, Endpoint>, RealServerStats> reals;
  std::map<std::string, uint64_t> drops;  // by reason
  // Packets for a service by a mark of ours that carried another program's mark, which ours
  // replaced.
  uint64_t replaced_marks = 0;
};

}  // namespace kube_lvs
