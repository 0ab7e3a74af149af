// The programs in a namespace of their own, run on two CPUs at once by tests that derive from
// TwoCpusTest: services of several kinds, their clients' packets, their real servers' replies.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/packet_tests/frame.h"
#include "dataplane/ebpf/packet_tests/fuzz/flows.h"
#include "dataplane/ebpf/testing/namespaces.h"

namespace kube_lvs::ebpf {

struct Sort {
  std::string vip, scheduler;
  ForwardingMethod method;
  bool source_nat, thresholds, tcp;
  bool IsV4() const { return vip.find(':') == std::string::npos; }
};

// What became of packets.
struct Tally {
  uint64_t sent = 0, dropped = 0, untouched = 0, other = 0, answered = 0;
};

// By XDP, or else by tc.
class TwoCpusTest : public testing::TestWithParam<bool> {
 protected:
  static constexpr uint32_t kCpus = 2, kUpperThreshold = 20;
  static constexpr int kReals = 4;  // of each service
  static constexpr Mac kDirectorMac = {2, 0, 0, 0, 0, 1}, kNeighbourMac = {2, 0, 0, 0, 0, 0xc};

  // With room for so many connections of each family.
  explicit TwoCpusTest(uint32_t connections);

  void SetUp() override;

  static bool Xdp() { return GetParam(); }

  // A service of each on port 80.
  static const std::vector<Sort>& Sorts();
  static std::string RealAddress(size_t service, int real);
  static ServiceKey Key(size_t service);
  static RealServer Server(size_t service, int real, uint32_t weight);

  static Bytes ClientPacket(const Sort& sort, int client, int port, uint8_t flags);
  // What the real server of a NAT connection sends.
  Bytes ReplyOf(const klvs_conn& c, uint8_t flags) const;

  template <typename T>
  std::span<T> Array(std::string_view map) {
    return *GetArray<T>(*dataplane_.objects.maps, map);
  }

  void Apply(const std::vector<Step>& steps);

  static void StayOn(uint32_t cpu);

  // The calling thread is in the node's namespace.
  void Send(const Bytes& frame, Tally& tally) const;

  // Each CPU's packet of that number, `packet(cpu, i)`, at the same time as the other's.
  template <typename Packet>
  void SendTogether(uint32_t count, Packet packet, Tally (&tallies)[kCpus]) const {
    std::atomic<uint32_t> arrived = 0;
    std::vector<std::jthread> threads;
    for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
      threads.emplace_back([&, cpu] {
        node_.In([&] {
          StayOn(cpu);
          for (uint32_t i = 0; i < count; ++i) {
            const Bytes frame = packet(cpu, i);
            ++arrived;
            while (arrived < (i + 1) * kCpus) {
            }
            Send(frame, tallies[cpu]);
          }
          return 0;
        });
      });
    }
  }

  std::string Fault() { return TableFault({conns_, tags_, conns6_, tags6_}, real_conns_); }

  Namespace node_, peer_;
  SystemClock clock_;
  BpfOptions options_;
  EbpfDataplane dataplane_;
  UniqueFd program_;
  uint32_t ifindex_ = 0;
  std::span<klvs_conn_set> conns_;
  std::span<klvs_conn_set6> conns6_;
  std::span<klvs_set_tags> tags_;
  std::span<klvs_set_tags> tags6_;
  std::span<klvs_real_conns> real_conns_;
  std::span<klvs_real> reals_;
};

}  // namespace kube_lvs::ebpf
