// A real server that leaves a service still serves the connections that the directors let run out:
// what it needs for the VIP stays for as long as they may take. Pure: time is passed in.
#pragma once

#include <map>
#include <optional>

#include "base/clock.h"
#include "base/ip.h"
#include "dataplane/model/state.h"

namespace kube_lvs {

// How long what this node holds for a VIP as a real server may outlive its being wanted. VIPs whose
// service is gone are not in it: nothing of them stays.
using LingerTimes = std::map<IpAddress, Duration>;

// Since when each item has not been wanted. Kept by the caller between calls; after a restart it
// begins anew.
using LingerClock = std::map<NodeItem, TimePoint>;

struct Lingering {
  State desired;
  LingerClock clock;                    // for the next call
  std::optional<TimePoint> next_check;  // absent: nothing lingers
};

// Keeps, of `actual`, the items of real servers (silent VIPs, tunnel peers, MSS clamps) whose time
// is not up, and the node's settings and programs while there are such.
Lingering Linger(State desired, const State& actual, const LingerTimes& times,
                 const LingerClock& clock, TimePoint now);

// Keeps, of `actual`, the node's settings and programs: what runs out (a lingering VIP, a draining
// real server) may need any of them, such as the programs on the interface that replies come by.
void KeepNodeWide(State& desired, const State& actual);

}  // namespace kube_lvs
