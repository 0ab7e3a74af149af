// Many services in the kernel's IPVS: what programming them, reading them back and one change cost,
// beside ipvsadm and beside bare netlink, in one run. Prints rows
// "STEP<tab>WALL_MS<tab>CPU_MS<tab>COMMANDS"; e2e/bench/ipvs makes a table of them.
//
//   ipvs_scale SERVICES REALS LVSADM        as root, on a kernel with ip_vs that holds no service
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/journal.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/nft_marks.h"
#include "dataplane/plan/diff.h"

namespace kube_lvs {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::cerr << "ipvs_scale: " << why << "\n";
  std::exit(1);
}

void Must(const absl::Status& status) {
  if (!status.ok()) Die(Message(status));
}

double Milliseconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
}

double CpuMilliseconds(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return Milliseconds(usage.ru_utime) + Milliseconds(usage.ru_stime);
}

double PeakMebibytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// `commands` is what `body` returns.
void Measure(const char* step, int who, const std::function<uint64_t()>& body) {
  const double cpu = CpuMilliseconds(who);
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t commands = body();
  const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - begin;
  std::printf("%s\t%.2f\t%.2f\t%lu\n", step, wall.count(), CpuMilliseconds(who) - cpu,
              static_cast<unsigned long>(commands));
  std::fflush(stdout);
}

// Waits for a shell command, which must succeed.
void Shell(const std::string& command) {
  pid_t child = 0;
  const char* argv[] = {"sh", "-c", command.c_str(), nullptr};
  if (posix_spawn(&child, "/bin/sh", nullptr, nullptr, const_cast<char**>(argv), environ) != 0) {
    Die("cannot start: " + command);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) Die("failed: " + command);
}

ServiceKey KeyOfService(uint32_t index) {
  // 10.128.0.1 and up, port 80.
  return {Dataplane::kIpvs, Endpoint{IpAddress::FromV4(0x0a800001u + index), 80}, Protocol::kTcp};
}

State Wanted(uint32_t services, uint32_t reals) {
  State state;
  for (uint32_t s = 0; s < services; ++s) {
    VirtualService& service = state.services[KeyOfService(s)];
    service.config.scheduler = "wrr";
    for (uint32_t r = 0; r < reals; ++r) {
      service.reals.push_back(
          {.at = {IpAddress::FromV4(0x0a000001u + (s * reals + r) % 60000u), 8080},
           .weight = 1 + r % 3});
    }
    SortCanonically(service.reals);
  }
  return state;
}

void WriteRules(const State& state, const std::string& path) {
  std::ofstream out(path);
  for (const auto& [key, service] : state.services) {
    const std::string vip = std::get<Endpoint>(key.match).ToString();
    out << "-A -t " << vip << " -s " << service.config.scheduler << "\n";
    for (const RealServer& real : service.reals) {
      out << "-a -t " << vip << " -r " << real.at.ToString() << " -m -w " << real.weight << "\n";
    }
  }
  if (!out.flush()) Die("cannot write " + path);
}

int Main(uint32_t services, uint32_t reals, const std::string& lvsadm) {
  const State wanted = Wanted(services, reals);
  const std::string rules = "/tmp/rules";
  WriteRules(wanted, rules);

  Measure("ipvsadm -R", RUSAGE_CHILDREN, [&] {
    Shell("ipvsadm -R <" + rules);
    return uint64_t{services} * (reals + 1);
  });
  Measure("ipvsadm -Ln", RUSAGE_CHILDREN, [] {
    Shell("ipvsadm -Ln >/tmp/ipvsadm.out");
    return uint64_t{0};
  });
  Measure("lvsadm -Ln", RUSAGE_CHILDREN, [&] {
    Shell(lvsadm + " -Ln --dataplane ipvs >/tmp/lvsadm.out");
    return uint64_t{0};
  });
  Shell("ipvsadm -C");

  auto journal = ipvs::Journal::Open("/tmp/ipvs.journal", "bench");
  Must(journal.status());
  ipvs::NetlinkChannel channel;
  const auto marks = ipvs::OpenMarkTable();
  Must(marks.status());
  ipvs::IpvsBackend backend(channel, *journal, **marks);
  Measure("plan and program all", RUSAGE_SELF, [&] {
    const Plan plan = Diff(wanted, State{});
    for (const absl::Status& status : backend.Apply(plan.steps)) Must(status);
    return channel.changes_sent();
  });
  Measure("bare dumps", RUSAGE_SELF, [&] {
    Must(channel.Dump(ipvs::EncodePlain(ipvs::Command::kGetService)).status());
    for (const auto& [key, service] : wanted.services) {
      Must(channel.Dump(ipvs::EncodeKey(ipvs::Command::kGetReal, key)).status());
    }
    return uint64_t{0};
  });
  Measure("read and diff all, nothing to do", RUSAGE_SELF, [&] {
    const uint64_t before = channel.changes_sent();
    const auto actual = backend.Read();
    Must(actual.status());
    const Plan plan = Diff(wanted, *actual);
    if (!plan.steps.empty()) Die("it does not settle: " + ToString(plan.steps.front()));
    return channel.changes_sent() - before;
  });
  std::printf("peak memory, MiB\t%.1f\t0\t0\n", PeakMebibytes());
  return 0;
}

}  // namespace
}  // namespace kube_lvs

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "ipvs_scale: wants SERVICES REALS LVSADM\n";
    return 2;
  }
  return kube_lvs::Main(static_cast<uint32_t>(std::atoi(argv[1])),
                        static_cast<uint32_t>(std::atoi(argv[2])), argv[3]);
}
