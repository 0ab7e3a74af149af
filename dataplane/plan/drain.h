// Draining: a real server that leaves a service is quiesced (weight 0) while it still has
// connections, and goes when they have gone or its time is up. Pure: time is passed in.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "dataplane/model/state.h"

namespace kube_lvs {

// Since when each leaving real server has been quiesced. Kept by the caller between calls; one that
// was lost (a restart) begins anew, so a drain may take longer, never shorter.
using DrainClock = std::map<std::pair<ServiceKey, Endpoint>, TimePoint>;

struct Drained {
  State desired;                        // with the leaving ones at weight 0
  DrainClock clock;                     // for the next call
  std::optional<TimePoint> next_check;  // when to look again; absent: nothing is draining
};

// How long connections of a key may go on after their real server has left. Absent: 0.
using DrainTimeouts = std::map<ServiceKey, Duration>;

// UDP is never drained: a client that keeps its port would be sent to a dead real server for ever.
// `stats` must be as fresh as `actual`; a real server that is missing there counts as idle.
Drained Drain(const State& desired, const State& actual, const Stats& stats,
              const DrainTimeouts& timeouts, const DrainClock& clock, TimePoint now);

}  // namespace kube_lvs
