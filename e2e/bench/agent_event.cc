// How long the agent itself takes from an event, the line that the API server sends, to the netlink
// command: in milliseconds of this machine, with IPVS in memory. What the kernel then does with the
// one command is not in it; ipvs_scale has that. Prints a row an event,
// "WALL_MS<tab>CPU_MS<tab>COMMANDS"; fails unless each sends exactly one: of a weight, which sets a
// real server, or of an EndpointSlice, which removes one or adds it again.
//
//   agent_event SERVICES REALS EVENTS weight|slice
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/fake_marks.h"
#include "dataplane/ipvs/message.h"
#include "e2e/bench/agent_in_guest.h"
#include "e2e/bench/many_services.h"

namespace kube_lvs {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::cerr << "agent_event: " << why << "\n";
  std::exit(1);
}

double CpuMilliseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

int Main(uint32_t services, uint32_t reals, uint32_t events, const std::string& of) {
  if (services == 0 || reals == 0) Die("needs services and real servers");
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder == nullptr ? "/tmp" : folder) + "/agent_event.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) Die("cannot make " + path);
  auto journal = ipvs::Journal::Open(path + "/journal", "bench");
  if (!journal.ok()) Die(Message(journal.status()));
  ipvs::FakeKernel kernel;
  ipvs::FakeMarks marks;
  ipvs::IpvsBackend backend(kernel, *journal, marks);
  const bool slices = of == "slice";
  bench::AgentInGuest agent(
      backend, bench::ManyServices(services, reals), {},
      slices ? bench::AgentInGuest::Backends::kServices : bench::AgentInGuest::Backends::kStatic);
  if (!agent.Pass() || !agent.Pass()) Die("the agent did not arrive");
  for (uint32_t i = 0; i < events; ++i) {
    const std::string line = slices ? agent.EventOfReadiness(i / 2 * 7 % services, i % 2 != 0)
                                    : agent.EventOfWeight(i * 7 % services, 100 + i);
    const auto expected = static_cast<uint8_t>(!slices      ? ipvs::Command::kSetReal
                                               : i % 2 == 0 ? ipvs::Command::kRemoveReal
                                                            : ipvs::Command::kNewReal);
    const size_t commands = kernel.commands().size();
    const uint64_t changes = kernel.changes_sent();
    const double cpu = CpuMilliseconds();
    const auto begin = std::chrono::steady_clock::now();
    if (!agent.TakeEvent(line)) Die("event " + std::to_string(i) + ": did not arrive");
    const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - begin;
    const double cpu_used = CpuMilliseconds() - cpu;
    const uint64_t sent = kernel.changes_sent() - changes;
    uint64_t set = 0;
    for (size_t c = commands; c < kernel.commands().size(); ++c) {
      set += kernel.commands()[c] == expected;
    }
    if (sent != 1 || set != 1)
      Die("event " + std::to_string(i) + ": " + std::to_string(sent) + " commands");
    std::printf("%.3f\t%.3f\t%lu\n", wall.count(), cpu_used, static_cast<unsigned long>(sent));
  }
  std::remove((path + "/journal").c_str());
  std::remove(path.c_str());
  return 0;
}

}  // namespace
}  // namespace kube_lvs

int main(int argc, char** argv) {
  const std::string of = argc == 5 ? argv[4] : "";
  if (of != "weight" && of != "slice") {
    std::cerr << "agent_event: wants SERVICES REALS EVENTS weight|slice\n";
    return 2;
  }
  const auto number = [argv](int i) { return static_cast<uint32_t>(std::atoi(argv[i])); };
  return kube_lvs::Main(number(1), number(2), number(3), of);
}
