#include "node-agent/nic_watch.h"

#include <chrono>
#include <utility>

#include "node-agent/nic_advice.h"

namespace kube_lvs {
namespace {

constexpr std::chrono::minutes kInterval(1);

}  // namespace

NicWatch::NicWatch(ReadCard read, const Clock& clock) : read_(std::move(read)), clock_(clock) {}

const std::vector<api::NodeAdvice>& NicWatch::AdviceFor(const NodeFacts& facts,
                                                        const std::set<std::string>& interfaces,
                                                        uint32_t cpus) {
  std::vector<std::string> cards = NicsBelow(facts, interfaces);
  const TimePoint now = clock_.Now();
  if (cards == cards_ && cpus == cpus_ && now < next_read_) return advice_;
  cards_ = std::move(cards);
  cpus_ = cpus;
  next_read_ = now + kInterval;
  advice_.clear();
  for (const std::string& card : cards_) {
    // One that has gone meanwhile, or tells nothing, gets no advice.
    const absl::StatusOr<NicFacts> nic = read_(card);
    if (!nic.ok()) continue;
    for (const NicAdvice& advice : AdviseOn(*nic, cpus)) {
      advice_.push_back({card, advice.what + ": " + advice.why, advice.mend});
    }
  }
  return advice_;
}

}  // namespace kube_lvs
