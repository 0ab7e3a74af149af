// A channel on which things go wrong, for tests: the kernel's own faults (no memory for one
// request) and the socket's (not sent, answers lost, a batch cut off in the middle, a dump that was
// interrupted each time).
#pragma once

#include <cstdint>
#include <random>

#include "dataplane/ipvs/channel.h"

namespace kube_lvs::ipvs {

class FaultyChannel final : public Channel {
 public:
  // Borrows `real`. `one_in`: of so many calls (and, for ENOMEM, requests) one meets each fault;
  // 0: none does.
  FaultyChannel(Channel& real, uint32_t seed, uint32_t one_in)
      : real_(real), random_(seed), one_in_(one_in) {}

  absl::StatusOr<std::vector<int>> Send(std::span<const Bytes> requests) override;
  absl::StatusOr<Messages> Dump(const Bytes& request) override;
  absl::StatusOr<Bytes> Ask(const Bytes& request) override;

  void StopFaults() { one_in_ = 0; }
  uint64_t faults() const { return faults_; }

 private:
  bool Happens();

  Channel& real_;
  std::mt19937 random_;
  uint32_t one_in_;
  uint64_t faults_ = 0;
};

}  // namespace kube_lvs::ipvs
