// Between the model and the records of abi.h, both ways. Pure. The records are the only copy: what
// Read() reports is decoded from them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ebpf {

// Host order <-> as on the wire. ToWire is for IPv4, ToWire6 for IPv6; of the other family, it is
// an address of zeros.
__be32 ToWire(const IpAddress& address);
klvs_in6 ToWire6(const IpAddress& address);
IpAddress FromWire(__be32 address);
IpAddress FromWire(const klvs_in6& address);

// Whether it is 0.0.0.0 or "::".
bool IsUnspecified(const IpAddress& address);
__be16 ToWirePort(uint16_t port);
uint16_t FromWirePort(__be16 port);

// What this dataplane cannot do is refused, never ignored: kUnimplemented, or kInvalidArgument for
// what makes no sense at all. The message names the service (and real server) and the mend.
absl::Status CheckSupported(const ServiceKey& key, const ServiceConfig& config);
absl::Status CheckSupported(const ServiceKey& key, const RealServer& real);
// Whether they go together; each was checked alone.
absl::Status CheckSupported(const ServiceKey& key, const ServiceConfig& config,
                            const RealServer& real);

// Of a service of one port, of a VIP or a network of them; `key` passed CheckSupported.
klvs_service_key EncodeKey(uint32_t vip_id, const ServiceKey& key);
ServiceKey DecodeKey(const Cidr& vips, const klvs_service_key& key);

// Whether it is of many ports.
bool IsWide(const ServiceKey& key);
// Of one that is.
klvs_wide_key EncodeWideKey(uint32_t vip_id, const ServiceKey& key);
ServiceKey DecodeKey(const Cidr& vips, const klvs_wide_key& key);

// Scheduler and flags; everything else is zero. `config` passed CheckSupported.
klvs_service EncodeConfig(const ServiceConfig& config);
absl::StatusOr<ServiceConfig> DecodeConfig(const klvs_service& service);  // kDataLoss

// Sets wrr_max and wrr_gcd for the list.
void SetWrr(std::span<const klvs_list_entry> list, klvs_service& service);

// Where round robin goes on after a changed list, by the kernel's rules (ip_vs_rr.c, ip_vs_wrr.c
// of Linux 6.1): rr stays behind its last choice, or that one's nearest predecessor that is still
// there; wrr starts at the head with its current weight fitted to the new list. Sets start_weight
// and start_position of `next`, whose wrr_max and wrr_gcd are set. `cursor` is
// klvs_service_state.cursor, of the generation of `before` or not yet.
void ContinueRoundRobin(const klvs_service& before, uint64_t cursor,
                        std::span<const klvs_list_entry> old_list,
                        std::span<const klvs_list_entry> new_list, klvs_service& next);

// A real server as it is in klvs_reals and, with KLVS_REAL_IPV6, klvs_reals6; else that is zero.
struct RealRecord {
  klvs_real real{};
  klvs_real6 ends6{};

  IpAddress Address() const;
  IpAddress NextHopAddress() const;
  IpAddress Source() const;
};

// A record for a real server that was not in the table: KLVS_REAL_VALID, without a way to it.
RealRecord EncodeReal(uint32_t service_id, const RealServer& real);
absl::StatusOr<RealServer> DecodeReal(const RealRecord& record, uint32_t weight);  // kDataLoss

// Whether choices of the service depend on how many connections its real servers have.
bool CountsConnections(const klvs_service& service);

// Whether a real server whose thresholds have just become those of `record` takes no connections:
// ip_vs_dest_update_overload of Linux 6.1. Between both thresholds it stays as it was.
bool IsOverloaded(const klvs_real& record, const klvs_real_conns& conns);

// Puts the way to the real server into `record`, with KLVS_REAL_LOCAL and KLVS_REAL_L2 as needed.
// No way at all is a NextHop with ifindex 0.
void SetWay(const NextHop& hop, RealRecord& record);

// For people: lvsadm and messages.
std::string ToString(const klvs_service_key& key);
std::string ToString(const klvs_service& service);
std::string ToString(const RealRecord& record);
std::string ToString(const klvs_address& address);

}  // namespace kube_lvs::ebpf
