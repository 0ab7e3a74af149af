#include "dataplane/alike/ipvs_side.h"

#include <cstdio>
#include <cstdlib>

namespace kube_lvs::alike {
namespace {

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "IPVS: %s\n", result.status().ToString().c_str());
  std::abort();
}

}  // namespace

IpvsSide::IpvsSide() {
  network().Sh("ip addr add " + VipAddress(Family::kIpv4).ToString() + " dev lo; ip addr add " +
               VipAddress(Family::kIpv6).ToString() +
               " dev lo; "
               "sysctl -qw net.ipv4.vs.expire_quiescent_template=1");
  channel_ = network().In([] { return std::make_unique<ipvs::NetlinkChannel>(); });
  std::remove("/run/alike.journal");
  journal_ = Value(ipvs::Journal::Open("/run/alike.journal", "boot"));
  backend_ = std::make_unique<ipvs::IpvsBackend>(*channel_, *journal_, marks_);
  std::remove("/run/alike.timeouts");
  timeouts_ = std::make_unique<ipvs::TimeoutBackend>(*channel_, "/run/alike.timeouts", "boot");
}

void IpvsSide::Apply(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    Backend* backend = backend_.get();
    if (timeouts_->Takes(step)) backend = timeouts_.get();
    const absl::Status status =
        network().In([&] { return backend->Apply(std::vector<Step>{step}); })[0];
    if (status.ok()) continue;
    std::fprintf(stderr, "IPVS: %s: %s\n", ToString(step).c_str(), status.ToString().c_str());
    std::abort();
  }
}

ServiceReading IpvsSide::Read(const ServiceKey& key) {
  return network().In([&] { return Value(backend_->ReadServices({key})); });
}

Stats IpvsSide::ReadStats() {
  return network().In([this] { return Value(backend_->ReadStats()); });
}

}  // namespace kube_lvs::alike
