#include "kube/leader_election.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/status.h"
#include "kube/json.h"
#include "kube/wait.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

constexpr double kJitter = 1.2;  // client-go's: also how much deadline and period must differ
// Longer ones are somebody's mistake and would lock everybody out.
constexpr int64_t kMaxLeaseSeconds = 3600;

std::string MicroTime(std::chrono::system_clock::time_point when) {
  const std::time_t whole = std::chrono::system_clock::to_time_t(when);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(
                          when - std::chrono::system_clock::from_time_t(whole))
                          .count();
  std::tm utc{};
  gmtime_r(&whole, &utc);
  char date[40];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  char out[64];
  std::snprintf(out, sizeof(out), "%s.%06dZ", date, static_cast<int>(micros));
  return out;
}

absl::StatusOr<LeaseView> DecodeLease(const json& lease) {
  LeaseView view;
  KUBE_LVS_ASSIGN_OR_RETURN(view.holder, JsonString(lease, {"spec", "holderIdentity"}));
  KUBE_LVS_ASSIGN_OR_RETURN(view.resource_version,
                            JsonString(lease, {"metadata", "resourceVersion"}));
  KUBE_LVS_ASSIGN_OR_RETURN(const int64_t seconds,
                            JsonInt(lease, {"spec", "leaseDurationSeconds"}));
  view.duration = std::chrono::seconds(std::clamp<int64_t>(seconds, 0, kMaxLeaseSeconds));
  KUBE_LVS_ASSIGN_OR_RETURN(view.transitions, JsonInt(lease, {"spec", "leaseTransitions"}));
  return view;
}

}  // namespace

absl::Status Validate(const LeaseTimes& times) {
  if (times.lease_duration < std::chrono::seconds(1) ||
      times.lease_duration > std::chrono::seconds(kMaxLeaseSeconds) ||
      times.lease_duration % std::chrono::seconds(1) != std::chrono::milliseconds(0)) {
    return absl::InvalidArgumentError("lease duration: must be whole seconds, 1 to 3600");
  }
  if (times.lease_duration <= times.renew_deadline) {
    return absl::InvalidArgumentError("lease duration: must be greater than the renew deadline");
  }
  if (times.retry_period <= std::chrono::milliseconds(0) ||
      std::chrono::duration<double>(times.renew_deadline) <=
          kJitter * std::chrono::duration<double>(times.retry_period)) {
    return absl::InvalidArgumentError(
        "renew deadline: must be greater than 1.2 times the retry period, which must not be 0");
  }
  return absl::OkStatus();
}

LeaseAction Decide(const std::optional<LeaseView>& seen, TimePoint changed_at,
                   const std::string& me, TimePoint now) {
  if (!seen) return LeaseAction::kCreate;
  if (seen->holder == me) return LeaseAction::kRenew;
  if (seen->holder.empty() || now - changed_at >= seen->duration) return LeaseAction::kTake;
  return LeaseAction::kWait;
}

LeaderElector::LeaderElector(const Client& client, LeaderElectionOptions options, Lead lead,
                             const Clock& clock, Logger& log)
    : client_(client),
      options_(std::move(options)),
      lead_(std::move(lead)),
      clock_(clock),
      log_(log) {}

absl::Status LeaderElector::Run(std::stop_token stop) {
  KUBE_LVS_RETURN_IF_ERROR(Validate(options_.times));
  if (options_.identity.empty()) return absl::InvalidArgumentError("identity: is empty");
  std::mt19937_64 generator(std::hash<std::string>()(options_.identity));
  std::uniform_real_distribution<double> random(1.0, 1.0 + kJitter);

  while (true) {
    if (stop.stop_requested()) return absl::OkStatus();
    const absl::Status tried = Attempt(stop);
    if (tried.ok()) break;
    if (!absl::IsAborted(tried) && !stop.stop_requested()) {
      log_.Log(Level::kWarn, "lease cannot be had",
               {{"lease", options_.lease.Key()}, {"error", Message(tried)}});
    }
    const auto wait =
        std::chrono::duration<double>(options_.times.retry_period) * random(generator);
    WaitFor(std::chrono::duration_cast<Duration>(wait), stop);
  }
  log_.Log(Level::kInfo, "became leader",
           {{"lease", options_.lease.Key()}, {"identity", options_.identity}});

  std::stop_source over;  // leadership ended: by `stop`, by another holder, or by the deadline
  {
    const std::stop_callback on_stop(stop, [&over] { over.request_stop(); });
    // A call that hangs must not keep a leader acting beyond its deadline.
    const std::jthread watchdog([this, &over] {
      while (!over.stop_requested() && IsLeader()) {
        Duration left{0};
        {
          const std::lock_guard<std::mutex> lock(mu_);
          if (last_renewed_) left = *last_renewed_ + options_.times.renew_deadline - clock_.Now();
        }
        WaitFor(std::max<Duration>(left, std::chrono::milliseconds(1)), over.get_token());
      }
      over.request_stop();
    });
    const std::jthread leading([this, &over] { lead_(over.get_token()); });
    while (!over.stop_requested()) {
      WaitFor(options_.times.retry_period, over.get_token());
      if (over.stop_requested()) break;
      const absl::Status renewed = Attempt(over.get_token());
      if (renewed.ok() || over.stop_requested()) continue;
      log_.Log(Level::kWarn, "lease not renewed",
               {{"lease", options_.lease.Key()}, {"error", Message(renewed)}});
      if (Holder() != options_.identity) over.request_stop();
    }
  }
  const bool ours = Holder() == options_.identity;
  const bool asked = stop.stop_requested() && IsLeader();
  {
    const std::lock_guard<std::mutex> lock(mu_);
    last_renewed_.reset();
  }
  if (asked && ours) Release();
  log_.Log(Level::kInfo, "stopped leading",
           {{"lease", options_.lease.Key()}, {"identity", options_.identity}});
  if (stop.stop_requested()) return absl::OkStatus();
  return absl::AbortedError("lease " + options_.lease.Key() + ": leadership lost");
}

