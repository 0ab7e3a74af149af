// The settings of IPVS that hold for every service of the network namespace, whoever owns it. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <set>
#include <string>

#include "dataplane/model/state.h"

namespace kube_lvs {

// What services of ours need (see DirectorItems), and those of others might mind:
// a connection whose real server was removed is forgotten with its next packet, not left to time
// out;
inline constexpr char kExpireNodestConn[] = "net/ipv4/vs/expire_nodest_conn";
// a client that persistence keeps at a quiesced real server gets another one.
inline constexpr char kExpireQuiescentTemplate[] = "net/ipv4/vs/expire_quiescent_template";
inline constexpr std::array<const char*, 2> kSharedSysctls = {kExpireNodestConn,
                                                              kExpireQuiescentTemplate};

// This namespace's IPVS, as others use it.
struct SharedIpvs {
  size_t other_services = 0;
  std::set<std::string> on;  // of kSharedSysctls, those that are 1 now
  bool operator==(const SharedIpvs&) const = default;
};

// Where there are services of others, takes those settings, and timeouts, out of `desired`. Returns
// what is then amiss, with the mend; empty if nothing is.
std::string LeaveSharedAlone(const SharedIpvs& shared, State& desired);

}  // namespace kube_lvs
