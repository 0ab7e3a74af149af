#include "dataplane/model/testing/fake_backend.h"

#include <algorithm>
#include <type_traits>

namespace kube_lvs {
namespace {

const NodeItem* ItemOf(const Step& step) {
  if (const auto* add = std::get_if<AddItem>(&step)) return &add->item;
  if (const auto* remove = std::get_if<RemoveItem>(&step)) return &remove->item;
  return nullptr;
}

// Two items that cannot be there together: one thing at two values.
bool SameThing(const NodeItem& a, const NodeItem& b) {
  if (const auto* s = std::get_if<Sysctl>(&a)) {
    const auto* t = std::get_if<Sysctl>(&b);
    return t != nullptr && s->name == t->name;
  }
  if (const auto* c = std::get_if<MssClamp>(&a)) {
    const auto* d = std::get_if<MssClamp>(&b);
    return d != nullptr && c->Vips() == d->Vips();
  }
  if (const auto* c = std::get_if<SyncDaemon>(&a)) {
    const auto* d = std::get_if<SyncDaemon>(&b);
    return d != nullptr && c->role == d->role;
  }
  if (const auto* c = std::get_if<ConnectionTimeout>(&a)) {
    const auto* d = std::get_if<ConnectionTimeout>(&b);
    return d != nullptr && c->dataplane == d->dataplane && c->kind == d->kind;
  }
  if (std::holds_alternative<LocalLink>(a)) return std::holds_alternative<LocalLink>(b);
  if (const auto* v = std::get_if<LocalVip>(&a)) {
    const auto* w = std::get_if<LocalVip>(&b);
    return w != nullptr && v->Vips() == w->Vips();
  }
  return a == b;
}

bool IsEbpfItem(const NodeItem& item) {
  if (const auto* answered = std::get_if<AnsweredVip>(&item)) {
    return answered->dataplane == Dataplane::kEbpf;
  }
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&item)) {
    return timeout->dataplane == Dataplane::kEbpf;
  }
  return std::holds_alternative<Attachment>(item) || std::holds_alternative<TunnelPeer>(item) ||
         std::holds_alternative<MssClamp>(item);
}

}  // namespace

bool TakenByIpvs(const Step& step) {
  const ServiceKey* key = KeyOf(step);
  return key != nullptr && key->dataplane == Dataplane::kIpvs;
}

bool TakenByEbpf(const Step& step) {
  if (const NodeItem* item = ItemOf(step)) return IsEbpfItem(*item);
  return KeyOf(step)->dataplane == Dataplane::kEbpf;
}

bool TakenByHost(const Step& step) {
  const NodeItem* item = ItemOf(step);
  return item != nullptr && !IsEbpfItem(*item);
}

absl::StatusOr<State> FakeBackend::Read() {
  if (fault_) {
    if (absl::Status status = fault_("read"); !status.ok()) return status;
  }
  return state_;
}

absl::StatusOr<ServiceReading> FakeBackend::ReadServices(const std::set<ServiceKey>& keys) {
  if (fault_) {
    if (absl::Status status = fault_("read services"); !status.ok()) return status;
  }
  ServiceReading out;
  for (const auto& [key, service] : state_.services) {
    if (keys.contains(key)) out.services.emplace(key, service);
  }
  for (const auto& [key, counters] : stats_.services) {
    if (keys.contains(key)) out.stats.services.emplace(key, counters);
  }
  for (const auto& [real, stats] : stats_.reals) {
    if (keys.contains(real.first)) out.stats.reals.emplace(real, stats);
  }
  return out;
}

absl::StatusOr<Stats> FakeBackend::ReadStats() {
  if (fault_) {
    if (absl::Status status = fault_("stats"); !status.ok()) return status;
  }
  return stats_;
}

