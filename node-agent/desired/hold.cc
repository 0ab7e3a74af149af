#include "node-agent/desired/hold.h"

#include <algorithm>
#include <type_traits>

namespace kube_lvs {
namespace {

// Whether `desired` already says something about the thing that `item` is a value of.
bool Decided(const std::set<NodeItem>& desired, const NodeItem& item) {
  return std::any_of(desired.begin(), desired.end(), [&item](const NodeItem& wanted) {
    if (wanted == item) return true;
    if (const auto* a = std::get_if<Sysctl>(&item)) {
      const auto* b = std::get_if<Sysctl>(&wanted);
      return b != nullptr && a->name == b->name;
    }
    if (const auto* a = std::get_if<MssClamp>(&item)) {
      const auto* b = std::get_if<MssClamp>(&wanted);
      return b != nullptr && a->Vips() == b->Vips();
    }
    if (const auto* a = std::get_if<SyncDaemon>(&item)) {
      const auto* b = std::get_if<SyncDaemon>(&wanted);
      return b != nullptr && a->role == b->role;
    }
    if (const auto* a = std::get_if<ConnectionTimeout>(&item)) {
      const auto* b = std::get_if<ConnectionTimeout>(&wanted);
      return b != nullptr && a->dataplane == b->dataplane && a->kind == b->kind;
    }
    if (const auto* a = std::get_if<AnsweredVip>(&item)) {
      const auto* b = std::get_if<AnsweredVip>(&wanted);
      return b != nullptr && a->vip == b->vip;
    }
    if (const auto* a = std::get_if<LocalVip>(&item)) {
      const auto* b = std::get_if<LocalVip>(&wanted);
      return b != nullptr && a->Vips() == b->Vips();
    }
    return std::holds_alternative<LocalLink>(item) && std::holds_alternative<LocalLink>(wanted);
  });
}

}  // namespace

std::optional<IpAddress> VipOf(const NodeItem& item) {
  return std::visit(
      [](const auto& i) -> std::optional<IpAddress> {
        using T = std::decay_t<decltype(i)>;
        if constexpr (std::is_same_v<T, Masquerade>) {
          return i.vip.ip;
        } else if constexpr (std::is_same_v<T, Sysctl> || std::is_same_v<T, LocalLink> ||
                             std::is_same_v<T, Attachment> || std::is_same_v<T, SyncDaemon> ||
                             std::is_same_v<T, ConnectionTimeout>) {
          return std::nullopt;
        } else {
          return i.vip;
        }
      },
      item);
}

State KeepHeld(State desired, const State& actual, const Hold& hold) {
  if (!hold.all && hold.vips.empty()) return desired;
  const auto held = [&hold](const std::optional<IpAddress>& vip) {
    // Items of the whole node may be needed by what is held.
    return hold.all || !vip.has_value() || hold.vips.contains(*vip);
  };
  for (const auto& [key, service] : actual.services) {
    const auto wanted = desired.services.find(key);
    if (wanted == desired.services.end()) {
      const auto vip = VipOf(key);
      if (hold.all || (vip.has_value() && hold.vips.contains(*vip))) {
        desired.services.emplace(key, service);
      }
      continue;
    }
    if (!hold.all) continue;
    std::vector<RealServer>& reals = wanted->second.reals;
    const size_t count = reals.size();
    for (const RealServer& real : service.reals) {
      const bool there = std::any_of(reals.begin(), reals.end(),
                                     [&real](const RealServer& r) { return r.at == real.at; });
      if (!there) reals.push_back(real);
    }
    if (reals.size() != count) SortCanonically(reals);
  }
  const std::set<NodeItem> decided = desired.items;
  for (const NodeItem& item : actual.items) {
    if (const auto* answer = std::get_if<AnsweredVip>(&item)) {
      const bool ours =
          hold.answered.contains(answer->vip) || (hold.all && !hold.elected.contains(answer->vip));
      if (!ours) continue;
    }
    if (held(VipOf(item)) && !Decided(decided, item)) desired.items.insert(item);
  }
  return desired;
}

}  // namespace kube_lvs
