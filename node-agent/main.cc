// kube-lvs-agent: what it is started as decides which of the four things below it does.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "base/http_endpoint.h"
#include "base/log.h"
#include "base/status.h"
#include "dataplane/plan/diff.h"
#include "kube/client.h"
#include "kube/config.h"
#include "kube/rest_transport.h"
#include "node-agent/check.h"
#include "node-agent/desired/desired.h"
#include "node-agent/facts/nic.h"
#include "node-agent/facts/reader.h"
#include "node-agent/flags.h"
#include "node-agent/leave.h"
#include "node-agent/loop/agent.h"
#include "node-agent/metrics/metrics.h"
#include "node-agent/nic_watch.h"
#include "node-agent/node_backends.h"
#include "node-agent/peers/link.h"
#include "node-agent/peers/ownership.h"
#include "node-agent/peers/probe.h"
#include "node-agent/report/reporter.h"
#include "node-agent/sources/file_source.h"
#include "node-agent/sources/kube_source.h"
#include "node-agent/sources/last_good.h"
#include "node-agent/writer_lock.h"

namespace kube_lvs {
namespace {

constexpr std::chrono::seconds kDryRunPatience{10};

int Fail(const absl::Status& status) {
  std::cerr << "kube-lvs-agent: " << Message(status) << "\n";
  return 1;
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "localhost";
}

// The folder and those above it.
absl::Status MakeFolders(const std::string& path) {
  for (size_t at = 1; at != std::string::npos; ++at) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    if (mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) return FileError(errno, "making", part);
    if (at == std::string::npos) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<kube::ClientConfig> ApiConfig(const Flags& flags) {
  if (!flags.kubeconfig.empty()) return kube::LoadKubeconfig(flags.kubeconfig);
  const char* host = getenv("KUBERNETES_SERVICE_HOST");
  const char* port = getenv("KUBERNETES_SERVICE_PORT");
  absl::StatusOr<kube::ClientConfig> config =
      kube::InClusterConfig(host == nullptr ? "" : host, port == nullptr ? "" : port);
  if (config.ok()) return config;
  return Annotate(config.status(),
                  "where are the objects? --manifests DIR reads them from files, --kubeconfig FILE "
                  "from a cluster; in a pod neither is needed");
}

// Where objects come from, and what that needs.
struct Source {
  std::unique_ptr<kube::HttpTransport> transport;
  std::unique_ptr<kube::Client> client;  // null: files
  std::unique_ptr<DesiredSource> source;
};

absl::StatusOr<Source> OpenSource(const Flags& flags, std::map<ObjectId, api::AnyObject> cached,
                                  const Clock& clock, Logger& log) {
  Source out;
  if (!flags.manifests.empty()) {
    out.source = std::make_unique<FileSource>(flags.manifests, std::move(cached));
    return out;
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const kube::ClientConfig config, ApiConfig(flags));
  KUBE_LVS_ASSIGN_OR_RETURN(out.transport, kube::NewRestTransport(config, clock));
  out.client = std::make_unique<kube::Client>(*out.transport);
  out.source = std::make_unique<KubeSource>(*out.client, std::move(cached), clock, log);
  return out;
}

int RunCheck(const Flags& flags) {
  const auto facts = NewKernelFactsReader(flags.node_name, flags.node_ip)->Read();
  if (!facts.ok()) return Fail(facts.status());
  CheckInput input = GatherCheckInput(flags.bpf_dir, flags.state_dir);
  for (const std::string& interface : NicsOf(*facts)) {
    // One that has gone meanwhile, or tells nothing, gets no advice.
    if (auto nic = ReadNic(interface); nic.ok()) input.nics.push_back(*std::move(nic));
  }
  const auto rows = Check(*facts, input);
  std::cout << ToTable(rows);
  for (const CheckRow& row : rows) {
    if (!row.ok) return 1;
  }
  return 0;
}

int RunDry(const Flags& flags) {
  const SystemClock clock;
  const std::unique_ptr<Logger> log = NewStderrLogger(Level::kError);
  const auto facts = NewKernelFactsReader(flags.node_name, flags.node_ip)->Read();
  if (!facts.ok()) return Fail(facts.status());
  absl::StatusOr<Source> source = OpenSource(flags, {}, clock, *log);
  if (!source.ok()) return Fail(source.status());
  SnapshotPtr snapshot = source->source->Get();
  if (!snapshot->complete && source->client != nullptr) {
    std::mutex mu;
    std::condition_variable changed;
    std::jthread thread([&](std::stop_token stop) {
      source->source->Run(stop, [&changed] { changed.notify_all(); }).IgnoreError();  // OK at stop
    });
    std::unique_lock<std::mutex> lock(mu);
    changed.wait_for(lock, kDryRunPatience, [&] {
      snapshot = source->source->Get();
      return snapshot->complete;
    });
  }
  for (const SourceProblem& problem : snapshot->problems) {
    std::cout << "# problem: " << problem.where << ": " << problem.message << "\n";
  }
  if (!snapshot->complete) return Fail(absl::UnavailableError("not all objects could be read"));
  const Role role = FindRole(*snapshot, *facts);
  // As it will be when all members are there.
  std::set<std::string> members;
  for (const PeerMember& member : role.peers.members) members.insert(member.node);
  std::set<IpAddress> claims;
  for (const IpAddress& vip : role.vips) {
    if (OwnerOf(vip, members) == flags.node_name) claims.insert(vip);
  }
  DesiredOptions options;
  options.auto_dataplane = flags.dataplane;
  const Desired desired = ComputeDesired(*snapshot, *facts, role, claims, options);
  for (const ServiceProblem& problem : desired.problems) {
    std::cout << "# problem: LVSService " << problem.name_space << "/" << problem.name << ": "
              << problem.reason << ": " << problem.message << "\n";
  }
  std::cout << "# node " << flags.node_name << ", "
            << (role.group == nullptr ? "no director"
                                      : "director of group " + role.group->meta.name)
            << "; as if nothing were there yet and all directors were up\n"
            << ToString(Diff(desired.state, State{}));
  return snapshot->problems.empty() && desired.problems.empty() ? 0 : 2;
}

absl::StatusOr<std::string> PeerKey(const Flags& flags) {
  if (flags.peer_key_file.empty()) return std::string();
  KUBE_LVS_ASSIGN_OR_RETURN(std::string key, ReadFile(flags.peer_key_file, 64 * 1024));
  if (!key.empty()) return key;
  return absl::InvalidArgumentError("--peer-key-file=" + flags.peer_key_file + " is empty");
}

absl::Status SayFarewell(const Flags& flags, NodeBackends& backends, const Clock& clock) {
  KUBE_LVS_ASSIGN_OR_RETURN(const NodeFacts facts,
                            NewKernelFactsReader(flags.node_name, flags.node_ip)->Read());
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string key, PeerKey(flags));
  const std::unique_ptr<Logger> log = NewStderrLogger(Level::kError);
  PeerLink link({.node = flags.node_name, .port = flags.peer_port, .key = key, .bind = {}}, nullptr,
                clock, *log, [] {});
  const std::vector<Backend*> all = backends.All();
  return LeaveFellows(flags.state_dir + "/last-good", facts, all, link);
}

int RunCleanup(const Flags& flags) {
  const SystemClock clock;
  if (absl::Status status = MakeFolders(flags.state_dir); !status.ok()) return Fail(status);
  const auto lock = WriterLock::Take(flags.state_dir);
  if (!lock.ok()) return Fail(lock.status());
  auto backends =
      NodeBackends::Open({flags.bpf_dir, flags.state_dir, {}, [] { return 0u; }}, clock);
  if (!backends.ok()) return Fail(backends.status());
  if (const absl::Status status = SayFarewell(flags, **backends, clock); !status.ok()) {
    std::cerr << "kube-lvs-agent: other directors wait before they take over: " << Message(status)
              << "\n";
  }
  if (absl::Status status = (*backends)->CleanUp(); !status.ok()) return Fail(status);
  // Nothing may come back from here at the next start.
  const std::string last_good = flags.state_dir + "/last-good/objects.yaml";
  if (unlink(last_good.c_str()) != 0 && errno != ENOENT) {
    return Fail(FileError(errno, "removing", last_good));
  }
  return 0;
}

// Runs `body` until it is stopped, again and again if it fails.
std::jthread Keep(const char* name, Logger& log,
                  std::function<absl::Status(std::stop_token)> body) {
  return std::jthread([name, &log, body = std::move(body)](std::stop_token stop) {
    while (!stop.stop_requested()) {
      const absl::Status status = body(stop);
      if (status.ok() || stop.stop_requested()) return;
      log.Log(Level::kError, "part of the agent failed, it is started again",
              {{"part", name}, {"error", Message(status)}});
      std::mutex mu;
      std::condition_variable_any never;
      std::unique_lock<std::mutex> lock(mu);
      never.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
    }
  });
}

// Tells the loop when routes or neighbours changed.
absl::Status WatchWays(std::stop_token stop, const NodeBackends& backends, Wakeup& wakeup) {
  std::mutex mu;
  std::condition_variable_any never;
  std::unique_lock<std::mutex> lock(mu);
  while (!stop.stop_requested()) {
    pollfd fd = {backends.RefreshFd(), POLLIN, 0};
    const int ready = fd.fd < 0 ? 0 : poll(&fd, 1, 200);
    if (ready > 0) wakeup.Wake(WakeReason::kWays);
    // Gives the loop time to take the changes, which ends the descriptor's being readable.
    if (ready > 0 || fd.fd < 0) {
      never.wait_for(lock, stop, std::chrono::milliseconds(fd.fd < 0 ? 200 : 20),
                     [] { return false; });
    }
  }
  return absl::OkStatus();
}

// The size that this node's group asks for; 0: none does.
uint32_t ConnectionTableSize(const Snapshot& snapshot, const std::string& node) {
  for (const auto& [name, group] : *snapshot.groups) {
    for (const api::GroupMember& member : group->status.members) {
      if (member.node == node) return group->spec.connection_table_size;
    }
  }
  return 0;
}

absl::Status Run(const Flags& flags, Logger& log) {
  const SystemClock clock;
  KUBE_LVS_RETURN_IF_ERROR(MakeFolders(flags.state_dir));
  KUBE_LVS_RETURN_IF_ERROR(MakeFolders(flags.run_dir));
  KUBE_LVS_ASSIGN_OR_RETURN(const WriterLock lock, WriterLock::Take(flags.state_dir));

  KUBE_LVS_ASSIGN_OR_RETURN(const std::string key, PeerKey(flags));
  const LastGood last_good(flags.state_dir + "/last-good");
  std::vector<SourceProblem> cache_problems;
  auto cached = last_good.Load(cache_problems);
  if (!cached.ok() && !absl::IsNotFound(cached.status())) {
    log.Log(Level::kWarn, "cannot read the objects of the last run",
            {{"error", Message(cached.status())}});
  }
  for (const SourceProblem& problem : cache_problems) {
    log.Log(Level::kWarn, "left out of the objects of the last run",
            {{"object", problem.where}, {"error", problem.message}});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(
      const Source source,
      OpenSource(flags, cached.ok() ? *std::move(cached) : std::map<ObjectId, api::AnyObject>{},
                 clock, log));
  KUBE_LVS_ASSIGN_OR_RETURN(
      const std::unique_ptr<NodeBackends> backends,
      NodeBackends::Open({flags.bpf_dir, flags.state_dir, flags.xdp_interfaces,
                          [&source, &flags] {
                            return ConnectionTableSize(*source.source->Get(), flags.node_name);
                          }},
                         clock));
  const std::unique_ptr<FactsReader> facts = NewKernelFactsReader(flags.node_name, flags.node_ip);

  absl::StatusOr<std::unique_ptr<Prober>> prober = NewIcmpProber();
  if (!prober.ok()) {
    log.Log(Level::kWarn, "silent directors cannot be probed, and are taken for dead",
            {{"error", Message(prober.status())}});
  }
  Wakeup* wakeup = nullptr;
  PeerLink peers({.node = flags.node_name, .port = flags.peer_port, .key = key, .bind = {}},
                 prober.ok() ? *std::move(prober) : nullptr, clock, log,
                 [&wakeup] { wakeup->Wake(WakeReason::kPeers); });
  AgentOptions options;
  options.desired.auto_dataplane = flags.dataplane;
  Agent agent(*source.source, *facts, backends->All(), peers, clock, log, options);
  wakeup = &agent.wakeup();
  agent.SetSetupPeers(peers);
  agent.SetRefresh([&backends] { return backends->Refresh(); });
  agent.SetRenewClaims([&backends](std::optional<Duration> lifetime, std::optional<bool> by_one) {
    return backends->RenewClaims(lifetime, by_one);
  });
  agent.SetAnnounceAgain(
      [&backends](const std::set<IpAddress>& vips) { return backends->AnnounceAgain(vips); });
  agent.SetRunOutClaims([&backends] { return backends->RunOutClaims(); });
  agent.SetDrops([&backends] { return backends->Drops(); });
  agent.SetSharedIpvs([&backends] { return backends->Shared(); });

  Metrics metrics(backends->All(), kVersion, clock);
  metrics.SetPeerCounters([&peers] { return peers.Counters(); });
  metrics.SetAttachments([&backends] {
    return backends->Attachments().value_or(std::map<std::string, std::string>());
  });
  metrics.SetTablesUsed([&backends] { return backends->TablesUsed(); });
  metrics.SetCountsRepaired([&backends] { return backends->CountsRepaired(); });
  agent.AddObserver([&metrics](const PassReport& report) { metrics.OnPass(report); });
  LastGoodWriter last_good_writer(last_good, log);
  agent.AddObserver(
      [&last_good_writer](const PassReport& report) { last_good_writer.Take(report.snapshot); });
  std::map<std::string, std::string> attachments;  // as of the last pass that could read them
  agent.AddObserver([&](const PassReport&) {
    auto now = backends->Attachments();
    if (!now.ok()) return;
    for (const auto& [interface, why_no_xdp] : *now) {
      const auto before = attachments.find(interface);
      if (before != attachments.end() && before->second == why_no_xdp) continue;
      log.Log(Level::kInfo, "interface is served",
              {{"interface", interface},
               {"by", why_no_xdp.empty() ? "native XDP" : "tc"},
               {"reason", why_no_xdp}});
    }
    attachments = *std::move(now);
  });
  NicWatch nics(&ReadNic, clock);
  std::optional<Reporter> reporter;
  if (source.client != nullptr) {
    reporter.emplace(*source.client, flags.node_name, log);
    agent.AddObserver([&](const PassReport& report) {
      Capabilities can;
      can.agent_version = kVersion;
      if (CanDoEbpf(report.facts) && backends->EbpfStatus().ok()) can.dataplanes.push_back("eBPF");
      if (std::ranges::find(report.readable, "IPVS") != report.readable.end()) {
        can.dataplanes.push_back("IPVS");
      }
      can.attachments = attachments;
      can.advice =
          nics.AdviceFor(report.facts, report.attached,
                         static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN))));
      reporter->Report(report, can);
    });
  }
  std::unique_ptr<HttpEndpoint> http;
  if (flags.metrics.has_value()) {
    KUBE_LVS_ASSIGN_OR_RETURN(
        http, HttpEndpoint::Listen(*flags.metrics, [&metrics](std::string_view path) {
          HttpAnswer answer;
          if (path == "/metrics") {
            answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
            answer.body = metrics.Text();
          } else if (path == "/healthz") {
            const bool healthy = metrics.Healthy();
            answer.status = healthy ? 200 : 503;
            answer.body = healthy ? "ok\n" : "the agent's loop stands still\n";
          } else {
            answer.status = 404;
            answer.body = "there are /metrics and /healthz\n";
          }
          return answer;
        }));
  }