absl::StatusOr<std::set<ServiceKey>> FakeBackend::Suspects(const ServiceTable& expected) {
  if (!has_cheap_look) return absl::UnimplementedError("no look is cheaper than a reading");
  if (fault_) {
    if (absl::Status status = fault_("look"); !status.ok()) return status;
  }
  const auto seen = [](const VirtualService& service) {
    std::map<Endpoint, uint32_t> weights;
    for (const RealServer& real : service.reals) weights[real.at] = real.weight;
    return std::pair(service.config.scheduler, weights);
  };
  std::set<ServiceKey> out;
  for (const auto& [key, service] : expected) {
    if (!takes_(RemoveService{key})) continue;
    const auto there = state_.services.find(key);
    if (there == state_.services.end() || seen(there->second) != seen(service)) out.insert(key);
  }
  for (const auto& [key, service] : state_.services) {
    if (!expected.contains(key)) out.insert(key);
  }
  return out;
}

absl::Status FakeBackend::ForgetAllBut(const ServiceTable& desired) {
  if (fault_) {
    if (absl::Status status = fault_("forget"); !status.ok()) return status;
  }
  kept_.clear();
  for (const auto& [key, service] : desired) {
    if (takes_(RemoveService{key})) kept_.insert(key);
  }
  return absl::OkStatus();
}

std::vector<absl::Status> FakeBackend::Apply(std::span<const Step> steps) {
  std::vector<absl::Status> results;
  std::set<ServiceKey> failed;
  for (const Step& step : steps) {
    const ServiceKey* key = KeyOf(step);
    if (!takes_(step)) {
      results.push_back(
          absl::InternalError(name_ + " was given what it does not take: " + ToString(step)));
    } else if (key != nullptr && failed.contains(*key)) {
      results.push_back(absl::AbortedError("an earlier step of the service failed"));
    } else {
      absl::Status status = fault_ ? fault_(ToString(step)) : absl::OkStatus();
      if (status.ok()) status = ApplyOne(step);
      if (status.ok()) applied_.push_back(step);
      if (!status.ok() && key != nullptr) failed.insert(*key);
      results.push_back(status);
    }
  }
  return results;
}

absl::Status FakeBackend::ApplyOne(const Step& step) {
  const auto not_found = [&step] { return absl::NotFoundError(ToString(step)); };
  const auto exists = [&step] { return absl::AlreadyExistsError(ToString(step)); };
  return std::visit(
      [&](const auto& s) -> absl::Status {
        using T = std::decay_t<decltype(s)>;
        if constexpr (std::is_same_v<T, AddItem>) {
          if (state_.items.contains(s.item)) return exists();
          std::erase_if(state_.items, [&](const NodeItem& i) { return SameThing(i, s.item); });
          state_.items.insert(s.item);
        } else if constexpr (std::is_same_v<T, RemoveItem>) {
          if (state_.items.erase(s.item) == 0) return not_found();
        } else if constexpr (std::is_same_v<T, AddService>) {
          if (others_.contains(s.key) || state_.services.contains(s.key)) return exists();
          state_.services[s.key].config = s.config;
        } else {
          const auto service = state_.services.find(s.key);
          if (service == state_.services.end()) return not_found();
          std::vector<RealServer>& reals = service->second.reals;
          const auto real = [&reals](const Endpoint& at) {
            return std::find_if(reals.begin(), reals.end(),
                                [&at](const RealServer& r) { return r.at == at; });
          };
          if constexpr (std::is_same_v<T, SetService>) {
            service->second.config = s.config;
          } else if constexpr (std::is_same_v<T, RemoveService>) {
            state_.services.erase(service);
          } else if constexpr (std::is_same_v<T, AddReal>) {
            if (real(s.real.at) != reals.end()) return exists();
            reals.push_back(s.real);
            SortCanonically(reals);
          } else if constexpr (std::is_same_v<T, SetReal>) {
            if (real(s.real.at) == reals.end()) return not_found();
            *real(s.real.at) = s.real;
          } else if constexpr (std::is_same_v<T, RemoveReal>) {
            if (real(s.at) == reals.end()) return not_found();
            reals.erase(real(s.at));
          }
        }
        return absl::OkStatus();
      },
      step);
}

}  // namespace kube_lvs
