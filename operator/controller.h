// The leader's work: makes the status of every LVSService, pool and group what it should be.
// Level-triggered: each key is looked at from what is there now, however often and in whatever
// order events came. Writes only what differs, with the version it was computed from.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/api/resolve.h"
#include "kube/api/types.h"
#include "kube/client.h"
#include "kube/events.h"
#include "kube/work_queue.h"
#include "operator/allocate.h"
#include "operator/cluster.h"
#include "operator/group.h"
#include "operator/metrics.h"
#include "operator/pools.h"

namespace kube_lvs::controller {

inline constexpr char kFieldManager[] = "kube-lvs-operator";

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
  ~Controller();

  // To be called by the cluster's stores. Does nothing unless Lead is running.
  void Changed(Kind kind, const std::vector<std::string>& keys);

  // Leads until `stop`. First waits until the cluster is synced, and lists the LVSServices anew, so
  // that no VIP that the leader before granted last is granted again.
  void Lead(std::stop_token stop);

 private:
  // What the leader knows beside the stores; made anew at each Lead.
  struct Memory;
  // A status to write, and what to tell about it.
  struct Write;

  absl::Status Start(std::stop_token stop);
  absl::StatusOr<bool> Process(const std::string& key, std::stop_token stop);
  absl::StatusOr<bool> ReconcileService(const std::string& key, std::stop_token stop);
  absl::StatusOr<bool> ReconcileUnreadable(const std::string& key, const std::string& why,
                                           std::stop_token stop);
  absl::StatusOr<bool> ReconcilePool(const std::string& name, std::stop_token stop);
  absl::StatusOr<bool> ReconcileGroup(const std::string& name, std::stop_token stop);
  absl::StatusOr<bool> ReconcileDefaultGroup(std::stop_token stop);
  absl::StatusOr<bool> Apply(const kube::Resource& resource, const kube::ObjectName& object,
                             const std::string& version, const nlohmann::json& status,
                             nlohmann::json& answer, std::stop_token stop);

  // All below need mu_.
  std::optional<Write> PlanService(const std::string& key);
  void ForgetService(const std::string& key);
  void SliceChanged(const std::string& key);
  void LvsNodeChanged(const std::string& name);
  void NodesChanged();
  void PoolsChanged();
  void NamespaceChanged(const std::string& name);
  void Tick();
  void QueueAllServices();
  void QueueBackendsOf(const std::string& service);
  std::string Now() const;

  const kube::Client& client_;
  const Cluster& cluster_;
  kube::EventRecorder& events_;
  Metrics& metrics_;
  const MayWrite may_write_;
  const ControllerOptions options_;
  const Clock& clock_;
  Logger& log_;

  std::mutex queue_mu_;
  std::shared_ptr<kube::WorkQueue> queue_;  // guarded by queue_mu_; nullptr unless leading

  std::mutex mu_;
  std::unique_ptr<Memory> memory_;  // guarded by mu_
};

}  // namespace kube_lvs::controller
