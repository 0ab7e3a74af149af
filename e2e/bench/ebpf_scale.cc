// Many services in the eBPF dataplane, on this machine's kernel in a network namespace and a BPF
// file system of this process: what programming them, reading them back, listing them and one
// change cost. Prints rows "STEP<tab>WALL_MS<tab>CPU_MS", and "memory: WHAT<tab>MEBIBYTES<tab>0";
// e2e/bench/ebpf-scale makes a table of them.
//
//   ebpf_scale SERVICES REALS SCHEDULER LVSADM        as root
#include <bpf/bpf.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/plan/diff.h"
#include "e2e/bench/agent_in_guest.h"
#include "e2e/bench/many_services.h"

namespace kube_lvs {
namespace {

constexpr int kEvents = 41;
constexpr int kListings = 5;

[[noreturn]] void Die(const std::string& why) {
  std::cerr << "ebpf_scale: " << why << "\n";
  std::exit(1);
}

void Must(const absl::Status& status) {
  if (!status.ok()) Die(Message(status));
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

double Milliseconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
}

struct Cost {
  double wall = 0, cpu = 0;  // milliseconds
};

Cost CostOf(int who, const std::function<void()>& body) {
  const auto cpu = [who] {
    rusage usage{};
    getrusage(who, &usage);
    return Milliseconds(usage.ru_utime) + Milliseconds(usage.ru_stime);
  };
  const double before = cpu();
  const auto begin = std::chrono::steady_clock::now();
  body();
  const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - begin;
  return {wall.count(), cpu() - before};
}

void Print(const std::string& step, const Cost& cost) {
  std::printf("%s\t%.3f\t%.3f\n", step.c_str(), cost.wall, cost.cpu);
  std::fflush(stdout);
}

void Measure(const std::string& step, const std::function<void()>& body) {
  Print(step, CostOf(RUSAGE_SELF, body));
}

// Of each figure by itself; of many runs what else the machine did is not in the least one.
void PrintOf(const std::string& step, std::vector<Cost> costs, size_t place) {
  std::vector<double> wall, cpu;
  for (const Cost& cost : costs) {
    wall.push_back(cost.wall);
    cpu.push_back(cost.cpu);
  }
  std::ranges::sort(wall);
  std::ranges::sort(cpu);
  Print(step, {wall[place], cpu[place]});
}

void PrintMemory(const std::string& what, double bytes) {
  std::printf("memory: %s\t%.1f\t0\n", what.c_str(), bytes / (1 << 20));
}

// A node with one uplink, behind whose router the real servers are, and the pair of devices that an
// agent makes for local clients.
void MakeNode() {
  if (unshare(CLONE_NEWNET) != 0) Die("cannot make a network namespace: run as root");
  Shell(
      "ip link set lo up && ip link add eth0 type veth peer name far && ip link set far up && "
      "ip link set eth0 up && ip addr add 192.0.2.1/24 dev eth0 && "
      "ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev eth0 nud permanent && "
      "ip route add default via 192.0.2.254 && ip link add kube-lvs0 type veth peer name "
      "kube-lvs1");
}

// As many for each number of services, so that only that differs.
ebpf::BpfOptions Options() {
  ebpf::BpfOptions options;
  options.dir = ebpf::PrivateBpfDir("scale");
  options.sizes.addresses = 131072;
  options.sizes.services = 16384;
  options.sizes.reals = 131072;
  options.sizes.list_entries = 262144;
  return options;
}

// What the kernel says that all pinned maps take.
double BytesOfMaps(const std::string& dir) {
  double out = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.is_directory()) continue;
    const UniqueFd fd(bpf_obj_get(entry.path().c_str()));
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd.get()));
    for (std::string name, number; info >> name >> number;) {
      if (name == "memlock:") out += std::stod(number);
    }
  }
  return out;
}

