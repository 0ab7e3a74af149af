// What a spec may say: the CRDs' rules again (files have no API server before them), and what the
// chosen dataplane can do. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kube/api/types.h"

namespace kube_lvs::api {

// Reasons of the condition Accepted.
inline constexpr char kInvalidSpec[] = "InvalidSpec";
inline constexpr char kUnsupportedByDataplane[] = "UnsupportedByDataplane";
inline constexpr char kDirectorGroupNotFound[] = "DirectorGroupNotFound";
inline constexpr char kBackendNotPermitted[] = "BackendNotPermitted";
// Reasons of the condition BackendsReady.
inline constexpr char kPortNotFound[] = "PortNotFound";
inline constexpr char kNoBackends[] = "NoBackends";

// Why something is not as its user wants it. The message names the field or the object, and the
// mend.
struct Problem {
  std::string reason;
  std::string message;
  bool operator==(const Problem&) const = default;
};

// The dataplane of a service: its own choice, else the group's choice, else what the group's Auto
// was resolved to; nullopt while that is not known.
std::optional<Dataplane> EffectiveDataplane(const LvsServiceSpec& spec,
                                            const LvsDirectorGroup* group);

// Whether to replace clients' addresses: NAT only; Auto means yes if any backend is a serviceRef.
bool EffectiveSourceNat(const LvsServiceSpec& spec);

// Empty if the spec is fine. Without a dataplane, only what holds for all. A service with
// any of these problems is not programmed.
std::vector<Problem> Validate(const LvsService& service, std::optional<Dataplane> dataplane);

std::vector<Problem> Validate(const LvsAddressPool& pool);
std::vector<Problem> Validate(const LvsDirectorGroup& group);

// Loopback, link-local (metadata services too), multicast, broadcast and unspecified addresses:
// neither a VIP nor a real server may have one.
bool IsNeverAllowed(const IpAddress& address);

// Prefix lengths of a CIDR of VIPs. Of IPv4 each address is announced by itself; of IPv6 a router
// has a route, and the shortest is what a site gets (RFC 6177).
struct VipPrefixLengths {
  int shortest = 0, longest = 0;
};
inline constexpr VipPrefixLengths VipPrefixLengthsOf(Family family) {
  return family == Family::kIpv4 ? VipPrefixLengths{20, 31} : VipPrefixLengths{48, 127};
}

// Whether all addresses of the prefix may be VIPs of one service of type CIDR; else why not.
absl::Status CheckVipPrefix(const Cidr& cidr);

// Whether dataplane eBPF can do for every address of a CIDR what the service asks for; else why
// not.
absl::Status CheckCidrByEbpf(const LvsServiceSpec& spec);

// Whether it asks for every address of a CIDR.
bool HasCidr(const LvsServiceSpec& spec);

}  // namespace kube_lvs::api
