// Services whose lists are those that the kernel would have: real servers 10.1.200.1 to .n, added
// in that order, so that the newest is first.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {

class ScheduleTest : public testing::TestWithParam<Stage> {
 protected:
  // Real servers 1..n with these weights, newest first; ids are their numbers.
  Service Kernel(uint8_t scheduler, std::vector<uint32_t> weights) {
    Service service;
    service.protocol = 17;
    service.scheduler = scheduler;
    // Ids go up along the list here; Number() turns them round again.
    for (size_t n = weights.size(); n >= 1; --n) {
      service.reals.push_back(
          {.address = "10.1.200." + std::to_string(n), .weight = weights[n - 1]});
    }
    size_ = weights.size();
    return service;
  }
  // The same, for TCP.
  Service KernelTcp(uint8_t scheduler, std::vector<uint32_t> weights) {
    Service service = Kernel(scheduler, std::move(weights));
    service.protocol = 6;
    return service;
  }
  uint32_t Id(uint32_t number) const { return static_cast<uint32_t>(size_) + 1 - number; }

  // Whether it goes on; what is refused may be answered.
  bool Forwards(const Frame& frame) {
    const auto before = director_.DropCounts();
    return director_.Run(frame).verdict == Verdict::kSent && director_.DropCounts() == before;
  }
  // The real server's number that a frame's connection has; "-" if it has none.
  std::string ChoiceOf(const Frame& frame) {
    for (const klvs_conn* c : director_.Entries()) {
      if (ntohl(c->key.src) == frame.src && ntohs(c->key.sport) == frame.sport) {
        return std::to_string(size_ + 1 - c->real);
      }
    }
    return "-";
  }
  // Whom `count` new clients get: 10.1.0.1 on, or with `ports` 10.1.0.1 from the given port on.
  std::string Choices(int count, uint16_t ports = 0) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      Frame frame = ClientFrame();
      frame.protocol = 17;
      if (ports != 0) {
        frame.sport = ports + i;
      } else {
        frame.src = Ip("10.1.0.1") + i;
      }
      const size_t before = director_.Entries().size();
      const bool forwarded = Forwards(frame);
      EXPECT_EQ(director_.Entries().size(), before + (forwarded ? 1 : 0));
      out += ChoiceOf(frame) + " ";
    }
    if (!out.empty()) out.pop_back();
    return out;
  }
  // Whom the next `count` TCP connections get, which are established and stay.
  std::string Held(int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      Frame frame = Tcp(opened_++, kSyn);
      if (Forwards(frame)) director_.Run(Tcp(opened_ - 1, kAck));
      out += ChoiceOf(frame) + " ";
    }
    if (!out.empty()) out.pop_back();
    return out;
  }
  // A packet of the TCP connection of that number, counted from 0.
  static Frame Tcp(int number, uint8_t flags) {
    Frame frame = ClientFrame("10.1.0.1", static_cast<uint16_t>(30000 + number));
    frame.flags = flags;
    return frame;
  }
  // "3+1 0+0 2+0": active and inactive connections of real servers 1, 2, 3.
  std::string Counts() {
    std::string out;
    for (uint32_t n = 1; n <= size_; ++n) {
      const klvs_real_conns c = director_.real_conns(Id(n));
      out += std::to_string(c.active) + "+" + std::to_string(c.inactive) + " ";
    }
    if (!out.empty()) out.pop_back();
    return out;
  }
  // Whatever was opened; nothing is counted any more.
  void Forget() {
    director_.ForgetConnections();
    for (uint32_t n = 1; n <= size_; ++n) director_.ResetRealConns(n);
  }

  Director director_{GetParam()};
  size_t size_ = 0;
  int opened_ = 0;
};

}  // namespace kube_lvs::ebpf
