// More new connections than a CPU is to remember, of services by sh in either family.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "dataplane/ebpf/packet_tests/director.h"
#include "dataplane/ebpf/packet_tests/hash_cells.h"

namespace kube_lvs::ebpf {

// The calling thread, and so what it runs, stays on one CPU.
class OnCpu {
 public:
  explicit OnCpu(int cpu) {
    Check(sched_getaffinity(0, sizeof before_, &before_) == 0, "sched_getaffinity");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    Check(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
  }
  ~OnCpu() { Check(sched_setaffinity(0, sizeof before_, &before_) == 0, "sched_setaffinity"); }
  OnCpu(const OnCpu&) = delete;

 private:
  cpu_set_t before_;
};

class StatelessTest : public testing::TestWithParam<std::tuple<Stage, bool>> {
 protected:
  static constexpr int kClients = 20;

  static std::string Host(int number, bool ipv6) {
    return (ipv6 ? "2001:db8:1::" : "10.1.0.") + std::to_string(number);
  }
  static std::string Vip(bool ipv6) { return ipv6 ? "2001:db8:9::1" : "10.9.0.1"; }
  std::string Client(int number) const { return Host(20 + number, ipv6_); }
  // Real servers 1 and 2 at hosts 2 and 3.
  Service Of(uint8_t protocol, uint8_t method = KLVS_METHOD_DIRECT_ROUTING) const {
    return {.vip = Vip(ipv6_),
            .protocol = protocol,
            .scheduler = KLVS_SCHEDULER_SH,
            .method = method,
            .reals = {{.address = Host(2, ipv6_)}, {.address = Host(3, ipv6_)}}};
  }
  void Add(const Service& service) {
    director_.Add(service);
    FillCellsByTurns(director_);
  }
  // So many connections of each CPU; it earns no other as long as a test may take.
  void RememberOnly(uint32_t connections) {
    director_.settings().hz = 1'000'000'000;
    director_.settings().stateful_per_second = std::max(1U, 8 * (connections - 1));
  }
  void RememberAll() { director_.settings().stateful_per_second = 0; }

  static Bytes Packet(const std::string& client, bool ipv6, uint8_t protocol, uint8_t flags) {
    const auto fill = [&](auto frame) {
      frame.protocol = protocol;
      frame.flags = flags;
      return frame.Build();
    };
    return ipv6 ? fill(ClientFrame6(client, 2000, Vip(true)))
                : fill(ClientFrame(client, 2000, Vip(false)));
  }
  Bytes Packet(int client, uint8_t protocol, uint8_t flags = kSyn) const {
    return Packet(Client(client), ipv6_, protocol, flags);
  }

  size_t Connections() { return director_.Entries().size() + director_.Entries6().size(); }
  // It is sent to one of the two, whose number it is.
  uint32_t Goes(const Bytes& frame) {
    const uint64_t before = director_.RealCounters(1).packets;
    const uint64_t other = director_.RealCounters(2).packets;
    EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
    if (director_.RealCounters(1).packets > before) return 1;
    return director_.RealCounters(2).packets > other ? 2 : 0;
  }
  // Each of these clients' packets goes where sh says.
  void ExpectByHash(int first, int last, uint8_t protocol, uint8_t flags = kSyn) {
    for (int i = first; i <= last; ++i) {
      EXPECT_EQ(Goes(Packet(i, protocol, flags)), RealByHash(Client(i))) << Client(i);
    }
    EXPECT_TRUE(director_.Drops().empty());
  }

  const bool ipv6_ = std::get<1>(GetParam());
  Director director_{std::get<0>(GetParam())};
};

inline auto StatelessWays() {
  return testing::Combine(testing::Values(Stage::kXdp, Stage::kTc), testing::Bool());
}
inline std::string StatelessWayName(
    const testing::TestParamInfo<std::tuple<Stage, bool>>& info) {
  return std::string(std::get<1>(info.param) ? "Ipv6" : "Ipv4") + ToString(std::get<0>(info.param));
}

}  // namespace kube_lvs::ebpf
