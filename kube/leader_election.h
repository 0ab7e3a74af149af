// One leader among several processes by a Lease (coordination.k8s.io/v1), as client-go does it.
// It does not fence: an old leader whose clock runs slower may overlap with the new one, so writes
// carry a resourceVersion.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"

namespace kube_lvs::kube {

struct LeaseTimes {
  std::chrono::milliseconds lease_duration{15'000};  // others wait this long without a renewal
  std::chrono::milliseconds renew_deadline{10'000};  // we give up after this long without one
  std::chrono::milliseconds retry_period{2'000};
};

// lease_duration > renew_deadline > 1.2 * retry_period, whole seconds >= 1 for lease_duration.
absl::Status Validate(const LeaseTimes& times);

// A Lease as we saw it.
struct LeaseView {
  std::string holder = {};            // empty: released
  std::string resource_version = {};  // of this very state
  std::chrono::milliseconds duration{0};
  int64_t transitions = 0;

  bool operator==(const LeaseView&) const = default;
};

enum class LeaseAction {
  kCreate,  // there is none
  kTake,    // it is free or its holder did not renew it in time
  kRenew,   // we hold it
  kWait,    // another holds it
};

// What `me` may do at `now`. `changed_at` is when we, by our own clock, first saw this
// resourceVersion: the times written in a Lease by another machine are never compared.
LeaseAction Decide(const std::optional<LeaseView>& seen, TimePoint changed_at,
                   const std::string& me, TimePoint now);

struct LeaderElectionOptions {
  ObjectName lease = {};
  std::string identity = {};  // unique among the candidates: the pod's name and a random part
  LeaseTimes times = {};
};

class LeaderElector {
 public:
  // Called in a thread of its own when we become leader; must return soon after `leading` is
  // triggered, which happens when leadership is lost or the elector is stopped.
  using Lead = std::function<void(std::stop_token leading)>;

  // All references must outlive the elector. Give it a Client of its own whose timeout is
  // max(1 s, renew_deadline / 2), so that one slow call does not cost the leadership.
  LeaderElector(const Client& client, LeaderElectionOptions options, Lead lead, const Clock& clock,
                Logger& log);

  // Competes until it leads, leads until it loses. OK: `stop` was triggered; a lease that we held
  // was released. kAborted: leadership was lost (exit, or call Run again to compete anew). Returns
  // only after `lead` has returned. kInvalidArgument: see Validate.
  absl::Status Run(std::stop_token stop);

  // True from the first successful write until renew_deadline after the last one, whatever the
  // network does: check it before a write that must not be made by two.
  bool IsLeader() const;
  std::string Holder() const;  // who leads as far as we know; empty if unknown

 private:
  absl::Status Attempt(std::stop_token stop);
  void Release();

  const Client& client_;
  const LeaderElectionOptions options_;
  const Lead lead_;
  const Clock& clock_;
  Logger& log_;

  mutable std::mutex mu_;
  std::optional<LeaseView> seen_;          // guarded by mu_
  TimePoint changed_at_{};                 // guarded by mu_
  std::optional<TimePoint> last_renewed_;  // guarded by mu_; when the last good write *began*
};

}  // namespace kube_lvs::kube
