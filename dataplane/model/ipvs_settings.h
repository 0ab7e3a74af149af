// What the kernel's IPVS has once for a network namespace, besides its services: timeouts and the
// daemons that copy connections between directors. Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/ip.h"

namespace kube_lvs {

// Seconds without a packet after which a connection is forgotten. 0 leaves that one as it is.
struct IpvsTimeouts {
  uint32_t tcp_seconds = 0;      // established
  uint32_t tcp_fin_seconds = 0;  // after a FIN
  uint32_t udp_seconds = 0;
  bool operator==(const IpvsTimeouts&) const = default;
};

enum class SyncRole : uint8_t { kMaster = 1, kBackup = 2 };

// A daemon that sends this director's connections (master) or takes another's (backup). One of each
// may run. The defaults are the kernel's.
struct SyncDaemon {
  SyncRole role = SyncRole::kMaster;
  std::string interface;    // sends or listens there
  uint32_t sync_id = 0;     // 0 to 255; a backup with 0 takes what any master sends
  uint16_t max_length = 0;  // of a datagram's payload; 0: what the kernel takes for the interface
  IpAddress group = {.family = Family::kIpv4, .bytes = {224, 0, 0, 81}};
  uint16_t port = 8848;
  uint8_t ttl = 1;
  auto operator<=>(const SyncDaemon&) const = default;
  bool operator==(const SyncDaemon&) const = default;
};

// Whether the daemon that is there is the one wanted: equal, and where the kernel chose the length,
// whatever it chose.
bool Satisfies(const SyncDaemon& there, const SyncDaemon& wanted);

std::string ToString(const IpvsTimeouts& timeouts);  // "tcp 900 s, tcpfin 120 s, udp 300 s"
std::string ToString(SyncRole role);                 // "master"
std::string ToString(const SyncDaemon& daemon);      // "master on eth0, sync id 7, 224.0.0.81:8848"

}  // namespace kube_lvs
