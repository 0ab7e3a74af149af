#include "dataplane/plan/diff.h"

#include <algorithm>
#include <type_traits>

namespace kube_lvs {
namespace {

// Whether adding `b` takes the place of `a`.
bool Replaces(const NodeItem& a, const NodeItem& b) {
  if (a.index() != b.index()) return false;
  if (const auto* sysctl = std::get_if<Sysctl>(&a)) return sysctl->name == std::get<Sysctl>(b).name;
  if (const auto* clamp = std::get_if<MssClamp>(&a)) {
    return clamp->Vips() == std::get<MssClamp>(b).Vips();
  }
  if (const auto* daemon = std::get_if<SyncDaemon>(&a)) {
    return daemon->role == std::get<SyncDaemon>(b).role;
  }
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&a)) {
    const auto& other = std::get<ConnectionTimeout>(b);
    return timeout->dataplane == other.dataplane && timeout->kind == other.kind;
  }
  if (std::holds_alternative<LocalLink>(a)) return true;
  if (const auto* vip = std::get_if<LocalVip>(&a)) {
    return vip->Vips() == std::get<LocalVip>(b).Vips();
  }
  return a == b;
}

// Whether it brings clients here, so that what they want must be there first and go last.
bool BringsClients(const NodeItem& item) {
  return std::holds_alternative<AnsweredVip>(item) || std::holds_alternative<LocalVip>(item);
}

const RealServer* Find(const VirtualService& service, const Endpoint& at) {
  const auto it = std::ranges::find(service.reals, at, &RealServer::at);
  return it == service.reals.end() ? nullptr : &*it;
}

// Finds real servers in a list that is mostly in the order in which they are asked for.
class Finder {
 public:
  explicit Finder(const std::vector<RealServer>& reals) : reals_(reals) {}

  const RealServer* Find(const Endpoint& at) {
    for (size_t tried = 0; tried < reals_.size(); ++tried) {
      if (next_ == reals_.size()) next_ = 0;
      const RealServer& real = reals_[next_++];
      if (real.at == at) return &real;
    }
    return nullptr;
  }

 private:
  const std::vector<RealServer>& reals_;
  size_t next_ = 0;
};

void DiffService(const ServiceKey& key, const VirtualService& desired, const VirtualService& actual,
                 std::vector<Step>& steps) {
  if (desired == actual) return;
  std::vector<Step> lowered;
  Finder in_actual(actual.reals), in_desired(desired.reals);
  for (const RealServer& real : desired.reals) {
    const RealServer* there = in_actual.Find(real.at);
    if (there == nullptr) {
      steps.push_back(AddReal{key, real});
    } else if (*there != real && real.weight >= there->weight) {
      steps.push_back(SetReal{key, real});
    } else if (*there != real) {
      lowered.push_back(SetReal{key, real});
    }
  }
  // Added ones come first even when a later one's weight was raised: both only add capacity.
  // (Not the ranges form, whose result clang 14 cannot instantiate.)
  std::stable_partition(steps.begin(), steps.end(),
                        [](const Step& step) { return std::holds_alternative<AddReal>(step); });
  if (desired.config != actual.config) steps.push_back(SetService{key, desired.config});
  steps.insert(steps.end(), lowered.begin(), lowered.end());
  for (const RealServer& real : actual.reals) {
    if (in_desired.Find(real.at) == nullptr) steps.push_back(RemoveReal{key, real.at});
  }
}

}  // namespace

Plan Diff(const State& desired, const State& actual) {
  std::vector<Step> prepare, services, answer, silence, remove_services, undo;
  for (const NodeItem& item : desired.items) {
    if (actual.items.contains(item)) continue;
    (BringsClients(item) ? answer : prepare).push_back(AddItem{item});
  }
  auto there = actual.services.begin();
  const auto remove_before = [&](const ServiceKey* key) {
    for (; there != actual.services.end() && (key == nullptr || there->first < *key); ++there) {
      remove_services.push_back(RemoveService{there->first});
    }
  };
  for (const auto& [key, wanted] : desired.services) {
    remove_before(&key);
    if (there == actual.services.end() || key < there->first) {
      services.push_back(AddService{key, wanted.config});
      for (const RealServer& real : wanted.reals) services.push_back(AddReal{key, real});
      continue;
    }
    std::vector<Step> steps;
    DiffService(key, wanted, there->second, steps);
    services.insert(services.end(), steps.begin(), steps.end());
    ++there;
  }
  remove_before(nullptr);
  for (const NodeItem& item : actual.items) {
    if (desired.items.contains(item)) continue;
    const bool replaced = std::ranges::any_of(
        desired.items, [&](const NodeItem& wanted) { return Replaces(item, wanted); });
    if (replaced) continue;
    (BringsClients(item) ? silence : undo).push_back(RemoveItem{item});
  }
  std::ranges::reverse(undo);

  Plan plan;
  for (auto* part : {&prepare, &services, &answer, &silence, &remove_services, &undo}) {
    plan.steps.insert(plan.steps.end(), part->begin(), part->end());
  }
  return plan;
}

State Applied(State state, const Step& step) {
  const auto real_at = [&](const ServiceKey& key, const Endpoint& at) -> RealServer* {
    const auto it = state.services.find(key);
    return it == state.services.end() ? nullptr : const_cast<RealServer*>(Find(it->second, at));
  };
  std::visit(
      [&](const auto& s) {
        using T = std::decay_t<decltype(s)>;
        if constexpr (std::is_same_v<T, AddItem>) {
          std::erase_if(state.items, [&](const NodeItem& i) { return Replaces(i, s.item); });
          state.items.insert(s.item);
        } else if constexpr (std::is_same_v<T, RemoveItem>) {
          state.items.erase(s.item);
        } else if constexpr (std::is_same_v<T, AddService>) {
          state.services.try_emplace(s.key, VirtualService{s.config, {}});
        } else if constexpr (std::is_same_v<T, SetService>) {
          const auto it = state.services.find(s.key);
          if (it != state.services.end()) it->second.config = s.config;
        } else if constexpr (std::is_same_v<T, RemoveService>) {
          state.services.erase(s.key);
        } else if constexpr (std::is_same_v<T, AddReal>) {
          const auto it = state.services.find(s.key);
          if (it == state.services.end() || real_at(s.key, s.real.at) != nullptr) return;
          it->second.reals.push_back(s.real);
          SortCanonically(it->second.reals);
        } else if constexpr (std::is_same_v<T, SetReal>) {
          if (RealServer* real = real_at(s.key, s.real.at)) *real = s.real;
        } else if constexpr (std::is_same_v<T, RemoveReal>) {
          const auto it = state.services.find(s.key);
          if (it == state.services.end()) return;
          std::erase_if(it->second.reals, [&](const RealServer& r) { return r.at == s.at; });
        }
      },
      step);
  return state;
}

}  // namespace kube_lvs
