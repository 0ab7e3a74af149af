// Which director answers for a VIP: a pure function of the VIP and of who could answer, the same on
// every node. Rendezvous hashing (Thaler and Ravishankar, 1998): even, and a node that comes or
// goes moves only the VIPs that it gains or loses.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/ip.h"

namespace kube_lvs {

// How strongly `vip` is drawn to `node`; the node with the highest score owns it. The same on every
// machine and release: two directors that disagree here would both answer.
uint64_t OwnershipScore(std::string_view node, const IpAddress& vip);

// Whether `a` has the better right to `vip` than `b`: by score, then by name.
bool HasBetterRight(std::string_view a, std::string_view b, const IpAddress& vip);

// The owner among `candidates`; empty if there are none.
std::string OwnerOf(const IpAddress& vip, const std::set<std::string>& candidates);

}  // namespace kube_lvs
