// The table that marks packets, in nftables' words: `inet kube-lvs-marks`, ours alone. Pure.
//
// A packet is marked in the last moment before IPVS looks at it: in the hook INPUT after the filter
// (priority 99 is IPVS's, include/net/ip_vs.h and net/netfilter/ipvs/ip_vs_core.c), and of this
// node's own packets in OUTPUT (-98), where they would go to a local address. So no routing rule
// and no other program's chain sees the mark before IPVS does, and none can replace it. What IPVS
// forwards passes OUTPUT from its beginning: there the mark is taken off again.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "dataplane/ipvs/marks.h"

namespace kube_lvs::ipvs {

inline constexpr char kMarkTable[] = "kube-lvs-marks";  // of family inet

// What `nft -j list table` says; nullopt if it is not what MarkCommands makes: somebody else
// changed it.
std::optional<MarkReading> ParseMarkTable(const nlohmann::json& listing);

// One transaction from `there` to `wanted`, empty if they are equal. `there` is nullopt for a table
// that is not, or not only, what this makes; `exists` tells which.
std::string MarkCommands(const std::optional<Marks>& there, bool exists, const Marks& wanted);

}  // namespace kube_lvs::ipvs
