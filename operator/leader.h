// One term of leading: makes the status of every LVSService, pool and group what it should be.
// Level-triggered: each key is looked at from what is there now, however often and in whatever
// order events came. Writes only what differs, with the version it was computed from.
#pragma once

#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/api/types.h"
#include "kube/client.h"
#include "kube/events.h"
#include "kube/work_queue.h"
#include "operator/cluster.h"
#include "operator/memory.h"
#include "operator/metrics.h"
#include "operator/written.h"

namespace kube_lvs::controller {

inline constexpr char kFieldManager[] = "kube-lvs-operator";

// What a leader works with.
struct LeaderTools {
  const kube::Client& client;
  const Cluster& cluster;
  kube::EventRecorder& events;
  Metrics& metrics;
  std::function<bool()> may_write;  // asked before each write
  bool create_default_group = false;
  const Clock& clock;
  Logger& log;
};

class Leader {
 public:
  // Both must outlive it. What is due is put into `queue`.
  Leader(const LeaderTools& tools, kube::WorkQueue& queue) : tools_(tools), queue_(queue) {}

  // To be called once, before Process, when the cluster is synced: everything becomes due. Lists
  // the LVSServices anew, so that no VIP that the leader before granted last is granted again.
  absl::Status Start(std::stop_token stop);

  // Looks at what the key is about; whether something was written. Thread-safe.
  absl::StatusOr<bool> Process(const std::string& key, std::stop_token stop);

 private:
  // The memory under its lock; what it made due is queued when the lock is given back.
  class Access;
  // A status to write.
  struct Write;

  // reconcile_service.cc
  absl::StatusOr<bool> ReconcileService(const std::string& key, std::stop_token stop);
  absl::StatusOr<bool> ReconcileUnreadable(const std::string& key, const std::string& why,
                                           std::stop_token stop);
  std::optional<Write> PlanService(const std::string& key);               // needs mu_
  std::optional<Allocation> AllocateFor(const api::LvsService& service);  // needs mu_
  void ForgetService(const std::string& key);                             // needs mu_
  // reconcile_pool.cc, reconcile_group.cc
  absl::StatusOr<bool> ReconcilePool(const std::string& name, std::stop_token stop);
  absl::StatusOr<bool> ReconcileGroup(const std::string& name, std::stop_token stop);
  absl::StatusOr<bool> ReconcileDefaultGroup(std::stop_token stop);

  void Note(const Work& work);
  void Tick();
  absl::StatusOr<bool> Apply(const kube::Resource& resource, const kube::ObjectName& object,
                             const std::string& version, const nlohmann::json& status,
                             nlohmann::json& answer, std::stop_token stop);
  std::string Now() const;

  const LeaderTools tools_;
  kube::WorkQueue& queue_;

  std::mutex mu_;
  Memory memory_;  // guarded by mu_, as all below
  Written<api::LvsService> written_services_;
  Written<api::LvsAddressPool> written_pools_;
  Written<api::LvsDirectorGroup> written_groups_;
};

class Leader::Access {
 public:
  explicit Access(Leader& leader) : leader_(leader), lock_(leader.mu_) {}
  ~Access() {
    for (const Due& due : leader_.memory_.TakeDue()) {
      if (due.after > Duration::zero()) {
        leader_.queue_.AddAfter(due.key, due.after);
      } else {
        leader_.queue_.Add(due.key);
      }
    }
  }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

 private:
  Leader& leader_;
  const std::lock_guard<std::mutex> lock_;
};

}  // namespace kube_lvs::controller
