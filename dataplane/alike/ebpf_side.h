#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dataplane/alike/side.h"
#include "dataplane/ebpf/open.h"

namespace kube_lvs::alike {

// Our own dataplane, by tc.
class EbpfSide final : public Side {
 public:
  EbpfSide();

  std::string Name() const override { return "eBPF"; }
  void Apply(const std::vector<Step>& steps) override;
  State Read() override;
  Stats ReadStats() override;
  Stats ReadStats(const ServiceKey& key) override;

 private:
  bool RefusedOne() override;

  SystemClock clock_;
  ebpf::EbpfDataplane dataplane_;
  uint64_t refused_ = 0;
};

}  // namespace kube_lvs::alike
