#include "node-agent/loop/machine.h"

#include <algorithm>

#include "base/status.h"
#include "node-agent/desired/hold.h"

namespace kube_lvs {
namespace {

Backend* TakerOf(const Step& step, Backends backends) {
  for (Backend* backend : backends) {
    if (backend->Takes(step)) return backend;
  }
  return nullptr;
}

ServiceKey InOtherDataplane(ServiceKey key) {
  key.dataplane = key.dataplane == Dataplane::kIpvs ? Dataplane::kEbpf : Dataplane::kIpvs;
  return key;
}

class Application {
 public:
  Application(const Plan& plan, const State& actual, Backends backends, Backoff& backoff,
              TimePoint now)
      : backends_(backends), backoff_(backoff), now_(now) {
    for (const auto& [key, service] : actual.services) AddVip(key);
    for (const Step& step : plan.steps) {
      if (const auto* add = std::get_if<AddService>(&step)) added_.insert(add->key);
    }
  }

  void Take(const Step& step) {
    if (DependsOnEarlier(step)) Flush();
    const absl::Status obstacle = Obstacle(step);
    if (!obstacle.ok()) {
      results_.push_back({step, obstacle});
      return;
    }
    Backend* backend = TakerOf(step, backends_);
    if (backend != batch_backend_) Flush();
    batch_backend_ = backend;
    batch_.push_back(step);
  }

  std::vector<StepResult> Finish() {
    Flush();
    return std::move(results_);
  }

 private:
  void AddVip(const ServiceKey& key) {
    if (const auto vip = VipOf(key)) programmed_vips_.insert(*vip);
  }

  bool DependsOnEarlier(const Step& step) const {
    if (const auto* remove = std::get_if<RemoveService>(&step)) {
      return added_.contains(InOtherDataplane(remove->key));
    }
    const auto* add = std::get_if<AddItem>(&step);
    return add != nullptr && (std::holds_alternative<SilentVip>(add->item) ||
                              std::holds_alternative<AnsweredVip>(add->item) ||
                              std::holds_alternative<LocalVip>(add->item) || IsFarEnd(add->item));
  }

  static bool IsFarEnd(const NodeItem& item) {
    const auto* attachment = std::get_if<Attachment>(&item);
    return attachment != nullptr && attachment->interface == kLocalLinkFar;
  }
  bool LacksLocalLink() const {
    const auto is_link = [](const Subject& subject) {
      const auto* item = std::get_if<NodeItem>(&subject);
      return item != nullptr && std::holds_alternative<LocalLink>(*item);
    };
    return std::ranges::any_of(failed_, is_link) ||
           std::ranges::any_of(backoff_.failures(), [&](const auto& failure) {
             return is_link(failure.first) && Waits(failure.first);
           });
  }

  bool Missing(const NodeItem& item) const { return failed_.contains(item) || Waits(item); }
  bool Waits(const Subject& subject) const { return backoff_.Waits(subject, now_); }

  // Why the step is not tried now.
  absl::Status Obstacle(const Step& step) const {
    const Subject subject = SubjectOf(step);
    if (failed_.contains(subject)) return absl::CancelledError("an earlier step failed");
    if (Waits(subject)) return absl::CancelledError("waits before it is tried again");
    if (const auto* remove = std::get_if<RemoveService>(&step)) {
      const ServiceKey other = InOtherDataplane(remove->key);
      if (added_.contains(other) && (failed_.contains(other) || Waits(other))) {
        return absl::CancelledError("stays until " + ToString(other) + " is there");
      }
    }
    const auto* add = std::get_if<AddItem>(&step);
    if (add == nullptr) return absl::OkStatus();
    if (std::holds_alternative<SilentVip>(add->item)) {
      const auto is_arp = [](const Subject& s) {
        const auto* item = std::get_if<NodeItem>(&s);
        const auto* sysctl = item == nullptr ? nullptr : std::get_if<Sysctl>(item);
        return sysctl != nullptr && sysctl->name.find("/arp_") != std::string::npos;
      };
      for (const Subject& failed : failed_) {
        if (is_arp(failed)) return absl::CancelledError("the node would answer ARP for it");
      }
      for (const auto& [subject_of_old, failure] : backoff_.failures()) {
        if (is_arp(subject_of_old) && Waits(subject_of_old)) {
          return absl::CancelledError("the node would answer ARP for it");
        }
      }
    }
    if (IsFarEnd(add->item) && LacksLocalLink()) {
      return absl::CancelledError(std::string("there is no ") + kLocalLink);
    }
    if (const auto* local = std::get_if<LocalVip>(&add->item)) {
      if (!programmed_vips_.contains(local->vip)) {
        return absl::CancelledError("no service of it is programmed");
      }
      if (LacksLocalLink() || Missing(Attachment{kLocalLinkFar})) {
        return absl::CancelledError(std::string("no programs on ") + kLocalLinkFar);
      }
    }
    if (const auto* answer = std::get_if<AnsweredVip>(&add->item)) {
      if (!programmed_vips_.contains(answer->vip)) {
        return absl::CancelledError("no service of it is programmed");
      }
      if (answer->dataplane == Dataplane::kEbpf && Missing(Attachment{answer->interface})) {
        return absl::CancelledError("no programs on " + answer->interface);
      }
    }
    return absl::OkStatus();
  }

