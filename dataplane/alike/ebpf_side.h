#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "dataplane/alike/side.h"
#include "dataplane/ebpf/open.h"

namespace kube_lvs::alike {

enum class Stage { kTc, kXdp };

// Our own dataplane. By XDP, tc takes what XDP leaves to it: among others what is for a real server
// on the other wire.
class EbpfSide final : public Side {
 public:
  explicit EbpfSide(Stage stage);

  std::string Name() const override { return stage_ == Stage::kTc ? "eBPF by tc" : "eBPF by XDP"; }
  Dataplane dataplane() const override { return Dataplane::kEbpf; }
  void Apply(const std::vector<Step>& steps) override;
  ServiceReading Read(const ServiceKey& key) override;
  Stats ReadStats() override;

  // How many packets have come to tc.
  uint64_t TakenByTc() const;

 private:
  bool RefusedOne() override;

  const Stage stage_;
  SystemClock clock_;
  ebpf::EbpfDataplane dataplane_;
  UniqueFd tc_;  // the program
  uint64_t refused_ = 0;
};

}  // namespace kube_lvs::alike
