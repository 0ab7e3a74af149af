// A backend in memory, as strict as the kernel: what does not fit is refused with the kernel's
// code.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataplane/model/backend.h"

namespace kube_lvs {

// Which steps a fake takes; a whole node is made of three fakes, as the real one is.
using StepFilter = std::function<bool(const Step&)>;

bool TakenByIpvs(const Step& step);  // IPVS services
bool TakenByEbpf(const Step& step);  // eBPF services, and the items that our programs serve
bool TakenByHost(const Step& step);  // all other items

class FakeBackend final : public Backend {
 public:
  // Asked before each call ("read", "read services", "stats", "look", "forget", or the step as
  // text); a status that is not OK is what that call fails with, and nothing happens.
  using Fault = std::function<absl::Status(const std::string& call)>;

  FakeBackend(std::string name, StepFilter takes)
      : name_(std::move(name)), takes_(std::move(takes)) {}

  std::string Name() const override { return name_; }
  bool Takes(const Step& step) const override { return takes_(step); }
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) override;
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  absl::StatusOr<Stats> ReadStats() override;
  // Sees schedulers, and real servers with their weights.
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable& expected) override;
  absl::Status ForgetAllBut(const ServiceTable& desired) override;

  void SetFault(Fault fault) { fault_ = std::move(fault); }
  State& state() { return state_; }                   // what the "kernel" holds and is ours
  Stats& stats() { return stats_; }                   // connections, counters
  std::set<ServiceKey>& others() { return others_; }  // keys that another owner holds
  const std::vector<Step>& applied() const { return applied_; }  // that succeeded, in order
  void ForgetApplied() { applied_.clear(); }
  // The keys of the last ForgetAllBut that this backend would take.
  const std::set<ServiceKey>& kept() const { return kept_; }
  bool has_cheap_look = false;

 private:
  absl::Status ApplyOne(const Step& step);

  const std::string name_;
  const StepFilter takes_;
  Fault fault_;
  State state_;
  Stats stats_;
  std::set<ServiceKey> others_;
  std::vector<Step> applied_;
  std::set<ServiceKey> kept_;
};

}  // namespace kube_lvs
