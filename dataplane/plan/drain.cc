#include "dataplane/plan/drain.h"

#include <algorithm>

namespace kube_lvs {
namespace {

// How often the connections of a draining real server are looked at.
constexpr Duration kCheckInterval = std::chrono::seconds(1);

bool HasConnections(const Stats& stats, const std::pair<ServiceKey, Endpoint>& real) {
  const auto it = stats.reals.find(real);
  return it != stats.reals.end() &&
         it->second.active_connections + it->second.inactive_connections > 0;
}

}  // namespace

Drained Drain(const State& desired, const State& actual, const Stats& stats,
              const DrainTimeouts& timeouts, const DrainClock& clock, TimePoint now) {
  Drained out{desired, {}, std::nullopt};
  for (auto& [key, wanted] : out.desired.services) {
    const auto there = actual.services.find(key);
    if (there == actual.services.end() || key.protocol == Protocol::kUdp) continue;
    const auto timeout = timeouts.find(key);
    const size_t wanted_count = wanted.reals.size();
    for (const RealServer& real : there->second.reals) {
      if (std::ranges::find(wanted.reals, real.at, &RealServer::at) != wanted.reals.end()) continue;
      const std::pair<ServiceKey, Endpoint> id{key, real.at};
      const auto begun = clock.find(id);
      const TimePoint since = begun == clock.end() ? now : begun->second;
      const Duration allowed = timeout == timeouts.end() ? Duration(0) : timeout->second;
      if (now >= since + allowed || !HasConnections(stats, id)) continue;
      RealServer quiesced = real;
      quiesced.weight = 0;
      wanted.reals.push_back(quiesced);
      out.clock[id] = since;
      const TimePoint check = std::min(since + allowed, now + kCheckInterval);
      out.next_check = out.next_check ? std::min(*out.next_check, check) : check;
    }
    if (wanted.reals.size() != wanted_count) SortCanonically(wanted.reals);
  }
  return out;
}

}  // namespace kube_lvs
