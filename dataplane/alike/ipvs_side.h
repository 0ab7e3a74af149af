#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/alike/side.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/fake_marks.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/timeout_backend.h"

namespace kube_lvs::alike {

// The IPVS of this kernel, which must have it.
class IpvsSide final : public Side {
 public:
  IpvsSide();

  std::string Name() const override { return "IPVS"; }
  Dataplane dataplane() const override { return Dataplane::kIpvs; }
  void Apply(const std::vector<Step>& steps) override;
  ServiceReading Read(const ServiceKey& key) override;
  Stats ReadStats() override;

 private:
  std::unique_ptr<ipvs::NetlinkChannel> channel_;
  std::optional<ipvs::Journal> journal_;
  ipvs::FakeMarks marks_;  // no history has a service of many ports
  std::unique_ptr<ipvs::IpvsBackend> backend_;
  std::unique_ptr<ipvs::TimeoutBackend> timeouts_;
};

}  // namespace kube_lvs::alike
