// Asks a node whether it is there, without its agent: ICMP echo.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs {

// Not thread-safe. Never blocks.
class Prober {
 public:
  virtual ~Prober() = default;
  // Sends one echo request. What cannot be sent is as good as not answered.
  virtual void Probe(const IpAddress& to) = 0;
  // The sender of the next answer that has come to one of our requests.
  virtual std::optional<IpAddress> NextAnswer() = 0;
  virtual int Fd(Family family) const = 0;  // to poll on; -1: none
};

// kPermissionDenied without CAP_NET_RAW. Without IPv6 it probes IPv4 only.
absl::StatusOr<std::unique_ptr<Prober>> NewIcmpProber();

}  // namespace kube_lvs
