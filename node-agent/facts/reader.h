// Reads NodeFacts from the kernel over rtnetlink and from /proc and /sys, and tells when they may
// have changed. Needs no privilege.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node-agent/facts/facts.h"

namespace kube_lvs {

// The seam: tests give facts of their own.
class FactsReader {
 public:
  virtual ~FactsReader() = default;
  virtual absl::StatusOr<NodeFacts> Read() = 0;  // one thread at a time
};

// `node_address`: what to say instead of the preferred one.
std::unique_ptr<FactsReader> NewKernelFactsReader(std::string node_name,
                                                  std::optional<IpAddress> node_address);

// Blocks until `stop`; calls `changed` in its thread when links, addresses, routes or nexthops of
// this network namespace changed. Messages that come together give one call.
absl::Status WatchNetlink(std::stop_token stop, const std::function<void()>& changed);

}  // namespace kube_lvs
