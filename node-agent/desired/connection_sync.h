// Copying connections between the directors of a group, so that they survive a takeover (IPVS).
// Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "dataplane/model/state.h"
#include "kube/api/types.h"
#include "node-agent/facts/facts.h"

namespace kube_lvs {

struct ConnectionSync {
  std::set<NodeItem> items;
  std::string problem;  // why nothing, or not everybody, is reached; with the mend. Empty: all well
  bool operator==(const ConnectionSync&) const = default;
};

// Each director runs both daemons: it sends the connections that pass it and takes those of its
// fellows, so that any may answer for any VIP. They reach each other by multicast on the interface
// that has the fellows' subnet. Nothing for a group without connectionSync, or without fellows.
//
// The sysctls: a connection is sent when it is established and then, while packets come, every
// kSyncRefreshSeconds. The kernel's own way, by the count of packets ("3 50"), forgets quiet
// connections: the copy's timer runs out first. (Linux, Documentation/networking/ipvs-sysctl.rst.)
ConnectionSync FindConnectionSync(const api::LvsDirectorGroup& group, const NodeFacts& facts);

inline constexpr int kSyncRefreshSeconds = 30;

// 1 to 255, the same on every director of the group; groups that share a subnet and, by chance, an
// id take each other's connections too, which only costs memory.
uint32_t SyncIdOf(std::string_view group);

}  // namespace kube_lvs
