// Leads when it is told to: watches' changes become keys in a queue, and workers have the leader
// look at them (leader.h). A new leader for each term: nothing is remembered from one to the next.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "kube/events.h"
#include "kube/work_queue.h"
#include "operator/cluster.h"
#include "operator/leader.h"
#include "operator/metrics.h"

namespace kube_lvs::controller {

struct ControllerOptions {
  bool create_default_group = false;  // whenever there is no LVSDirectorGroup at all
};

class Controller {
 public:
  // Asked before each write: false while another replica may lead.
  using MayWrite = std::function<bool()>;

  // All references must outlive it. `cluster` is one that reports to Changed().
  Controller(const kube::Client& client, const Cluster& cluster, kube::EventRecorder& events,
             Metrics& metrics, MayWrite may_write, ControllerOptions options, const Clock& clock,
             Logger& log);

  // To be called by the cluster's stores. Does nothing unless Lead is running.
  void Changed(Kind kind, const std::vector<std::string>& keys);

  // Leads until `stop`, as soon as the cluster is synced.
  void Lead(std::stop_token stop);

 private:
  void SetQueue(std::shared_ptr<kube::WorkQueue> queue);
  void RunWorker(Leader& leader, kube::WorkQueue& queue, const std::stop_token& stop);

  const LeaderTools tools_;
  std::mutex queue_mu_;
  std::shared_ptr<kube::WorkQueue> queue_;  // guarded by queue_mu_; nullptr unless leading
};

}  // namespace kube_lvs::controller
