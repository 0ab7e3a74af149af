// What a random history is of: one service, its clients, whether its connections expire meanwhile.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/model/service.h"

namespace kube_lvs::alike {

// Of connections that expire: so long without a packet.
inline constexpr uint32_t kTimeoutSeconds = 2;
// Templates that are over before the next burst, after the connections that they control; and
// those whose time comes before: they go on by a minute.
inline constexpr uint32_t kTemplateSeconds = 4, kShortTemplateSeconds = 1;

struct History {
  Family family = Family::kIpv4;
  std::string scheduler;
  HashFlags hash;
  Protocol protocol = Protocol::kTcp;
  bool thresholds = false;
  bool one_packet = false;
  uint32_t template_seconds = 0;  // persistent: clients by fours
  bool expiring = false;
};

// Every scheduler with each protocol, with and without thresholds, persistence, flags.
std::vector<History> Histories(Family family);

// Each scheduler has both protocols and a persistent service expire; what is the other way in the
// other family alternates. An overload ends with the connections, too. Of twos, or of all others.
std::vector<History> ExpiringHistories(Family family, bool twos);

std::string FamilyOf(const History& history);
std::string NameOf(const History& history);
void PrintTo(const History& history, std::ostream* out);

}  // namespace kube_lvs::alike
