// What packets cost in the XDP programs, above an empty one: lines "NAME<tab>NUMBER".
//   ebpf_packets instructions   in a guest whose clock is its instructions: medians of a thousand
//   flows ebpf_packets nanoseconds    on this machine: one hot flow, a million flows at random, new
//   connections
// Root only.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"
#include "e2e/bench/random_flow.skel.h"

namespace kube_lvs::bench {
namespace {

using ebpf::Bytes;
using ebpf::Director;
using ebpf::Frame;
using ebpf::Frame6;
using ebpf::Outcome;
using ebpf::Real;
using ebpf::Verdict;

constexpr char kVip6[] = "2001:db8:9::1";
constexpr int kFlows = 1000;
constexpr int kManyFlows = 1000000;
constexpr int kReals = 10;
constexpr char kFirstClient[] = "10.64.0.1";
constexpr uint32_t kFirstPort = 2000;
constexpr uint32_t kPorts = 20000;  // flows of each client
constexpr int kRounds = 15;         // of each, in turns; the best counts

[[noreturn]] void Fail(const std::string& what) {
  std::cerr << "ebpf_packets: " << what << "\n";
  std::exit(1);
}

double Median(std::vector<uint32_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void Print(const std::string& name, double value) { std::cout << name << "\t" << value << "\n"; }

// A program that returns XDP_TX.
int LoadEmptyProgram() {
  const bpf_insn program[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_TX},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts opts = {};
  opts.sz = sizeof opts;
  opts.expected_attach_type = BPF_XDP;  // as libbpf says of those that jump to it
  const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", program, 2, &opts);
  if (fd < 0) Fail("an empty program does not load");
  return fd;
}

// What BPF_PROG_TEST_RUN says of it.
double EmptyProgram() {
  const int fd = LoadEmptyProgram();
  Bytes in(60);
  std::vector<uint32_t> each;
  for (int i = 0; i < kFlows; ++i) {
    bpf_test_run_opts opts = {};
    opts.sz = sizeof opts;
    opts.data_in = in.data();
    opts.data_size_in = static_cast<uint32_t>(in.size());
    opts.repeat = 1;
    if (bpf_prog_test_run_opts(fd, &opts) != 0) Fail("an empty program does not run");
    each.push_back(opts.duration);
  }
  close(fd);
  return Median(each);
}

uint32_t Cost(Director& director, const Bytes& frame, Verdict expected) {
  const Outcome outcome = director.Run(frame);
  if (outcome.verdict != expected) {
    std::string drops;
    for (const auto& [reason, count] : director.Drops()) {
      drops += " " + reason + " " + std::to_string(count);
    }
    Fail("a packet took another way; drops:" + drops);
  }
  return outcome.nanoseconds;
}

// A client's packet of flow `n`: of 64 bytes on the wire, with IPv4.
Frame Packet(uint32_t n, uint8_t flags) {
  Frame out = ebpf::ClientFrame();
  out.src = ebpf::Ip(kFirstClient) + n / kPorts;
  out.sport = static_cast<uint16_t>(kFirstPort + n % kPorts);
  out.flags = flags;
  out.payload.clear();
  out.padding = 6;
  return out;
}
Frame6 Packet6(uint32_t n, uint8_t flags) {
  Frame6 out = ebpf::ClientFrame6();
  out.sport = static_cast<uint16_t>(2000 + n);
  out.flags = flags;
  out.payload.clear();
  return out;
}

std::vector<Real> Reals(bool ipv6, int count) {
  std::vector<Real> out;
  for (int i = 0; i < count; ++i) {
    out.push_back({.address = (ipv6 ? "2001:db8:1::" : "10.1.0.") + std::to_string(10 + i)});
  }
  return out;
}

ebpf::Service With(bool ipv6, uint8_t method, uint8_t scheduler, int reals) {
  ebpf::Service out;
  if (ipv6) out.vip = kVip6;
  out.method = method;
  out.scheduler = scheduler;
  out.reals = Reals(ipv6, reals);
  if (method == KLVS_METHOD_NAT) out.flags = KLVS_SERVICE_SOURCE_NAT;
  return out;
}

struct Way {
  const char* name;
  uint8_t method;
};
constexpr Way kWays[] = {{"DirectRouting", KLVS_METHOD_DIRECT_ROUTING},
                         {"Tunnel", KLVS_METHOD_TUNNEL},
                         {"NAT", KLVS_METHOD_NAT}};

template <typename MakePacket>
double Established(Director& director, MakePacket packet) {
  std::vector<uint32_t> each;
  for (int n = 0; n < kFlows; ++n) {
    director.Run(packet(n, ebpf::kSyn));
    director.Run(packet(n, ebpf::kAck));
  }
  for (int n = 0; n < kFlows; ++n) {
    each.push_back(Cost(director, packet(n, ebpf::kAck).Build(), Verdict::kSent));
  }
  return Median(each);
}

double NewConnections(uint8_t scheduler) {
  Director director(ebpf::Stage::kXdp, 1024);
  director.Add(With(false, KLVS_METHOD_DIRECT_ROUTING, scheduler, kReals));
  if (scheduler == KLVS_SCHEDULER_MH) {
    for (uint32_t slot = 0; slot < 4093; ++slot) director.tables()[slot].real = 1 + slot % kReals;
  }
  std::vector<uint32_t> each;
  for (int n = 0; n < kFlows; ++n) {
    each.push_back(Cost(director, Packet(n, ebpf::kSyn).Build(), Verdict::kSent));
  }
  return Median(each);
}

void Instructions() {
  const double empty = EmptyProgram();
  for (const Way& way : kWays) {
    Director director(ebpf::Stage::kXdp, 1024);
    director.Add(With(false, way.method, KLVS_SCHEDULER_RR, 3));
    Print(way.name, Established(director, Packet) - empty);
  }
  for (const Way& way : kWays) {
    Director director(ebpf::Stage::kXdp, 1024);
    director.Add(With(true, way.method, KLVS_SCHEDULER_RR, 3));
    Print(way.name + std::string(", IPv6"), Established(director, Packet6) - empty);
  }
  {
    Director director(ebpf::Stage::kXdp, 1024);
    director.Add(With(false, KLVS_METHOD_NAT, KLVS_SCHEDULER_RR, 3));
    director.Add([] {
      ebpf::Service out = With(true, KLVS_METHOD_NAT, KLVS_SCHEDULER_RR, 3);
      out.id = 2;
      out.first_real = 4;
      return out;
    }());
    std::vector<uint32_t> each;
    std::vector<uint32_t> each6;
    for (int n = 0; n < kFlows; ++n) {
      Frame frame = Packet(n, ebpf::kAck);
      frame.dst = ebpf::Ip("10.1.0.99");
      each.push_back(Cost(director, frame.Build(), Verdict::kUntouched));
      Frame6 frame6 = Packet6(n, ebpf::kAck);
      frame6.dst = "2001:db8:1::99";
      each6.push_back(Cost(director, frame6.Build(), Verdict::kUntouched));
    }
    Print("not ours", Median(each) - empty);
    Print("not ours, IPv6", Median(each6) - empty);
  }
  Print("new connection, mh", NewConnections(KLVS_SCHEDULER_MH) - empty);
  Print("new connection, wlc, 10 real servers", NewConnections(KLVS_SCHEDULER_WLC) - empty);
}

// Packets of `flows` flows at random, that make a program run a million times.
class RandomFlows {
 public:
  explicit RandomFlows(Director& director) : director_(director) {
    if (programs_ == nullptr) Fail("random_flow does not load");
    const Bytes frame = Packet(0, ebpf::kAck).Build();
    frame_.assign(frame.begin(), frame.end());
    frame_.resize(sizeof programs_->bss->frame);
    std::memcpy(programs_->bss->frame, frame_.data(), frame_.size());
    programs_->bss->state = 88172645463325252;
    programs_->bss->ports = kPorts;
    programs_->bss->first_client = ebpf::Ip(kFirstClient);
    programs_->bss->first_port = kFirstPort;
  }
  ~RandomFlows() { random_flow__destroy(programs_); }
  RandomFlows(const RandomFlows&) = delete;

  int one_access() const { return bpf_program__fd(programs_->progs.one_access); }

  double Nanoseconds(int program, uint32_t flows) {
    const uint32_t zero = 0;
    programs_->bss->flows = flows;
    if (bpf_map_update_elem(bpf_map__fd(programs_->maps.under_test), &zero, &program, BPF_ANY)) {
      Fail("random_flow cannot jump to the program");
    }
    return director_.NanosecondsOf(bpf_program__fd(programs_->progs.random_flow), frame_,
                                   kManyFlows);
  }

 private:
  Director& director_;
  random_flow* programs_ = random_flow__open_and_load();
  Bytes frame_;
};

void Nanoseconds() {
  Director director(ebpf::Stage::kXdp, 262144);
  director.Add(With(false, KLVS_METHOD_DIRECT_ROUTING, KLVS_SCHEDULER_WLC, kReals));
  std::vector<uint32_t> opened;
  opened.reserve(kManyFlows);
  for (int n = 0; n < kManyFlows; ++n) {
    opened.push_back(Cost(director, Packet(n, ebpf::kSyn).Build(), Verdict::kSent));
  }
  for (int n = 0; n < kManyFlows; ++n) {
    Cost(director, Packet(n, ebpf::kAck).Build(), Verdict::kSent);
  }
  RandomFlows packets(director);
  const int empty_program = LoadEmptyProgram();
  const int one_access = packets.one_access();
  double empty = std::numeric_limits<double>::max(), access = empty, hot = empty, many = empty;
  for (int round = 0; round < kRounds; ++round) {
    empty = std::min(empty, packets.Nanoseconds(empty_program, kManyFlows));
    access = std::min(access, packets.Nanoseconds(one_access, kManyFlows));
    hot = std::min(hot, packets.Nanoseconds(director.xdp_program(), 1));
    many = std::min(many, packets.Nanoseconds(director.xdp_program(), kManyFlows));
  }
  Print("empty program", empty);
  Print("one access to so much memory", access - empty);
  Print("one hot flow", hot - empty);
  Print("a million flows", many - empty);
  Print("new connection, wlc, 10 real servers", Median(opened) - EmptyProgram());
}

}  // namespace
}  // namespace kube_lvs::bench

int main(int argc, char** argv) {
  const std::string_view what = argc == 2 ? argv[1] : "";
  if (what == "instructions") {
    kube_lvs::bench::Instructions();
  } else if (what == "nanoseconds") {
    kube_lvs::bench::Nanoseconds();
  } else {
    std::cerr << "usage: ebpf_packets instructions|nanoseconds\n";
    return 2;
  }
  return 0;
}
