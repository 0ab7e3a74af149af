// Which new real servers a director may send to: by DirectRouting and Tunnel only those whose nodes
// are set up for it. Pure: what agents answered and the time are passed in.
//
// * One that the kernel sends to already stays, whatever is heard of it: a node's set-up goes on
//   working without its agent. So a restarted director changes nothing.
// * A new one (or one that was quiesced: its node may have been away) is held back until its agent
// says that it is ready. Without any answer it is held back
//   where an agent must be (see `agents`), and else used after a second: somebody may have set it
//   up by hand.
// * One on this very node is judged by what the own kernel holds.
// * A service that would be left without real servers only because they are held back stays as the
//   kernel has it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dataplane/model/state.h"
#include "node-agent/desired/hold.h"
#include "node-agent/peers/setup.h"
#include "node-agent/peers/setup_peers.h"

namespace kube_lvs {

// Since when each has not been known to be ready. Kept by the caller between calls.
using AdmissionClock = std::map<SetupQuestion, TimePoint>;

struct AdmissionInput {
  std::set<IpAddress> own_addresses;
  HeldSetups own;              // by what the kernel holds now
  std::set<IpAddress> agents;  // addresses of machines that run an agent, by the objects
  SetupPeers::Answers heard;
  uint16_t port = 0;  // of the agents, to name in messages
};

struct HeldBack {
  ServiceKey service;
  Endpoint real;
  std::string why;
  TimePoint since{};
  bool operator==(const HeldBack&) const = default;
};

struct Admission {
  State desired;                        // without those held back
  Hold hold;                            // services that stay as they are: for KeepHeld
  std::vector<HeldBack> held_back;      // ordered by service and real server
  std::set<SetupQuestion> ask;          // what agents are to be asked from now on
  AdmissionClock clock;                 // for the next call
  std::optional<TimePoint> next_check;  // when time alone changes something; absent: never
};

inline constexpr Duration kSilenceOfUnknown = std::chrono::seconds(1);
inline constexpr Duration kAnswerLifetime = std::chrono::seconds(3);

Admission Admit(State desired, const State& actual, const AdmissionInput& input,
                const AdmissionClock& clock, TimePoint now);

// For people: "10.0.0.2:80 waits: ...; ..." of one service, the first few.
std::string Describe(const std::vector<HeldBack>& held_back);

}  // namespace kube_lvs
