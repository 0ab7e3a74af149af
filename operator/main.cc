// kube-lvs-operator: gives VIPs to LVSServices, members to director groups, and all of them a
// status.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/http_endpoint.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/status.h"
#include "kube/client.h"
#include "kube/config.h"
#include "kube/events.h"
#include "kube/leader_election.h"
#include "kube/rest_transport.h"
#include "operator/cluster.h"
#include "operator/controller.h"
#include "operator/flags.h"
#include "operator/metrics.h"

namespace kube_lvs::controller {
namespace {

std::string EnvOr(const char* name, const std::string& absent) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? absent : value;
}

// Two candidates of one name would both believe to lead.
std::string Identity(std::random_device& random) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  std::array<char, 16> suffix{};
  std::snprintf(suffix.data(), suffix.size(), "_%08x", static_cast<unsigned>(random()));
  return EnvOr("POD_NAME", host[0] == '\0' ? "operator" : host.data()) + suffix.data();
}

absl::StatusOr<kube::ClientConfig> LoadConfig(const Flags& flags) {
  if (!flags.kubeconfig.empty()) return kube::LoadKubeconfig(flags.kubeconfig);
  return kube::InClusterConfig(EnvOr("KUBERNETES_SERVICE_HOST", ""),
                               EnvOr("KUBERNETES_SERVICE_PORT", ""));
}

HttpAnswer Answer(const Metrics& metrics, std::string_view path) {
  if (path == "/metrics") {
    return {.status = 200,
            .content_type = "text/plain; version=0.0.4; charset=utf-8",
            .body = metrics.Text()};
  }
  if (path == "/healthz") return {.status = 200, .body = "ok\n"};
  return {.status = 404, .body = "/metrics and /healthz are here\n"};
}

absl::Status Run(const Flags& flags, Logger& log, const sigset_t& signals) {
  const SystemClock clock;
  std::random_device random;
  KUBE_LVS_ASSIGN_OR_RETURN(const kube::ClientConfig config, LoadConfig(flags));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<kube::HttpTransport> transport,
                            kube::NewRestTransport(config, clock));
  std::string ns = flags.name_space.empty() ? config.default_namespace : flags.name_space;
  if (ns.empty()) ns = "kube-lvs";
  const std::string identity = Identity(random);

  Metrics metrics;
  KUBE_LVS_ASSIGN_OR_RETURN(
      const std::unique_ptr<HttpEndpoint> endpoint,
      HttpEndpoint::Listen(flags.metrics_address,
                           [&metrics](std::string_view path) { return Answer(metrics, path); }));

  const kube::Client client(*transport);
  kube::EventRecorder events(client, "kube-lvs-operator", identity, clock, log);
  // One slow call must not cost the leadership.
  const kube::Client lease_client(*transport, std::chrono::seconds(5));
  Controller* controller_for_changes = nullptr;
  Cluster cluster(
      client,
      [&controller_for_changes](Kind kind, const std::vector<std::string>& keys) {
        controller_for_changes->Changed(kind, keys);
      },
      random(), clock, log);
  std::atomic<const kube::LeaderElector*> elector_for_writes = nullptr;
  Controller controller(
      client, cluster, events, metrics,
      [&elector_for_writes] { return elector_for_writes.load()->IsLeader(); },
      {.create_default_group = flags.create_default_group}, clock, log);
  controller_for_changes = &controller;
  kube::LeaderElector elector(
      lease_client, {.lease = {ns, flags.lease_name}, .identity = identity},
      [&controller](std::stop_token leading) { controller.Lead(std::move(leading)); }, clock, log);
  elector_for_writes = &elector;

  log.Log(
      Level::kInfo, "started",
      {{"version", kVersion},
       {"identity", identity},
       {"server", config.server},
       {"lease", ns + "/" + flags.lease_name},
       {"metrics", flags.metrics_address.ip.ToString() + ":" + std::to_string(endpoint->port())}});
  {
    const auto note = [&log](const char* what, const absl::Status& status) {
      if (!status.ok()) log.Log(Level::kError, what, {{"error", Message(status)}});
    };
    std::jthread serving([&](std::stop_token stop) { note("metrics", endpoint->Run(stop)); });
    std::jthread watching([&](std::stop_token stop) { note("watch", cluster.Run(stop)); });
    std::jthread telling([&](std::stop_token stop) { note("events", events.Run(stop)); });
    std::jthread competing([&](std::stop_token stop) {
      while (!stop.stop_requested()) {
        if (const absl::Status status = elector.Run(stop); !status.ok()) {
          log.Log(Level::kWarn, "competes anew", {{"error", Message(status)}});
        }
      }
    });
    int signal = 0;
    sigwait(&signals, &signal);
    log.Log(Level::kInfo, "stopping", {{"signal", std::to_string(signal)}});
    // The lease first, while the rest still works: another replica leads at once.
    competing.request_stop();
    competing.join();
  }
  log.Log(Level::kInfo, "stopped");
  return absl::OkStatus();
}

}  // namespace
}  // namespace kube_lvs::controller

int main(int argc, char** argv) {
  using namespace kube_lvs;  // NOLINT
  const absl::StatusOr<controller::Flags> flags =
      controller::ParseFlags(std::vector<std::string>(argv + 1, argv + argc));
  if (!flags.ok()) {
    std::fprintf(stderr, "kube-lvs-operator: %s\n", Message(flags.status()).c_str());
    return 2;
  }
  if (flags->help) {
    std::fputs(controller::kHelp, stdout);
    return 0;
  }
  if (flags->version) {
    std::printf("kube-lvs-operator %s\n", controller::kVersion);
    return 0;
  }
  // All threads inherit it: only sigwait sees these.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const std::unique_ptr<Logger> log = NewStderrLogger(flags->log_level);
  const absl::Status status = controller::Run(*flags, *log, signals);
  if (!status.ok()) {
    log->Log(Level::kError, "cannot start", {{"error", Message(status)}});
    return 1;
  }
  return 0;
}
