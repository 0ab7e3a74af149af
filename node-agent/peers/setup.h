// What a real server must have set up before a director may send to it, and how that is told.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/ip.h"
#include "dataplane/model/service.h"

namespace kube_lvs {

// Of a real server, for one VIP by one method (never NAT, which needs nothing).
struct VipSetup {
  IpAddress vip;
  ForwardingMethod method = ForwardingMethod::kDirectRouting;
  auto operator<=>(const VipSetup&) const = default;
  bool operator==(const VipSetup&) const = default;
};

struct SetupState {
  bool ready = false;
  std::string why_not;  // short; empty also while it is just being set up
  bool operator==(const SetupState&) const = default;
};

// What one node holds as a real server, by what its kernel says.
struct HeldSetup {
  SetupState state;
  // Whose tunnelled packets it takes: of the others it knows nothing. Absent: anybody's, as with
  // DirectRouting.
  std::optional<std::map<IpAddress, SetupState>> directors = std::nullopt;
  bool operator==(const HeldSetup&) const = default;
};
using HeldSetups = std::map<VipSetup, HeldSetup>;

// What an agent answers to a director with that address.
SetupState StateFor(const HeldSetups& held, const VipSetup& setup, const IpAddress& director);

// A director's question to the agent at that address.
struct SetupQuestion {
  IpAddress real_server;
  VipSetup setup;
  auto operator<=>(const SetupQuestion&) const = default;
  bool operator==(const SetupQuestion&) const = default;
};

struct SetupReply {
  SetupState state;
  TimePoint at{};  // when it came
  bool operator==(const SetupReply&) const = default;
};

}  // namespace kube_lvs
