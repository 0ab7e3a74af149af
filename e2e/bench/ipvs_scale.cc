// Many services in the kernel's IPVS: what programming them, reading them back and one change cost,
// beside ipvsadm and beside bare netlink, in one run. Prints rows
// "STEP<tab>WALL_MS<tab>CPU_MS<tab>COMMANDS"; e2e/bench/ipvs makes a table of them.
//
//   ipvs_scale SERVICES REALS LVSADM        as root, on a kernel with ip_vs that holds no service
#include <linux/netlink.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/journal.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/nft_marks.h"
#include "dataplane/plan/diff.h"
#include "e2e/bench/agent_in_guest.h"
#include "e2e/bench/many_services.h"

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

// A network namespace of its own for what follows: a kernel that has just lost many real servers
// keeps them for two minutes and looks through them at each addition, which would be measured.
void Renew() {
  if (unshare(CLONE_NEWNET) != 0) Die("unshare: " + std::string(std::strerror(errno)));
  Shell("ip link set lo up");
}

// What the kernel alone needs to tell of everything: the same requests as a reading's, and nothing
// done with the answers.
class BareDumps {
 public:
  BareDumps() {
    auto wire = ipvs::OpenNetlink();
    Must(wire.status());
    wire_ = *std::move(wire);
  }

  void Dump(const ipvs::Bytes& request) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + request.size());
    header.nlmsg_type = wire_->family();
    header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.nlmsg_pid = wire_->port();
    ipvs::Bytes message(header.nlmsg_len);
    std::memcpy(message.data(), &header, sizeof header);
    std::memcpy(message.data() + NLMSG_HDRLEN, request.data(), request.size());
    Must(wire_->Write(message));
    for (;;) {
      const auto part = wire_->Read();
      Must(part.status());
      std::memcpy(&header, part->data(), sizeof header);
      if (header.nlmsg_type == NLMSG_DONE) return;
      if (header.nlmsg_type == NLMSG_ERROR) Die("a dump failed");
    }
  }

 private:
  std::unique_ptr<ipvs::Wire> wire_;
};

void MeasureIpvsadm(const State& wanted, const std::string& lvsadm) {
  const std::string rules = "/tmp/rules";
  WriteRules(wanted, rules);
  uint64_t lines = 0;
  for (const auto& [key, service] : wanted.services) lines += 1 + service.reals.size();
  Measure("ipvsadm -R", RUSAGE_CHILDREN, [&] {
    Shell("ipvsadm -R <" + rules);
    return lines;
  });
  Measure("ipvsadm -Ln", RUSAGE_CHILDREN, [] {
    Shell("ipvsadm -Ln >/tmp/ipvsadm.out");
    return uint64_t{0};
  });
  Measure("lvsadm -Ln", RUSAGE_CHILDREN, [&] {
    Shell(lvsadm + " -Ln --dataplane ipvs >/tmp/lvsadm.out");
    return uint64_t{0};
  });
  Shell("cmp /tmp/ipvsadm.out /tmp/lvsadm.out");
}

// One process of the agent, as far as IPVS goes.
struct Process {
  Process() : journal(Opened()), marks(OpenedMarks()), backend(channel, journal, *marks) {}
  static ipvs::Journal Opened() {
    auto journal = ipvs::Journal::Open("/tmp/ipvs.journal", "bench");
    Must(journal.status());
    return *std::move(journal);
  }
  static std::unique_ptr<ipvs::MarkTable> OpenedMarks() {
    auto marks = ipvs::OpenMarkTable();
    Must(marks.status());
    return *std::move(marks);
  }

  ipvs::Journal journal;
  ipvs::NetlinkChannel channel;
  const std::unique_ptr<ipvs::MarkTable> marks;
  ipvs::IpvsBackend backend;
};

void MeasureBackend(const State& wanted) {
  Process process;
  Measure("plan and program all", RUSAGE_SELF, [&] {
    const Plan plan = Diff(wanted, State{});
    for (const absl::Status& status : process.backend.Apply(plan.steps)) Must(status);
    return process.channel.changes_sent();
  });
  BareDumps bare;
  Measure("bare dumps", RUSAGE_SELF, [&] {
    bare.Dump(ipvs::EncodePlain(ipvs::Command::kGetService));
    for (const auto& [key, service] : wanted.services) {
      bare.Dump(ipvs::EncodeKey(ipvs::Command::kGetReal, key));
    }
    return uint64_t{0};
  });
  Measure("read and diff all, nothing to do", RUSAGE_SELF, [&] {
    const uint64_t before = process.channel.changes_sent();
    const auto actual = process.backend.Read();
    Must(actual.status());
    const Plan plan = Diff(wanted, *actual);
    if (!plan.steps.empty()) Die("it does not settle: " + ToString(plan.steps.front()));
    return process.channel.changes_sent() - before;
  });
  Measure("cheap look at all, nothing to do", RUSAGE_SELF, [&] {
    const auto suspects = process.backend.Suspects(wanted.services);
    Must(suspects.status());
    if (!suspects->empty()) Die("a look takes for changed: " + ToString(*suspects->begin()));
    return uint64_t{0};
  });
  std::printf("peak memory, MiB\t%.1f\t0\t0\n", PeakMebibytes());
}

void MeasureAgent(const State& wanted) {
  std::set<NodeItem> items;
  {
    Process before;
    bench::AgentInGuest agent(before.backend, wanted, {});
    if (!agent.Pass()) Die("the first agent did not arrive");
    items = agent.items();
  }
  Process process;
  bench::AgentInGuest agent(process.backend, wanted, items);
  const auto measure = [&](const char* step, uint64_t commands, const std::function<bool()>& body) {
    Measure(step, RUSAGE_SELF, [&] {
      const uint64_t before = process.channel.changes_sent();
      if (!body()) Die(std::string(step) + ": did not arrive");
      const uint64_t sent = process.channel.changes_sent() - before;
      if (sent != commands) Die(std::string(step) + ": " + std::to_string(sent) + " commands");
      return sent;
    });
  };
  measure("agent: restart, first pass", 0, [&] { return agent.Pass(); });
  measure("agent: pass over all", 0, [&] { return agent.Pass(); });
  measure("agent: look at all", 0, [&] { return agent.Look(); });
  for (int i = 1; i <= 3; ++i) {
    const std::string event =
        agent.EventOfWeight(static_cast<size_t>(i) * 2, static_cast<uint32_t>(10 + i));
    const std::string step = "agent: one changed weight, try " + std::to_string(i);
    measure(step.c_str(), 1, [&] { return agent.TakeEvent(event); });
  }
  Shell("ipvsadm -e -t 10.128.0.1:80 -r " + wanted.services.begin()->second.reals[0].at.ToString() +
        " -m -w 77");
  measure("agent: look at all, mend one drift", 1, [&] { return agent.Look(); });
  std::printf("peak memory with the agent, MiB\t%.1f\t0\t0\n", PeakMebibytes());
}

int Main(uint32_t services, uint32_t reals, const std::string& lvsadm) {
  const State wanted = bench::ManyServices(services, reals);
  Renew();
  MeasureIpvsadm(wanted, lvsadm);
  Renew();
  MeasureBackend(wanted);
  MeasureAgent(wanted);
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
