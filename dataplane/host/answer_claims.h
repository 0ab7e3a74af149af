// The right to answer ARP and NDP for VIPs that are addresses of this node's interfaces: it ends in
// the kernel, without us, so that a director whose agent is dead or frozen falls silent when its
// fellows take over. Tables of our own: nftables `arp kube-lvs` and `ip6 kube-lvs`.
#pragma once

#include <memory>
#include <optional>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ip.h"

namespace kube_lvs::host {

// A VIP, or an IPv4 prefix of them, that is known here is answered for, and named as the sender of
// ARP and NDP, only while its claim lasts. Packets are not touched. A table is there only while a
// VIP of its family is known. Not thread-safe.
class AnswerClaims {
 public:
  virtual ~AnswerClaims() = default;

  // The known VIPs whose claims have run out; of prefixes, the first address.
  virtual absl::StatusOr<std::set<IpAddress>> RunOut() = 0;

  // Makes these the known ones, each claimed for `lifetime` from now, for ever without one.
  virtual absl::Status Write(const std::set<Cidr>& vips, std::optional<Duration> lifetime) = 0;

  // One more. A claim that it has already may be left as it is.
  virtual absl::Status Add(const Cidr& vips, std::optional<Duration> lifetime) = 0;
};

// kFailedPrecondition later, from its calls, where the kernel has no nf_tables.
absl::StatusOr<std::unique_ptr<AnswerClaims>> OpenAnswerClaims();

}  // namespace kube_lvs::host
