// The node's own settings that services need: VIPs as addresses, sysctls, source NAT for IPVS.
#pragma once

#include <memory>

#include "dataplane/host/addresses.h"
#include "dataplane/host/masquerade.h"
#include "dataplane/host/sysctls.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::host {

// Takes Sysctl, SilentVip, Masquerade and AnsweredVip of IPVS. A SilentVip is an address of ours on
// lo, an AnsweredVip one on any other interface; adding the latter announces it.
class HostBackend final : public Backend {
 public:
  HostBackend(std::unique_ptr<Addresses> addresses, std::unique_ptr<MasqueradeTable> masquerades,
              Sysctls sysctls);

  std::string Name() const override { return "host"; }
  bool Takes(const Step& step) const override;
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>&) override {
    return ServiceReading{};
  }
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  absl::StatusOr<Stats> ReadStats() override { return Stats{}; }

 private:
  absl::Status ApplyOne(const Step& step);

  std::unique_ptr<Addresses> addresses_;
  std::unique_ptr<MasqueradeTable> masquerades_;
  Sysctls sysctls_;
};

}  // namespace kube_lvs::host
