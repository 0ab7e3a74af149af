#include "node-agent/desired/linger.h"

#include <algorithm>

#include "node-agent/desired/hold.h"

namespace kube_lvs {
namespace {

bool OfRealServer(const NodeItem& item) {
  return std::holds_alternative<SilentVip>(item) || std::holds_alternative<TunnelPeer>(item) ||
         std::holds_alternative<MssClamp>(item);
}

// A wanted clamp of that VIP takes the place of the one that is there.
bool Replaced(const std::set<NodeItem>& wanted, const NodeItem& item) {
  const auto* clamp = std::get_if<MssClamp>(&item);
  return clamp != nullptr && std::ranges::any_of(wanted, [clamp](const NodeItem& other) {
           const auto* fresh = std::get_if<MssClamp>(&other);
           return fresh != nullptr && fresh->Vips() == clamp->Vips();
         });
}

bool SysctlDecided(const std::set<NodeItem>& wanted, const std::string& name) {
  return std::ranges::any_of(wanted, [&name](const NodeItem& item) {
    const auto* sysctl = std::get_if<Sysctl>(&item);
    return sysctl != nullptr && sysctl->name == name;
  });
}

}  // namespace

Lingering Linger(State desired, const State& actual, const LingerTimes& times,
                 const LingerClock& clock, TimePoint now) {
  Lingering out{std::move(desired), {}, std::nullopt};
  for (const NodeItem& item : actual.items) {
    if (!OfRealServer(item) || out.desired.items.contains(item) ||
        Replaced(out.desired.items, item)) {
      continue;
    }
    const auto time = times.find(*VipOf(item));
    if (time == times.end()) continue;
    const auto begun = clock.find(item);
    const TimePoint since = begun == clock.end() ? now : begun->second;
    const TimePoint until = since + time->second;
    if (now >= until) continue;
    out.clock.emplace(item, since);
    out.next_check = out.next_check ? std::min(*out.next_check, until) : until;
  }
  if (out.clock.empty()) return out;
  for (const auto& [item, since] : out.clock) out.desired.items.insert(item);
  KeepNodeWide(out.desired, actual);
  return out;
}

void KeepNodeWide(State& desired, const State& actual) {
  for (const NodeItem& item : actual.items) {
    const auto* sysctl = std::get_if<Sysctl>(&item);
    if (sysctl != nullptr && SysctlDecided(desired.items, sysctl->name)) continue;
    const auto is_link = [](const NodeItem& i) { return std::holds_alternative<LocalLink>(i); };
    if (is_link(item) && std::ranges::any_of(desired.items, is_link)) continue;
    if (sysctl != nullptr || is_link(item) || std::holds_alternative<Attachment>(item)) {
      desired.items.insert(item);
    }
  }
}

}  // namespace kube_lvs