void List(const std::string& lvsadm, const std::string& dir, const State& wanted) {
  const std::string out = dir.substr(dir.rfind('/') + 1) + ".listing";
  const std::string path =
      std::filesystem::temp_directory_path() / (out + std::to_string(getpid()));
  std::vector<Cost> costs;
  for (int i = 0; i < kListings; ++i) {
    costs.push_back(CostOf(RUSAGE_CHILDREN, [&] {
      Shell("exec " + lvsadm + " -Ln --dataplane ebpf --bpf-dir " + dir + " >" + path);
    }));
  }
  size_t lines = 0, expected = 0;
  std::ifstream listing(path);
  for (std::string line; std::getline(listing, line);) {
    if (line.starts_with("TCP ") || line.starts_with("  -> 1")) ++lines;
  }
  std::remove(path.c_str());
  for (const auto& [key, service] : wanted.services) expected += 1 + service.reals.size();
  if (lines != expected) Die("lvsadm lists " + std::to_string(lines) + " of them");
  PrintOf("lvsadm -Ln", std::move(costs), 0);
}

int Main(uint32_t services, uint32_t reals, const std::string& scheduler,
         const std::string& lvsadm) {
  if (services == 0 || reals == 0) Die("needs services and real servers");
  const State wanted = bench::ManyServices(services, reals, Dataplane::kEbpf, scheduler);
  MakeNode();
  const ebpf::BpfOptions options = Options();
  const SystemClock clock;
  std::optional<ebpf::EbpfDataplane> dataplane;
  const auto open = [&] {
    auto opened = ebpf::OpenEbpfDataplane(options, clock);
    Must(opened.status());
    dataplane.emplace(*std::move(opened));
  };
  Measure("load the programs, make the maps", open);
  Measure("plan and program all", [&] {
    const Plan plan = Diff(wanted, State{});
    for (const absl::Status& status : dataplane->backend->Apply(plan.steps)) Must(status);
  });
  Measure("read and diff all, nothing to do", [&] {
    const auto actual = dataplane->backend->Read();
    Must(actual.status());
    const Plan plan = Diff(wanted, *actual);
    if (!plan.steps.empty()) Die("it does not settle: " + ToString(plan.steps.front()));
  });
  Measure("read all counters", [&] { Must(dataplane->backend->ReadStats().status()); });
  List(lvsadm, options.dir, wanted);
  dataplane.reset();
  Measure("restart: take the maps over", open);

  bench::AgentInGuest agent(*dataplane->backend, wanted, {});
  if (!agent.Pass() || !agent.Pass()) Die("the agent did not arrive");
  std::vector<Cost> costs;
  for (uint32_t i = 0; i < kEvents; ++i) {
    const std::string line = agent.EventOfWeight(i * 7 % services, 100 + i);
    costs.push_back(CostOf(RUSAGE_SELF, [&] {
      if (!agent.TakeEvent(line)) Die("event " + std::to_string(i) + ": did not arrive");
    }));
  }
  PrintOf("agent: one changed weight, median", costs, costs.size() / 2);
  PrintOf("agent: one changed weight, worst", costs, costs.size() - 1);
  const auto said = ebpf::MemoryOf(options.sizes);
  Must(said.status());
  PrintMemory("maps, as the kernel says", BytesOfMaps(options.dir));
  PrintMemory("maps, as we say before", static_cast<double>(*said));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  // The mapped maps count as pages of a file.
  PrintMemory("peak of the process", static_cast<double>(usage.ru_maxrss) * 1024);
  dataplane.reset();
  const std::string mounted = std::filesystem::path(options.dir).parent_path();
  if (umount2(mounted.c_str(), MNT_DETACH) != 0 || rmdir(mounted.c_str()) != 0) {
    Die("cannot remove " + mounted);
  }
  return 0;
}

}  // namespace
}  // namespace kube_lvs

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "ebpf_scale: wants SERVICES REALS SCHEDULER LVSADM\n";
    return 2;
  }
  return kube_lvs::Main(static_cast<uint32_t>(std::atoi(argv[1])),
                        static_cast<uint32_t>(std::atoi(argv[2])), argv[3], argv[4]);
}
