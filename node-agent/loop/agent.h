// The agent's one loop: read what is there, compute what should be, apply the difference, verify.
// It keeps no copy of the kernel; every pass starts from what the kernel says.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "dataplane/plan/drain.h"
#include "node-agent/desired/admission.h"
#include "node-agent/desired/desired.h"
#include "node-agent/desired/role.h"
#include "node-agent/desired/shared_ipvs.h"
#include "node-agent/facts/reader.h"
#include "node-agent/loop/backoff.h"
#include "node-agent/loop/machine.h"
#include "node-agent/loop/wakeup.h"
#include "node-agent/peers/peers.h"
#include "node-agent/peers/setup_peers.h"
#include "node-agent/sources/source.h"

namespace kube_lvs {

// What one pass found and did: for metrics, the report to the API, and tests.
struct PassReport {
  SnapshotPtr snapshot;
  NodeFacts facts;
  std::string group;               // that this node directs; empty if none
  int64_t epoch = 0;               // of its members
  std::string dataplane;           // of the group: "eBPF", "IPVS", or empty while not known
  bool real_server = false;        // it holds VIPs as a real server
  std::set<std::string> attached;  // interfaces that our programs serve
  // VIPs that it answers for; never null.
  std::shared_ptr<const std::set<Cidr>> answers = std::make_shared<const std::set<Cidr>>();
  std::map<std::string, PeerState> peers;
  std::shared_ptr<const Owners> origins = std::make_shared<const Owners>();  // never null
  std::vector<ServiceProblem> service_problems;
  std::map<std::string, absl::Status> node_problems;  // by check
  std::vector<HeldBack> held_back;                    // real servers that are not set up yet
  bool held_back_lately = false;      // some of them for so short that it is no problem
  std::vector<std::string> readable;  // backends, by name
  std::vector<StepResult> results;
  size_t drift_repaired = 0;  // steps that only put back what somebody else had changed
  Duration plan_time{}, apply_time{};
  bool in_sync = false;  // all that is desired is there, and read back
};

struct AgentOptions {
  DesiredOptions desired;
  // At least so often a look whether all is as it was left; a pass over everything takes its place
  // while it costs no more than a thousandth of the time, and every ten minutes at the latest.
  Duration full_sync = std::chrono::seconds(30);
};

class Agent {
 public:
  // Keeps the right to answer for VIPs: until `lifetime` from now, for ever if there is none.
  // `by_one`: one director of the group has that right, and what comes to others went through it;
  // nullopt: as it was.
  using RenewClaims =
      std::function<absl::Status(std::optional<Duration> lifetime, std::optional<bool> by_one)>;
  using ReadDrops = std::function<absl::StatusOr<std::map<std::string, uint64_t>>()>;
  using OnPass = std::function<void(const PassReport&)>;

  // All references must outlive the agent.
  Agent(DesiredSource& source, FactsReader& facts, std::vector<Backend*> backends, Peers& peers,
        const Clock& clock, Logger& log, AgentOptions options);

  // Brings what a backend keeps about the network's state (neighbours, ways) up to date; called
  // when WakeReason::kWays says so, before each pass, and every few seconds.
  void SetRefresh(std::function<absl::Status()> refresh) { refresh_ = std::move(refresh); }
  void SetRenewClaims(RenewClaims renew) { renew_claims_ = std::move(renew); }
  void SetSharedIpvs(std::function<SharedIpvs()> shared) { shared_ipvs_ = std::move(shared); }
  // Packets that were dropped, by reason, as Stats::drops.
  void SetDrops(ReadDrops drops) { read_drops_ = std::move(drops); }
  // Called with VIPs that a fellow may have answered for until now and that this node goes on with.
  void SetAnnounceAgain(std::function<absl::Status(const std::set<IpAddress>&)> announce) {
    announce_again_ = std::move(announce);
  }
  // VIPs in the kernel that had to be given up before this process began: they are not adopted.
  void SetRunOutClaims(std::function<std::set<IpAddress>()> run_out) {
    run_out_claims_ = std::move(run_out);
  }
  // Without it every real server counts as set up, and nobody is told about this node.
  void SetSetupPeers(SetupPeers& peers) { setup_peers_ = &peers; }
  void AddObserver(OnPass observer) { observers_.push_back(std::move(observer)); }
  Wakeup& wakeup() { return wakeup_; }