  log.Log(Level::kInfo, "started",
          {{"version", kVersion},
           {"node", flags.node_name},
           {"namespace", flags.name_space},
           {"objects", flags.manifests.empty() ? "Kubernetes" : flags.manifests}});
  {
    std::vector<std::jthread> threads;
    if (reporter.has_value()) {
      threads.push_back(
          Keep("report", log, [&](std::stop_token stop) { return reporter->Run(stop); }));
    }
    if (http != nullptr) {
      threads.push_back(
          Keep("metrics", log, [&](std::stop_token stop) { return http->Run(stop); }));
    }
    threads.push_back(Keep("peers", log, [&](std::stop_token stop) { return peers.Run(stop); }));
    threads.push_back(Keep("objects", log, [&](std::stop_token stop) {
      return source.source->Run(stop, [&agent] { agent.wakeup().Wake(WakeReason::kSource); });
    }));
    threads.push_back(Keep("netlink", log, [&](std::stop_token stop) {
      return WatchNetlink(stop, [&agent] { agent.wakeup().Wake(WakeReason::kNetlink); });
    }));
    threads.push_back(Keep("ways", log, [&](std::stop_token stop) {
      return WatchWays(stop, *backends, agent.wakeup());
    }));
    threads.push_back(
        Keep("last good", log, [&](std::stop_token stop) { return last_good_writer.Run(stop); }));
    threads.push_back(Keep("loop", log, [&](std::stop_token stop) { return agent.Run(stop); }));

    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    int signal = 0;
    sigwait(&ends, &signal);
    log.Log(Level::kInfo, "stopping; what is programmed stays", {{"signal", strsignal(signal)}});
    // The loop first: the last thing that happens is the farewell to the peers.
    while (!threads.empty()) threads.pop_back();
  }
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& args) {
  absl::StatusOr<Flags> flags = ParseFlags(args);
  if (!flags.ok()) return Fail(flags.status());
  if (flags->node_name.empty()) flags->node_name = HostName();
  switch (flags->mode) {
    case Flags::Mode::kHelp:
      std::cout << kHelp;
      return 0;
    case Flags::Mode::kVersion:
      std::cout << "kube-lvs-agent " << kVersion << "\n";
      return 0;
    case Flags::Mode::kCheck:
      return RunCheck(*flags);
    case Flags::Mode::kDryRun:
      return RunDry(*flags);
    case Flags::Mode::kCleanup:
      return RunCleanup(*flags);
    case Flags::Mode::kRun:
      break;
  }
  // Before the first thread, so that all of them leave these to sigwait.
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) sigaddset(&blocked, signal);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  const std::unique_ptr<Logger> log = NewStderrLogger(flags->log_level);
  if (const absl::Status status = Run(*flags, *log); !status.ok()) {
    log->Log(Level::kError, "cannot run", {{"error", Message(status)}});
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace kube_lvs

int main(int argc, char** argv) {
  return kube_lvs::Main(std::vector<std::string>(argv + 1, argv + argc));
}
