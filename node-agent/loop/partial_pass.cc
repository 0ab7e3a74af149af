// Passes over some services: those that a change touched, and those of which a look says that they
// are not as they were left.
#include <algorithm>
#include <utility>

#include "base/status.h"
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
  drain_clock_ = std::move(drained.clock);
  next_drain_check_ = drained.next_check.value_or(TimePoint::max());
  return PassOver(drained.desired, actual, snapshot, begin);
}

PassReport Agent::PassOver(const State& desired, const State& actual, SnapshotPtr snapshot,
                           TimePoint begin) {
  std::set<ServiceKey> keys;
  for (const auto& [key, service] : desired.services) keys.insert(key);
  const Plan plan = Diff(desired, actual);
  const TimePoint planned_at = clock_.Now();
  PassReport report = settled_->report;
  report.snapshot = std::move(snapshot);
  report.drift_repaired = 0;
  report.plan_time = planned_at - begin;
  report.results = ApplyPlan(plan, actual, backends_, backoff_, begin);

  bool arrived = true;
  for (const StepResult& result : report.results) {
    arrived = arrived && result.status.ok();
    const ServiceKey* key = KeyOf(result.step);
    if (result.status.ok() && settled_->target.services.at(*key) == desired.services.at(*key)) {
      ++report.drift_repaired;
    }
  }
  if (!plan.steps.empty() && arrived) {
    const absl::StatusOr<ServiceReading> again = ReadSome(backends_, keys);
    arrived = again.ok() && Diff(desired, {.services = again->services, .items = {}}).steps.empty();
  }
  report.apply_time = clock_.Now() - planned_at;
  report.in_sync = arrived;
  if (arrived) {
    for (const auto& [key, service] : desired.services) settled_->target.services[key] = service;
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

bool Agent::Look() {
  if (!settled_.has_value() || !settled_->report.in_sync) return false;
  const TimePoint begin = clock_.Now();
  const absl::StatusOr<NodeFacts> facts = facts_reader_.Read();
  if (!facts.ok() || facts_ != *facts) return false;
  const State& target = settled_->target;
  std::vector<const Backend*> looked;
  std::set<ServiceKey> suspects;
  State actual;  // of those that have no cheap look
  for (Backend* backend : backends_) {
    absl::StatusOr<std::set<ServiceKey>> found = backend->Suspects(target.services);
    if (found.ok()) {
      looked.push_back(backend);
      suspects.merge(*found);
      continue;
    }
    absl::StatusOr<State> all = found.status();
    if (absl::IsUnimplemented(found.status())) all = backend->Read();
    if (!all.ok()) return false;
    actual.services.merge(all->services);
    actual.items.merge(all->items);
  }
  State expected{.services = {}, .items = target.items};
  State wanted;  // of the suspects
  for (const auto& [key, service] : target.services) {
    const auto takes = [step = Step(RemoveService{key})](const Backend* b) {
      return b->Takes(step);
    };
    if (std::ranges::none_of(looked, takes)) expected.services.emplace(key, service);
    if (suspects.contains(key)) wanted.services.emplace(key, service);
  }
  if (wanted.services.size() != suspects.size() || suspects.size() > kMostTouched ||
      !Diff(expected, actual).steps.empty()) {
    return false;
  }
  absl::StatusOr<ServiceReading> reading = ServiceReading{};
  if (!suspects.empty()) reading = ReadSome(backends_, suspects);
  if (!reading.ok()) return false;
  next_look_ = begin + options_.full_sync;
  PassOver(wanted, {.services = reading->services, .items = {}}, settled_->report.snapshot, begin);
  return true;
}

void Agent::ForgetOthers(const ServiceTable& desired) {
  for (Backend* backend : backends_) {
    const absl::Status status = backend->ForgetAllBut(desired);
    if (status.ok()) continue;
    log_.Log(Level::kWarn, "cannot forget services that never arrived, will try again",
             {{"backend", backend->Name()}, {"error", Message(status)}});
  }
}

}  // namespace kube_lvs
