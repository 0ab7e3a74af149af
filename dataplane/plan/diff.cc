#include "dataplane/plan/diff.h"

#include <algorithm>
#include <type_traits>

namespace kube_lvs {
namespace {

// Whether adding `b` takes the place of `a`.
bool Replaces(const NodeItem& a, const NodeItem& b) {
  if (a.index() != b.index()) return false;
  if (const auto* sysctl = std::get_if<Sysctl>(&a)) return sysctl->name == std::get<Sysctl>(b).name;
  if (const auto* clamp = std::get_if<MssClamp>(&a)) return clamp->vip == std::get<MssClamp>(b).vip;
  if (const auto* daemon = std::get_if<SyncDaemon>(&a)) {
    return daemon->role == std::get<SyncDaemon>(b).role;
  }
  return a == b;
}

bool IsAnswered(const NodeItem& item) { return std::holds_alternative<AnsweredVip>(item); }

const RealServer* Find(const VirtualService& service, const Endpoint& at) {
  const auto it = std::ranges::find(service.reals, at, &RealServer::at);
  return it == service.reals.end() ? nullptr : &*it;
}

void DiffService(const ServiceKey& key, const VirtualService& desired, const VirtualService& actual,
                 std::vector<Step>& steps) {
  std::vector<Step> lowered;
  for (const RealServer& real : desired.reals) {
    const RealServer* there = Find(actual, real.at);
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
    if (Find(desired, real.at) == nullptr) steps.push_back(RemoveReal{key, real.at});
  }
}

}  // namespace

Plan Diff(const State& desired, const State& actual) {
  std::vector<Step> prepare, services, answer, silence, remove_services, undo;
  for (const NodeItem& item : desired.items) {
    if (actual.items.contains(item)) continue;
    (IsAnswered(item) ? answer : prepare).push_back(AddItem{item});
  }
  for (const auto& [key, wanted] : desired.services) {
    const auto there = actual.services.find(key);
    std::vector<Step> steps;
    if (there == actual.services.end()) {
      steps.push_back(AddService{key, wanted.config});
      for (const RealServer& real : wanted.reals) steps.push_back(AddReal{key, real});
    } else {
      DiffService(key, wanted, there->second, steps);
    }
    services.insert(services.end(), steps.begin(), steps.end());
  }
  for (const auto& [key, service] : actual.services) {
    if (!desired.services.contains(key)) remove_services.push_back(RemoveService{key});
  }
  for (const NodeItem& item : actual.items) {
    const bool stays_or_replaced = std::ranges::any_of(
        desired.items, [&](const NodeItem& wanted) { return Replaces(item, wanted); });
    if (stays_or_replaced) continue;
    (IsAnswered(item) ? silence : undo).push_back(RemoveItem{item});
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