  // Passes until `stop`, then OK. What is programmed stays.
  absl::Status Run(std::stop_token stop);

  // One pass over everything, at once.
  PassReport Pass();

  // One pass over the services alone that the objects' change touches, and those that drain: reads
  // and writes nothing else of the node. nullopt: the change may have other consequences, or the
  // last pass left something to do; nothing was done, and Pass is needed.
  std::optional<PassReport> TouchedPass();

  // A look whether what the last pass left is still there, as cheap as the backends have one, and a
  // pass over the services of which it is not. False: it takes a Pass to tell, or to mend it;
  // nothing was done.
  bool Look();

  // When the next look, and the next pass for a reason that is known by now, are due.
  TimePoint NextLook() const { return next_look_; }
  TimePoint NextPass() const { return std::min(next_pass_, next_drain_check_); }

 private:
  void KeepClaims();
  void Refresh();
  Actual ReadActual();
  Stats ReadStats(const Actual& actual);
  void LookAtDrops();
  // Takes out of `target` what no backend can be asked for now.
  struct LeftOut {
    size_t services = 0, items = 0;
    std::set<IpAddress> vips;  // of those services
  };
  LeftOut LeaveOut(const Actual& actual, State& target, PassReport& report);
  // Takes out of `target` the real servers that must not get requests yet.
  State HoldBack(State target, const State& actual, const Role& role, const Desired& desired,
                 PassReport& report, TimePoint now);
  void PublishSetups(const NeededSetups& needed, const State& there, const Actual& actual,
                     const PassReport& report, TimePoint now);
  void ReportFailures(const State& target, PassReport& report);
  std::set<std::string> DrainingServices() const;
  // Brings some services, of which `actual` was read, to `desired`.
  PassReport PassOver(const State& desired, const State& actual, SnapshotPtr snapshot,
                      TimePoint begin);
  void ForgetOthers(const ServiceTable& desired);
  void LogResults(const PassReport& report);

  DesiredSource& source_;
  FactsReader& facts_reader_;
  const std::vector<Backend*> backends_;
  Peers& peers_;
  const Clock& clock_;
  Logger& log_;
  const AgentOptions options_;
  RenewClaims renew_claims_;
  std::function<absl::Status(const std::set<IpAddress>&)> announce_again_;
  std::function<absl::Status()> refresh_;
  std::function<std::set<IpAddress>()> run_out_claims_;
  std::function<SharedIpvs()> shared_ipvs_;
  ReadDrops read_drops_;
  TimePoint next_refresh_{};
  SetupPeers* setup_peers_ = nullptr;
  std::vector<OnPass> observers_;
  Wakeup wakeup_;

  std::optional<NodeFacts> facts_;  // the last that could be read
  bool adopted_ = false;
  Readiness readiness_;
  Duration detection_{};           // of the group that we direct, if it has others in it
  std::optional<TimePoint> left_;  // that group: its rules stay until then
  Duration claim_interval_ = std::chrono::seconds(1);
  std::optional<Duration> claim_lifetime_;
  std::optional<bool> claimed_by_one_;
  Backoff backoff_;
  DrainClock drain_clock_;
  LingerClock linger_clock_;
  TimePoint next_drain_check_ = TimePoint::max();
  // What the last pass went by, if it left nothing to do: to tell drift, and what a change touches.
  struct Settled {
    State target;
    Role role;
    Surroundings around;
    PassReport report;
  };
  std::optional<Settled> settled_;
  std::optional<std::string> without_replies_;  // as of the last look, which reads all counters
  TimePoint next_look_at_replies_{};
  std::optional<uint64_t> replaced_marks_;  // as of that look
  std::optional<std::string> foreign_marks_;
  std::optional<std::map<std::string, uint64_t>> drops_;  // as of that look
  std::map<std::string, std::string> full_tables_;        // by check
  AdmissionClock admission_clock_;
  HeldSetups own_setups_;  // as this pass found them
  std::map<std::string, std::string> logged_problems_;
  TimePoint next_pass_{}, next_look_{};
  Duration last_pass_took_{};
};

}  // namespace kube_lvs
