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

IpvsSide::IpvsSide(const std::string& vip) {
  network().Sh("ip addr add " + vip +
               "/32 dev lo; "
               "sysctl -qw net.ipv4.vs.expire_quiescent_template=1");
  channel_ = network().In([] { return std::make_unique<ipvs::NetlinkChannel>(); });
  std::remove("/run/alike.journal");
  journal_ = Value(ipvs::Journal::Open("/run/alike.journal", "boot"));
  backend_ = std::make_unique<ipvs::IpvsBackend>(*channel_, *journal_, marks_);
}

void IpvsSide::Apply(const std::vector<Step>& steps) {
  const auto statuses = network().In([&] { return backend_->Apply(steps); });
  for (size_t i = 0; i < steps.size(); ++i) {
    if (statuses[i].ok()) continue;
    std::fprintf(stderr, "IPVS: %s: %s\n", ToString(steps[i]).c_str(),
                 statuses[i].ToString().c_str());
    std::abort();
  }
}

State IpvsSide::Read() {
  return network().In([this] { return Value(backend_->Read()); });
}

Stats IpvsSide::ReadStats() {
  return network().In([this] { return Value(backend_->ReadStats()); });
}

}  // namespace kube_lvs::alike
