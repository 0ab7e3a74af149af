// What a command line asks for, in the kernel's own terms: nothing is checked beyond what ipvsadm
// checks, so that the kernel refuses what it refuses ipvsadm, with the same error.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/ip.h"
#include "dataplane/model/ipvs_settings.h"
#include "dataplane/model/service.h"

namespace kube_lvs::cli {

enum class Action : uint8_t {
  kAddService,
  kEditService,
  kDeleteService,
  kFlush,
  kList,
  kAddServer,
  kDeleteServer,
  kEditServer,
  kSetTimeouts,
  kStartDaemon,
  kStopDaemon,
  kRestore,
  kSave,
  kZero,
};

// ipvsadm's options, in the order in which it checks them.
enum class Option : uint8_t {
  kNumeric,
  kConnection,
  kService,
  kScheduler,
  kPersistent,
  kNetmask,
  kServer,
  kForward,
  kWeight,
  kUpperThreshold,
  kLowerThreshold,
  kMcastInterface,
  kTimeout,
  kDaemon,
  kStats,
  kRate,
  kThresholds,
  kPersistentConn,
  kNoSort,
  kSyncId,
  kExact,
  kOnePacket,
  kEngine,
  kSchedulerFlags,
  kMcastGroup,
  kMcastPort,
  kMcastTtl,
  kSyncMaxLength,
  kTunnelInfo,
  kTunnelType,
  kTunnelPort,
  kTunnelNoChecksum,
  kTunnelChecksum,
  kTunnelRemoteChecksum,
};
inline constexpr int kOptions = 34;

// An address of the kernel's union nf_inet_addr: no family, AF_INET or AF_INET6.
struct Address {
  uint16_t family = 0;
  std::array<uint8_t, 16> bytes = {};
  bool operator==(const Address&) const = default;
};

struct ServiceArgument {
  Address address;
  uint16_t port = 0;      // host order
  uint16_t protocol = 0;  // IPPROTO_...
  uint32_t mark = 0;      // 0: none, address and port count
  std::string scheduler;
  std::string engine;
  uint32_t flags = 0;               // IP_VS_SVC_F_...
  uint32_t table_size = kMaglevDefaultSize;
  uint32_t timeout_seconds = 0;     // of persistence
  uint32_t netmask = ~uint32_t{0};  // IPv4: a mask in network order; IPv6: a prefix length
  bool operator==(const ServiceArgument&) const = default;
};

struct ServerArgument {
  Address address;
  uint16_t port = 0;
  uint32_t method = 0;  // IP_VS_CONN_F_...
  uint32_t weight = 1;
  uint32_t upper_threshold = 0, lower_threshold = 0;
  uint8_t tunnel_type = 0;
  uint16_t tunnel_port = 0, tunnel_flags = 0;
  bool operator==(const ServerArgument&) const = default;
};

struct DaemonArgument {
  SyncRole role = SyncRole::kMaster;
  std::string interface;
  uint32_t sync_id = 0;
  uint16_t max_length = 0, port = 0;  // 0: the kernel's own
  uint8_t ttl = 0;
  Address group;
  bool operator==(const DaemonArgument&) const = default;
};

// What lvsadm has and ipvsadm has not.
struct Extensions {
  bool ipvs = true, ebpf = true;  // which dataplanes to list
  bool dataplane_given = false;
  bool json = false;
  bool full = false;           // -S: also what ipvsadm -S leaves out
  double watch_seconds = 0.0;  // 0: once
  std::string trace;           // the packet to trace; empty: none
  bool drops = false;
  std::optional<double> drop_seconds;  // without: until the user ends it
  std::string bpf_dir = "/sys/fs/bpf/kube-lvs";
  std::string state_dir = "/var/lib/kube-lvs";
  bool operator==(const Extensions&) const = default;
};

struct Request {
  Action action = Action::kList;
  uint64_t given = 0;  // bits: 1 << Option
  ServiceArgument service;
  ServerArgument server;
  IpvsTimeouts timeouts;
  DaemonArgument daemon;
  Extensions extensions;

  bool Has(Option option) const { return (given >> static_cast<int>(option) & 1) != 0; }
  bool operator==(const Request&) const = default;
};

// Whether it changes the kernel's IPVS.
inline bool IsChange(Action action) {
  return action != Action::kList && action != Action::kSave && action != Action::kRestore;
}

}  // namespace kube_lvs::cli
