// The kernel's IPVS for tests: takes the same bytes, checks them as the kernel's policies and
// ip_vs_ctl.c do, and answers with the same error numbers and the same attributes in the same
// order. The channel's contract suite runs on it and on real kernels.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/ip.h"
#include "dataplane/ipvs/channel.h"
#include "dataplane/ipvs/statistics.h"
#include "dataplane/model/ipvs_settings.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ipvs {

class FakeKernel final : public Channel {
 public:
  absl::StatusOr<std::vector<int>> Send(std::span<const Bytes> requests) override;
  absl::StatusOr<Messages> Dump(const Bytes& request) override;
  absl::StatusOr<Bytes> Ask(const Bytes& request) override;

  // /proc/net/ip_vs, on a machine with 250 ticks in a second.
  std::string Show() const;

  uint64_t changes_sent() const { return changes_sent_; }
  // The command of each request sent, in order.
  const std::vector<uint8_t>& commands() const { return commands_; }

  // Schedulers and persistence engines that this kernel has, and whether it has IPVS at all.
  std::set<std::string> schedulers = {"rr",    "wrr", "lc", "wlc", "fo",  "ovf", "lblc",
                                      "lblcr", "dh",  "sh", "mh",  "sed", "nq"};
  std::set<std::string> engines = {"sip"};
  std::set<std::string> interfaces = {"lo", "eth0"};  // with addresses, and an MTU of 1500
  bool has_ipvs = true;
  bool has_ipv6 = true;
  // What older kernels lack: tunnels other than IPIP (before 5.2), 64-bit statistics (before 4.1).
  bool knows_tunnels = true;
  bool knows_wide_statistics = true;

  // Asked before each request that changes something; an errno makes it fail with that.
  std::function<int(const Bytes&)> fault;

  // As if packets had come: what the counters of a real server, and of its service, say.
  void Count(const ServiceKey& key, const Endpoint& at, const Counters& counters, uint32_t active,
             uint32_t inactive, const Rates& rates = {});

 private:
  using Address = std::array<uint8_t, 16>;
  // Family, mark, protocol, address, port: of which a mark excludes the last three.
  using Key = std::tuple<uint16_t, uint32_t, uint16_t, Address, uint16_t>;

  struct Real {
    uint16_t family = 0;
    Address address = {};
    uint16_t port = 0;
    uint32_t method = 0, weight = 0, upper = 0, lower = 0;
    uint8_t tunnel_type = 0;
    uint16_t tunnel_port = 0, tunnel_flags = 0;
    uint32_t active = 0, inactive = 0;
    Statistics statistics;
  };
  struct Service {
    std::string scheduler, engine;
    uint32_t flags = 0, timeout = 0, netmask = 0;
    Statistics statistics;
    std::deque<Real> reals;  // newest first
  };
  struct ServiceRequest;
  struct RealRequest;

  int Handle(const Bytes& request);
  int HandleService(uint8_t command, const ServiceRequest& request);
  int HandleReal(uint8_t command, Service& service, uint16_t family, const RealRequest& request);
  int ParseService(ByteView nested, bool full, ServiceRequest& out) const;
  int ParseReal(ByteView nested, bool full, RealRequest& out) const;
  int CheckScheduler(const ServiceRequest& request) const;
  int SetConfig(ByteView attributes);
  int HandleDaemon(uint8_t command, ByteView attributes);
  int StartDaemon(const SyncDaemon& wanted, uint32_t state);
  static void Zero(Service& service);
  bool AnyMixed() const;  // a real server of another IP family than its service
  Bytes Encode(const Key& key, const Service& service) const;
  Bytes Encode(const Real& real) const;
  static Bytes Encode(const SyncDaemon& daemon);
  static Key KeyOf(const ServiceKey& key);

  std::map<Key, Service> services_;
  std::map<SyncRole, SyncDaemon> daemons_;
  IpvsTimeouts timeouts_ = {.tcp_seconds = 900, .tcp_fin_seconds = 120, .udp_seconds = 300};
  std::vector<uint8_t> commands_;
  uint64_t changes_sent_ = 0;
};

}  // namespace kube_lvs::ipvs
