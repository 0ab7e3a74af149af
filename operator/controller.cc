#include "operator/controller.h"

#include <optional>
#include <thread>
#include <utility>

#include "base/status.h"
#include "kube/wait.h"

namespace kube_lvs::controller {
namespace {

// Each write waits some 10 ms for the API server.
constexpr int kWorkers = 4;
constexpr kube::QueueBackoff kBackoff{.first = std::chrono::milliseconds(20),
                                      .most = std::chrono::seconds(30)};

}  // namespace

Controller::Controller(const kube::Client& client, const Cluster& cluster,
                       kube::EventRecorder& events, Metrics& metrics, MayWrite may_write,
                       ControllerOptions options, const Clock& clock, Logger& log)
    : tools_{.client = client,
             .cluster = cluster,
             .events = events,
             .metrics = metrics,
             .may_write = std::move(may_write),
             .create_default_group = options.create_default_group,
             .clock = clock,
             .log = log} {}

void Controller::Changed(Kind kind, const std::vector<std::string>& keys) {
  std::shared_ptr<kube::WorkQueue> queue;
  {
    const std::lock_guard<std::mutex> lock(queue_mu_);
    queue = queue_;
  }
  if (queue == nullptr) return;
  for (const std::string& key : keys) queue->Add(KeyOf(kind, key));
}

void Controller::Lead(std::stop_token stop) {
  while (!stop.stop_requested() && !tools_.cluster.Synced()) {
    kube::WaitFor(std::chrono::milliseconds(50), stop);
  }
  const auto queue = std::make_shared<kube::WorkQueue>(tools_.clock, kBackoff);
  // From here on changes are queued; Start looks at all that was before.
  SetQueue(queue);
  Leader leader(tools_, *queue);
  while (!stop.stop_requested()) {
    const absl::Status started = leader.Start(stop);
    if (started.ok()) break;
    tools_.log.Log(Level::kWarn, "cannot begin to lead", {{"error", Message(started)}});
    kube::WaitFor(std::chrono::seconds(1), stop);
  }
  tools_.metrics.SetLeader(true);
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < kWorkers && !stop.stop_requested(); ++i) {
      workers.emplace_back([this, &leader, &queue, &stop] { RunWorker(leader, *queue, stop); });
    }
  }  // waits for the workers: no write is under way when the lease is released
  tools_.metrics.SetLeader(false);
  queue->Stop();
  SetQueue(nullptr);
}

void Controller::SetQueue(std::shared_ptr<kube::WorkQueue> queue) {
  const std::lock_guard<std::mutex> lock(queue_mu_);
  queue_ = std::move(queue);
}

void Controller::RunWorker(Leader& leader, kube::WorkQueue& queue, const std::stop_token& stop) {
  while (const std::optional<std::string> key = queue.Get(stop)) {
    const TimePoint began = tools_.clock.Now();
    const absl::StatusOr<bool> written = leader.Process(*key, stop);
    if (written.ok()) {
      queue.Forget(*key);
    } else if (!stop.stop_requested()) {
      const bool expected = kube::IsConflict(written.status());
      tools_.log.Log(expected ? Level::kDebug : Level::kWarn, "will be tried again",
                     {{"key", *key}, {"error", Message(written.status())}});
      queue.AddRateLimited(*key);
    }
    queue.Done(*key);
    tools_.metrics.Reconciled(!written.ok() ? ReconcileResult::kError
                              : *written    ? ReconcileResult::kWritten
                                            : ReconcileResult::kUnchanged,
                              tools_.clock.Now() - began);
    tools_.metrics.SetQueueLength(queue.Length());
  }
}

}  // namespace kube_lvs::controller