// OK: we hold the lease now. kAborted: another one does.
absl::Status LeaderElector::Attempt(std::stop_token stop) {
  const TimePoint began = clock_.Now();
  absl::StatusOr<json> lease = client_.Get(kLeases, options_.lease, stop);
  if (!lease.ok() && !absl::IsNotFound(lease.status())) return lease.status();
  std::optional<LeaseView> view;
  if (lease.ok()) {
    KUBE_LVS_ASSIGN_OR_RETURN(view, DecodeLease(*lease));
  }
  TimePoint changed_at;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (seen_ != view) {
      seen_ = view;
      changed_at_ = clock_.Now();
    }
    changed_at = changed_at_;
  }
  const LeaseAction action = Decide(view, changed_at, options_.identity, clock_.Now());
  if (action == LeaseAction::kWait) {
    return absl::AbortedError("held by " + view->holder);
  }
  const std::string now = MicroTime(clock_.Wall());
  json body = lease.ok() ? *std::move(lease) : json::object();
  body["apiVersion"] = kLeases.ApiVersion();
  body["kind"] = std::string(kLeases.kind);
  body["metadata"]["name"] = options_.lease.name;
  body["metadata"]["namespace"] = options_.lease.ns;
  json& spec = body["spec"];
  if (!spec.is_object()) spec = json::object();
  spec["holderIdentity"] = options_.identity;
  spec["leaseDurationSeconds"] =
      std::chrono::duration_cast<std::chrono::seconds>(options_.times.lease_duration).count();
  spec["renewTime"] = now;
  if (action != LeaseAction::kRenew) {
    spec["acquireTime"] = now;
    spec["leaseTransitions"] = view ? view->transitions + 1 : 0;
  }
  // An update carries the resourceVersion that was read: of two that try, one gets a conflict.
  const absl::StatusOr<json> written =
      action == LeaseAction::kCreate ? client_.Create(kLeases, options_.lease.ns, body, {}, stop)
                                     : client_.Update(kLeases, options_.lease, body, {}, stop);
  if (!written.ok()) return written.status();
  KUBE_LVS_ASSIGN_OR_RETURN(const LeaseView after, DecodeLease(*written));
  const std::lock_guard<std::mutex> lock(mu_);
  seen_ = after;
  changed_at_ = clock_.Now();
  last_renewed_ = began;
  return absl::OkStatus();
}

void LeaderElector::Release() {
  absl::StatusOr<json> lease = client_.Get(kLeases, options_.lease);
  if (lease.ok() &&
      JsonString(*lease, {"spec", "holderIdentity"}).value_or("") == options_.identity) {
    json& spec = (*lease)["spec"];
    spec["holderIdentity"] = "";
    spec["leaseDurationSeconds"] = 1;
    spec["renewTime"] = MicroTime(clock_.Wall());
    lease = client_.Update(kLeases, options_.lease, *lease);
  }
  if (!lease.ok()) {
    log_.Log(Level::kWarn, "lease not released, it runs out by itself",
             {{"lease", options_.lease.Key()}, {"error", Message(lease.status())}});
  }
  const std::lock_guard<std::mutex> lock(mu_);
  seen_.reset();
}

bool LeaderElector::IsLeader() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return last_renewed_ && seen_ && seen_->holder == options_.identity &&
         clock_.Now() - *last_renewed_ < options_.times.renew_deadline;
}

std::string LeaderElector::Holder() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return seen_ ? seen_->holder : "";
}

}  // namespace kube_lvs::kube
