// One dataplane in a network namespace of its own, with a wire to put packets on and to see what
// comes back, and another one to a third of the real servers. For tests: what fails aborts.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/packet_tests/frame.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::alike {

inline constexpr int kClients = 40;
inline constexpr int kReals = 250;

// Numbered from 1 on; of a real server only its MAC address is there. IPv6's differ in more than
// one of the words that hash schedulers fold, and four clients at a time share 126 bits (IPv4: 30).
IpAddress ClientAddress(Family family, int number);
IpAddress RealAddress(Family family, int number);
IpAddress VipAddress(Family family);
// The number of the client or real server that has that address.
int NumberOf(const IpAddress& address);
// Whether it is reached by the other wire than clients are.
constexpr bool IsBeyond(int real) { return real % 3 == 0; }

// A client's, to the VIP.
struct Packet {
  Family family = Family::kIpv4;
  int client = 1;
  uint16_t sport = 0, dport = 0;
  uint8_t protocol = 6;
  uint8_t flags = ebpf::kSyn;  // TCP
  uint8_t chunk = 1;           // SCTP: type of the first one, INIT
};

class Side {
 public:
  Side();
  virtual ~Side() = default;

  virtual std::string Name() const = 0;
  virtual Dataplane dataplane() const = 0;
  virtual void Apply(const std::vector<Step>& steps) = 0;
  virtual ServiceReading Read(const ServiceKey& key) = 0;
  // Also forgets what expired.
  virtual Stats ReadStats() = 0;

  // The number of the real server that the packet is sent on to; 0 if it is refused.
  int Send(const Packet& packet);

 protected:
  // Whether a packet was refused since the last call, with or without an answer.
  virtual bool RefusedOne() { return false; }

  const ebpf::Namespace& network() const { return network_; }

 private:
  ebpf::Namespace network_;
  std::array<UniqueFd, 2> wires_;  // clients are on the first
  uint16_t sent_ = 0;
};

}  // namespace kube_lvs::alike
