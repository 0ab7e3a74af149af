#include "node-agent/loop/agent.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "dataplane/plan/diff.h"
#include "kube/api/validate.h"
#include "node-agent/desired/hold.h"
#include "node-agent/desired/vips.h"
#include "node-agent/loop/full_tables.h"
#include "node-agent/loop/marks.h"
#include "node-agent/loop/readiness.h"
#include "node-agent/loop/replies.h"

namespace kube_lvs {
namespace {

// Netlink tells of our own changes too, and of much else: at most so often a look.
constexpr Duration kNetlinkPause = std::chrono::milliseconds(100);
constexpr Duration kRefreshInterval = std::chrono::seconds(5);
// Of the time, passes over everything that nothing but time calls for take one part in so many.
constexpr int kPassShare = 1000;
constexpr Duration kLongestWithoutPass = std::chrono::minutes(10);

std::set<Cidr> AnsweredVips(const State& state) {
  std::set<Cidr> vips;
  std::set<IpAddress> of_prefixes;
  for (const NodeItem& item : state.items) {
    const auto* answer = std::get_if<AnsweredVip>(&item);
    if (answer == nullptr) continue;
    vips.insert(answer->Vips());
    if (answer->prefix_length != 0) of_prefixes.insert(answer->vip);
  }
  for (const IpAddress& first : of_prefixes) vips.erase(Cidr::Host(first));
  return vips;
}

// Whether a TCP real server is about to leave: only then do connections matter.
bool SomeoneLeaves(const State& target, const State& actual) {
  for (const auto& [key, service] : actual.services) {
    const auto wanted = target.services.find(key);
    if (wanted == target.services.end() || key.protocol == Protocol::kUdp) continue;
    for (const RealServer& real : service.reals) {
      const auto& reals = wanted->second.reals;
      if (std::ranges::find(reals, real.at, &RealServer::at) == reals.end()) return true;
    }
  }
  return false;
}

std::string ReasonOf(const absl::Status& status) {
  if (absl::IsAlreadyExists(status)) return "Conflict";
  if (absl::IsFailedPrecondition(status) || absl::IsUnimplemented(status) ||
      absl::IsPermissionDenied(status)) {
    return kPrerequisiteMissing;
  }
  if (absl::IsResourceExhausted(status)) return "TableFull";
  return "Pending";
}

std::string CheckOf(const NodeItem& item) {
  static constexpr const char* kChecks[] = {
      "Sysctl",     "LocalLink",      "Attachment",        "TunnelPeer",  "MssClamp", "SilentVip",
      "Masquerade", "ConnectionSync", "ConnectionTimeout", "AnsweredVip", "LocalVip"};
  static_assert(std::size(kChecks) == std::variant_size_v<NodeItem>);
  return kChecks[item.index()];
}

}  // namespace

Agent::Agent(DesiredSource& source, FactsReader& facts, std::vector<Backend*> backends,
             Peers& peers, const Clock& clock, Logger& log, AgentOptions options)
    : source_(source),
      facts_reader_(facts),
      backends_(std::move(backends)),
      peers_(peers),
      clock_(clock),
      log_(log),
      options_(std::move(options)) {}

absl::Status Agent::Run(std::stop_token stop) {
  TimePoint last_look = clock_.Now() - kNetlinkPause;
  constexpr TimePoint kNever = TimePoint::max();
  TimePoint look_at_facts = kNever;
  next_pass_ = clock_.Now();
  while (!stop.stop_requested()) {
    const TimePoint now = clock_.Now();
    if (now >= look_at_facts) {
      look_at_facts = kNever;
      last_look = now;
      // On a busy node netlink has much to tell that is none of ours.
      const absl::StatusOr<NodeFacts> facts = facts_reader_.Read();
      if (!facts.ok() || facts_ != *facts) next_pass_ = now;
    }
    if (now >= next_pass_ || (now >= next_drain_check_ && !TouchedPass().has_value())) {
      Pass();
      KeepClaims();
      continue;
    }
    if (now >= next_look_) {
      if (!Look()) Pass();
      KeepClaims();
      continue;
    }
    uint8_t reasons = wakeup_.Wait(
        stop, std::min({NextPass(), next_look_, now + claim_interval_, look_at_facts}));
    const auto take = [&reasons](WakeReason reason) {
      const bool there = (reasons & static_cast<uint8_t>(reason)) != 0;
      reasons &= static_cast<uint8_t>(~static_cast<uint8_t>(reason));
      return there;
    };
    const bool ways = take(WakeReason::kWays);
    if (take(WakeReason::kNetlink) && look_at_facts == kNever) {
      look_at_facts = std::max(clock_.Now(), last_look + kNetlinkPause);
    }
    const bool only_objects = reasons == static_cast<uint8_t>(WakeReason::kSource);
    if (reasons != 0 && !(only_objects && TouchedPass().has_value())) next_pass_ = clock_.Now();
    if (ways || clock_.Now() >= next_refresh_) Refresh();
    KeepClaims();
  }
  return absl::OkStatus();
}

void Agent::KeepClaims() {
  if (!renew_claims_) return;
  if (const absl::Status status = renew_claims_(claim_lifetime_, claimed_by_one_); !status.ok()) {
    log_.Log(Level::kWarn, "cannot renew the claims of VIPs", {{"error", Message(status)}});
  }
  const std::set<IpAddress> doubtful = peers_.TakeDoubtful();
  if (doubtful.empty() || !announce_again_) return;
  log_.Log(Level::kInfo, "VIPs are announced again: a fellow may have answered for them",
           {{"vips", std::to_string(doubtful.size())}});
  if (const absl::Status status = announce_again_(doubtful); !status.ok()) {
    log_.Log(Level::kWarn, "cannot announce VIPs again", {{"error", Message(status)}});
  }
}

void Agent::Refresh() {
  next_refresh_ = clock_.Now() + kRefreshInterval;
  if (!refresh_) return;
  if (const absl::Status status = refresh_(); !status.ok()) {
    log_.Log(Level::kWarn, "cannot refresh the ways to real servers", {{"error", Message(status)}});
  }
}

Actual Agent::ReadActual() { return ReadAll(backends_); }

Stats Agent::ReadStats(const Actual& actual) {
  Stats stats;
  for (Backend* backend : backends_) {
    absl::StatusOr<Stats> part = backend->ReadStats();
    if (part.ok()) {
      stats.reals.merge(part->reals);
      stats.replaced_marks += part->replaced_marks;
    } else if (!actual.unreadable.contains(backend->Name())) {
      log_.Log(Level::kWarn, "cannot read connections, draining is cut short",
               {{"backend", backend->Name()}, {"error", Message(part.status())}});
    }
  }
  return stats;
}

void Agent::LookAtDrops() {
  if (!read_drops_) return;
  absl::StatusOr<std::map<std::string, uint64_t>> drops = read_drops_();
  if (!drops.ok()) {
    log_.Log(Level::kWarn, "cannot read what was dropped", {{"error", Message(drops.status())}});
    return;
  }
  full_tables_ = FullTables(drops_, *drops);
  drops_ = *std::move(drops);
}

PassReport Agent::Pass() {
  const TimePoint begin = clock_.Now();
  PassReport report;
  report.snapshot = source_.Get();
  next_look_ = begin + options_.full_sync;
  next_pass_ = begin + std::clamp(kPassShare * last_pass_took_, options_.full_sync,
                                  std::max(options_.full_sync, kLongestWithoutPass));

  if (absl::StatusOr<NodeFacts> facts = facts_reader_.Read(); facts.ok()) {
    facts_ = *std::move(facts);
  } else {
    report.node_problems["Facts"] = facts.status();
    if (!facts_.has_value()) {
      next_pass_ = begin + std::chrono::seconds(1);
      for (const OnPass& observer : observers_) observer(report);
      return report;
    }
  }
  report.facts = *facts_;
  Refresh();
  const Actual actual = ReadActual();
  for (Backend* backend : backends_) {
    if (!actual.unreadable.contains(backend->Name())) report.readable.push_back(backend->Name());
  }
  if (!std::exchange(adopted_, true)) {
    std::set<IpAddress> answered;
    for (const Cidr& vips : AnsweredVips(actual.state)) answered.insert(vips.address);
    if (run_out_claims_) {
      for (const IpAddress& vip : run_out_claims_()) answered.erase(vip);
    }
    peers_.Adopt(answered);
  }

  // While groups cannot be read, who directs what stays as it was.
  const Role role = FindRole(*report.snapshot, *facts_);
  const bool unclear =
      role.group == nullptr && (!report.snapshot->complete ||
                                (report.snapshot->kubernetes && report.snapshot->groups->empty()));
  if (!unclear) {
    peers_.Update(role.peers, role.vips, readiness_);
    claim_interval_ = std::max<Duration>(role.peers.interval, std::chrono::milliseconds(10));
    // Nobody would take over from a director that is alone: its VIPs stay with the dead agent's
    // dataplane. With peers they must fall silent when those take over.
    claim_lifetime_ =
        role.peers.members.size() > 1 ? std::optional(role.peers.grace) : std::nullopt;
    // The fellows of one that is no member any more answer before it falls silent.
    if (role.group != nullptr) {
      left_.reset();
    } else if (detection_ > Duration::zero()) {
      left_ = begin + detection_;
    }
    detection_ = role.peers.members.size() > 1 ? role.peers.Detection() : Duration::zero();
    const bool was_by_one = claimed_by_one_.value_or(false);
    if (role.group != nullptr) {
      claimed_by_one_ = role.group->spec.layer2;
    } else if (!left_.has_value() || begin >= *left_) {
      claimed_by_one_ = false;  // what fellows still send here is for real servers until then
    }
    // Before there are services: what fellows send to a real server here is not ours to balance.
    if (claimed_by_one_ == true && !was_by_one) KeepClaims();
  }
  if (role.group != nullptr) {
    report.group = role.group->meta.name;
    report.epoch = role.group->status.epoch;
    const auto dataplane = api::EffectiveDataplane(api::LvsServiceSpec{}, role.group.get());
    if (dataplane.has_value()) report.dataplane = ToString(*dataplane);
  }
  const std::set<IpAddress> claims = peers_.Claims();
  report.peers = peers_.States();

  Desired desired = ComputeDesired(*report.snapshot, *facts_, role, claims, options_.desired);
  report.origins = std::make_shared<const Owners>(std::move(desired.origins));
  report.service_problems = std::move(desired.problems);
  if (shared_ipvs_) {
    std::string problem = LeaveSharedAlone(shared_ipvs_(), desired.state);
    if (!problem.empty()) desired.node_problems["SharedIpvs"] = std::move(problem);
  }
  for (auto& [check, message] : desired.node_problems) {
    report.node_problems[check] = absl::FailedPreconditionError(message);
  }
  if (left_.has_value() && begin < *left_) {
    desired.hold.all = true;
    next_pass_ = std::min(next_pass_, *left_);
  }
  State target = KeepHeld(std::move(desired.state), actual.state, desired.hold);
  Lingering lingering =
      Linger(std::move(target), actual.state, desired.linger, linger_clock_, begin);
  target = std::move(lingering.desired);
  linger_clock_ = std::move(lingering.clock);
  if (lingering.next_check) next_pass_ = std::min(next_pass_, *lingering.next_check);
  const bool has_rules = !target.services.empty();
  const LeftOut left_out = LeaveOut(actual, target, report);
  target = HoldBack(std::move(target), actual.state, role, desired, report, begin);

  Stats stats;
  const bool look = begin >= next_look_at_replies_;
  const bool needs_replies = NeedsReplies(actual.state);
  const bool needs_marks = NeedsMarks(actual.state);
  if (SomeoneLeaves(target, actual.state) || (look && (needs_replies || needs_marks))) {
    stats = ReadStats(actual);
  }
  if (look) {
    next_look_at_replies_ = begin + options_.full_sync;
    without_replies_ = WithoutReplies(actual.state, stats, *report.origins);
    foreign_marks_ = ForeignMarks(replaced_marks_, stats.replaced_marks);
    replaced_marks_ = stats.replaced_marks;
    LookAtDrops();
  } else if (!needs_replies) {
    without_replies_.reset();
  }
  if (without_replies_.has_value()) {
    report.node_problems["NoReplies"] = absl::UnavailableError(*without_replies_);
  }
  if (needs_marks && foreign_marks_.has_value()) {
    report.node_problems["ForeignMarks"] = absl::UnavailableError(*foreign_marks_);
  }
  for (const auto& [check, message] : full_tables_) {
    report.node_problems[check] = absl::ResourceExhaustedError(message);
  }
  Drained drained = Drain(target, actual.state, stats, desired.drain, drain_clock_, begin);
  drain_clock_ = std::move(drained.clock);
  next_drain_check_ = drained.next_check.value_or(TimePoint::max());
  if (!drain_clock_.empty()) KeepNodeWide(drained.desired, actual.state);

  const Plan plan = Diff(drained.desired, actual.state);
  std::set<Subject> planned;
  for (const Step& step : plan.steps) planned.insert(SubjectOf(step));
  backoff_.KeepOnly(planned);
  const TimePoint planned_at = clock_.Now();
  report.plan_time = planned_at - begin;

  report.results = ApplyPlan(plan, actual.state, backends_, backoff_, begin);
  const bool tried = std::ranges::any_of(
      report.results, [](const StepResult& r) { return !absl::IsCancelled(r.status); });
  const bool drifted = settled_.has_value() && settled_->target == drained.desired;
  State now_there = actual.state;
  if (tried) {
    // Believe the kernel, not the return values.
    const Actual again = ReadActual();
    now_there = again.state;
    std::set<Subject> skipped;
    for (const StepResult& result : report.results) {
      if (absl::IsCancelled(result.status)) skipped.insert(SubjectOf(result.step));
    }
    for (const Step& step : Diff(drained.desired, now_there).steps) {
      const Subject subject = SubjectOf(step);
      if (backoff_.failures().contains(subject) || !CanTake(step, backends_, again).ok()) continue;
      // What was not planned changed under us: the next pass sees to it.
      if (!planned.contains(subject) || skipped.contains(subject)) continue;
      backoff_.Failed(
          subject,
          absl::UnavailableError("was applied, but reading back still says: " + ToString(step)),
          begin);
    }
  }
  for (const StepResult& result : report.results) {
    if (result.status.ok()) {
      const Subject subject = SubjectOf(result.step);
      const auto failure = backoff_.failures().find(subject);
      if (failure != backoff_.failures().end() && failure->second.retry_at <= begin) {
        backoff_.Succeeded(subject);
      }
      if (drifted) ++report.drift_repaired;
    }
  }
  report.apply_time = clock_.Now() - planned_at;
  report.answers = std::make_shared<const std::set<Cidr>>(AnsweredVips(now_there));
  for (const NodeItem& item : now_there.items) {
    if (std::holds_alternative<SilentVip>(item)) report.real_server = true;
    const auto* attached = std::get_if<Attachment>(&item);
    if (attached != nullptr && attached->interface != kLocalLinkFar) {
      report.attached.insert(attached->interface);
    }
  }
  ReportFailures(drained.desired, report);
  PublishSetups(desired.setups, now_there, actual, report, begin);
  const bool settled =
      report.snapshot->complete && left_out.services + left_out.items == 0 &&
      backoff_.failures().empty() &&
      std::ranges::none_of(report.results, [](const StepResult& r) { return !r.status.ok(); });
  report.in_sync = settled && report.held_back.empty();
  // A node without its programs would attract traffic that it cannot handle, and so would one that
  // shall program none of its group's services: a fellow director may be able to.
  Readiness readiness;
  readiness.ready = (role.vips.empty() || has_rules) &&
                    std::ranges::none_of(backoff_.failures(), [](const auto& failure) {
                      const auto* item = std::get_if<NodeItem>(&failure.first);
                      const auto* attachment =
                          item == nullptr ? nullptr : std::get_if<Attachment>(item);
                      // Clients elsewhere do not miss it.
                      return attachment != nullptr && attachment->interface != kLocalLinkFar;
                    });
  readiness.unable = FailedVips(drained.desired, backoff_.failures());
  readiness.unable.insert(left_out.vips.begin(), left_out.vips.end());
  readiness.unable.insert(desired.unable.begin(), desired.unable.end());
  std::erase_if(readiness.unable, [&](const IpAddress& vip) { return !role.vips.contains(vip); });
  if (readiness != readiness_) {
    readiness_ = std::move(readiness);
    if (!unclear) peers_.Update(role.peers, role.vips, readiness_);
    next_pass_ = begin;  // the claims may be others now
  }
  settled_.reset();
  if (settled && !desired.hold.all) {
    settled_ = {.target = std::move(drained.desired),
                .role = role,
                .around = FindSurroundings(*report.snapshot, *facts_),
                .report = report};
    settled_->report.results.clear();
    ForgetOthers(settled_->target.services);
  }
  if (left_out.services + left_out.items > 0) {
    next_pass_ = std::min(next_pass_, begin + std::chrono::seconds(1));
  }
  if (const auto retry = backoff_.Next()) next_pass_ = std::min(next_pass_, *retry);
  last_pass_took_ = clock_.Now() - begin;
  LogResults(report);
  for (const OnPass& observer : observers_) observer(report);
  return report;
}

Agent::LeftOut Agent::LeaveOut(const Actual& actual, State& target, PassReport& report) {
  if (actual.unreadable.empty()) return {};
  const size_t services = target.services.size();
  const size_t items = target.items.size();
  std::set<IpAddress> vips;
  for (auto it = target.services.begin(); it != target.services.end();) {
    const absl::Status status =
        CanTake(AddService{it->first, it->second.config}, backends_, actual);
    if (status.ok()) {
      ++it;
      continue;
    }
    if (const auto origin = report.origins->find(it->first); origin != report.origins->end()) {
      const ServiceOrigin& of = origin->second;
      report.service_problems.push_back(
          {of.name_space, of.name, of.uid, of.generation, ReasonOf(status), Message(status)});
    }
    if (const auto vip = VipOf(it->first)) vips.insert(*vip);
    it = target.services.erase(it);
  }
  std::erase_if(target.items, [&](const NodeItem& item) {
    const absl::Status status = CanTake(AddItem{item}, backends_, actual);
    if (!status.ok()) report.node_problems[CheckOf(item)] = status;
    return !status.ok();
  });
  return {services - target.services.size(), items - target.items.size(), std::move(vips)};
}

void Agent::ReportFailures(const State& target, PassReport& report) {
  for (const auto& [subject, failure] : backoff_.failures()) {
    if (const auto* item = std::get_if<NodeItem>(&subject)) {
      report.node_problems[CheckOf(*item)] = failure.why;
      const auto vip = VipOf(*item);
      if (!vip.has_value()) continue;
      for (const auto& [key, origin] : *report.origins) {
        if (VipOf(key) != vip || !target.services.contains(key)) continue;
        report.service_problems.push_back({origin.name_space, origin.name, origin.uid,
                                           origin.generation, ReasonOf(failure.why),
                                           Message(failure.why)});
      }
      continue;
    }
    const auto origin = report.origins->find(std::get<ServiceKey>(subject));
    if (origin == report.origins->end()) {
      report.node_problems["Service"] = failure.why;
      continue;
    }
    const ServiceOrigin& of = origin->second;
    report.service_problems.push_back({of.name_space, of.name, of.uid, of.generation,
                                       ReasonOf(failure.why), Message(failure.why)});
  }
}

void Agent::LogResults(const PassReport& report) {
  size_t applied = 0, failed = 0;
  for (const StepResult& result : report.results) {
    if (result.status.ok()) {
      ++applied;
      log_.Log(Level::kDebug, "step applied", {{"step", ToString(result.step)}});
    } else if (!absl::IsCancelled(result.status)) {
      ++failed;
      log_.Log(Level::kWarn, "step failed, it will be tried again",
               {{"step", ToString(result.step)}, {"error", Message(result.status)}});
    }
  }
  if (applied + failed > 0) {
    log_.Log(Level::kInfo, report.drift_repaired > 0 ? "drift repaired" : "plan applied",
             {{"steps", std::to_string(applied)},
              {"failed", std::to_string(failed)},
              {"plan_ms", std::to_string(report.plan_time / std::chrono::milliseconds(1))},
              {"apply_ms", std::to_string(report.apply_time / std::chrono::milliseconds(1))}});
  }
  // Problems last for long: only what is new is told.
  std::map<std::string, std::string> problems;
  for (const ServiceProblem& problem : report.service_problems) {
    problems["LVSService " + problem.name_space + "/" + problem.name + " " + problem.reason] =
        problem.message;
  }
  for (const auto& [check, status] : report.node_problems) {
    problems["node " + check] = Message(status);
  }
  for (const SourceProblem& problem : report.snapshot->problems) {
    problems[problem.where] = problem.message;
  }
  for (const auto& [what, message] : problems) {
    const auto known = logged_problems_.find(what);
    if (known != logged_problems_.end() && known->second == message) continue;
    log_.Log(Level::kError, "problem", {{"of", what}, {"message", message}});
  }
  for (const auto& [what, message] : logged_problems_) {
    if (!problems.contains(what)) log_.Log(Level::kInfo, "problem solved", {{"of", what}});
  }
  logged_problems_ = std::move(problems);
}

}  // namespace kube_lvs
