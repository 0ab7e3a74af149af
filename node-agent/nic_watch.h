// Advice on the network cards that serve VIPs, while they do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "kube/api/types.h"
#include "node-agent/facts/nic.h"

namespace kube_lvs {

// One thread at a time.
class NicWatch {
 public:
  using ReadCard = std::function<absl::StatusOr<NicFacts>(const std::string& interface)>;

  // `read`: ReadNic; `clock` must outlive it.
  NicWatch(ReadCard read, const Clock& clock);

  // Of the cards below `interfaces`, in the order of their names; `cpus`: that are online. The
  // kernel tells nobody when a card is set up otherwise, and asking holds up changes of the
  // network: they are read once a minute, and when they are others or the CPUs are more or fewer.
  const std::vector<api::NodeAdvice>& AdviceFor(const NodeFacts& facts,
                                                const std::set<std::string>& interfaces,
                                                uint32_t cpus);

 private:
  const ReadCard read_;
  const Clock& clock_;
  std::vector<std::string> cards_;
  uint32_t cpus_ = 0;
  TimePoint next_read_{};
  std::vector<api::NodeAdvice> advice_;
};

}  // namespace kube_lvs
