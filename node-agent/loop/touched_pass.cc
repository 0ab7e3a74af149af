// A pass over what a change touched.
#include <algorithm>
#include <utility>

#include "dataplane/plan/diff.h"
#include "node-agent/desired/touched.h"
#include "node-agent/loop/agent.h"

namespace kube_lvs {
namespace {

// From so many on a look at everything costs no more.
constexpr size_t kMostTouched = 1000;

// Whether a real server that its node must be set up for is to get its first connections.
bool NeedsAdmission(const ServiceTable& wanted, const ServiceTable& actual) {
  for (const auto& [key, service] : wanted) {
    const auto there = actual.find(key);
    for (const RealServer& real : service.reals) {
      if (real.method == ForwardingMethod::kNat) continue;
      if (there == actual.end()) return true;
      const auto& reals = there->second.reals;
      const auto same = std::ranges::find(reals, real.at, &RealServer::at);
      if (same == reals.end() || (same->weight == 0 && real.weight != 0)) return true;
    }
  }
  return false;
}

}  // namespace

std::set<std::string> Agent::DrainingServices() const {
  std::set<std::string> services;
  for (const auto& [real, since] : drain_clock_) {
    const auto origin = settled_->report.origins->find(real.first);
    if (origin == settled_->report.origins->end()) continue;
    services.insert(origin->second.name_space + "/" + origin->second.name);
  }
  return services;
}

std::optional<PassReport> Agent::TouchedPass() {
  if (!settled_.has_value() || !settled_->report.in_sync) return std::nullopt;
  const TimePoint begin = clock_.Now();
  const SnapshotPtr snapshot = source_.Get();
  const Snapshot& before = *settled_->report.snapshot;
  std::optional<std::set<std::string>> touched = ServicesTouched(before, *snapshot);
  if (!touched.has_value()) return std::nullopt;
  touched->merge(DrainingServices());
  if (touched->size() > kMostTouched) return std::nullopt;
  const std::optional<TouchedRules> rules =
      ComputeTouched(*touched, before, *snapshot, *facts_, settled_->role, settled_->around,
                     *settled_->report.origins, options_.desired);
  if (!rules.has_value()) return std::nullopt;
  std::set<ServiceKey> keys;
  for (const auto& [key, service] : rules->services) keys.insert(key);
  const absl::StatusOr<ServiceReading> reading = ReadSome(backends_, keys);
  if (!reading.ok() || NeedsAdmission(rules->services, reading->services)) return std::nullopt;

  const State actual{.services = reading->services, .items = {}};
  Drained drained = Drain({.services = rules->services, .items = {}}, actual, reading->stats,
                          rules->drain, drain_clock_, begin);
  const Plan plan = Diff(drained.desired, actual);
  const TimePoint planned_at = clock_.Now();
  PassReport report = settled_->report;
  report.snapshot = snapshot;
  report.drift_repaired = 0;
  report.plan_time = planned_at - begin;
  report.results = ApplyPlan(plan, actual, backends_, backoff_, begin);
  drain_clock_ = std::move(drained.clock);
  next_drain_check_ = drained.next_check.value_or(TimePoint::max());

  bool arrived = true;
  for (const StepResult& result : report.results) {
    arrived = arrived && result.status.ok();
    const ServiceKey* key = KeyOf(result.step);
    if (result.status.ok() &&
        settled_->target.services.at(*key) == drained.desired.services.at(*key)) {
      ++report.drift_repaired;
    }
  }
  if (!plan.steps.empty() && arrived) {
    const absl::StatusOr<ServiceReading> again = ReadSome(backends_, keys);
    arrived = again.ok() &&
              Diff(drained.desired, {.services = again->services, .items = {}}).steps.empty();
  }
  report.apply_time = clock_.Now() - planned_at;
  report.in_sync = arrived;
  if (arrived) {
    for (auto& [key, service] : drained.desired.services) {
      settled_->target.services[key] = std::move(service);
    }
    settled_->report = report;
    settled_->report.results.clear();
  } else {
    // A look at everything says what is wrong, and when it is tried again.
    settled_.reset();
    next_pass_ = begin;
  }
  LogResults(report);
  for (const OnPass& observer : observers_) observer(report);
  return report;
}

}  // namespace kube_lvs
