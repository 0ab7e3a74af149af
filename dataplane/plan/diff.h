// The difference between what is desired and what is there, as an ordered plan. Pure.
//
// Laws (each a property test): it arrives (applying the plan to `actual` gives `desired`); it stops
// (nothing to do, no step); make before break (a service that has a real server with weight before
// and after has one after every step, and when steps fail and the service's later ones are
// skipped); it is deterministic; it minds its business (no key outside the two states); it heals
// (repeated, with failing steps, it reaches `desired`).
#pragma once

#include "dataplane/model/step.h"

namespace kube_lvs {

// Order: node items that services need; new and changed services (real servers added, weights
// raised, settings, weights lowered, real servers removed); VIPs newly answered or reached by local
// clients; VIPs no longer so; services removed; node items removed. Real servers are matched by
// endpoint, not by place in the list; those of a new service are added in the order given.
Plan Diff(const State& desired, const State& actual);

// `state` after `step`, as a backend that never fails would leave it: the reference for fakes and
// for dry runs. Adding an item replaces one of the same identity (a sysctl of that name, the MSS of
// that VIP). A step that does not fit (removing what is not there) changes nothing.
State Applied(State state, const Step& step);

}  // namespace kube_lvs