  void Flush() {
    if (batch_.empty()) return;
    std::vector<absl::Status> statuses;
    if (batch_backend_ == nullptr) {
      statuses.assign(batch_.size(),
                      absl::FailedPreconditionError("nothing on this node can do this"));
    } else {
      statuses = batch_backend_->Apply(batch_);
      statuses.resize(batch_.size(), absl::InternalError("no result"));
    }
    for (size_t i = 0; i < batch_.size(); ++i) {
      const Subject subject = SubjectOf(batch_[i]);
      const bool later = failed_.contains(subject);
      if (statuses[i].ok()) {
        if (const auto* add = std::get_if<AddService>(&batch_[i])) AddVip(add->key);
      } else if (!later) {
        failed_.insert(subject);
        backoff_.Failed(subject, Annotate(statuses[i], ToString(batch_[i])), now_);
      }
      results_.push_back({batch_[i], statuses[i].ok() || !later
                                         ? statuses[i]
                                         : absl::CancelledError("an earlier step failed")});
    }
    batch_.clear();
  }

  const Backends backends_;
  Backoff& backoff_;
  const TimePoint now_;
  std::set<ServiceKey> added_;
  std::set<IpAddress> programmed_vips_;
  std::set<Subject> failed_;
  std::vector<Step> batch_;
  Backend* batch_backend_ = nullptr;
  std::vector<StepResult> results_;
};

}  // namespace

Actual ReadAll(Backends backends) {
  Actual actual;
  for (Backend* backend : backends) {
    absl::StatusOr<State> part = backend->Read();
    if (!part.ok()) {
      actual.unreadable.emplace(backend->Name(), part.status());
      continue;
    }
    actual.state.services.merge(part->services);
    actual.state.items.merge(part->items);
  }
  return actual;
}

absl::StatusOr<ServiceReading> ReadSome(Backends backends, const std::set<ServiceKey>& keys) {
  ServiceReading out;
  for (Backend* backend : backends) {
    KUBE_LVS_ASSIGN_OR_RETURN(ServiceReading part, backend->ReadServices(keys));
    out.services.merge(part.services);
    out.stats.services.merge(part.stats.services);
    out.stats.reals.merge(part.stats.reals);
  }
  return out;
}

absl::Status CanTake(const Step& step, Backends backends, const Actual& actual) {
  const Backend* backend = TakerOf(step, backends);
  if (backend == nullptr) {
    return absl::FailedPreconditionError("nothing on this node can " + ToString(step));
  }
  const auto unreadable = actual.unreadable.find(backend->Name());
  return unreadable == actual.unreadable.end() ? absl::OkStatus() : unreadable->second;
}

std::vector<StepResult> ApplyPlan(const Plan& plan, const State& actual, Backends backends,
                                  Backoff& backoff, TimePoint now) {
  Application application(plan, actual, backends, backoff, now);
  for (const Step& step : plan.steps) application.Take(step);
  return application.Finish();
}

}  // namespace kube_lvs
