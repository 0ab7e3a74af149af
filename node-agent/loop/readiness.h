// Which VIPs a director cannot serve, so that a fellow may. Pure.
#pragma once

#include <map>
#include <set>

#include "base/ip.h"
#include "dataplane/model/state.h"
#include "node-agent/loop/backoff.h"

namespace kube_lvs {

// VIPs of which a wanted service, or the source NAT that it needs, failed. Not those of which only
// the answering failed: that is tried by whoever shall answer, and nobody else could tell when it
// would succeed. Nor what is the same on every director, such as a service that is invalid.
std::set<IpAddress> FailedVips(const State& wanted,
                               const std::map<Subject, Backoff::Failure>& failures);

}  // namespace kube_lvs
