#include "dataplane/alike/ebpf_side.h"

#include <cstdio>
#include <cstdlib>

namespace kube_lvs::alike {
namespace {

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "eBPF: %s\n", result.status().ToString().c_str());
  std::abort();
}

}  // namespace

EbpfSide::EbpfSide() {
  ebpf::BpfOptions options;
  options.dir = ebpf::PrivateBpfDir("alike");
  // Freed slots of tables rest for seconds, which are many edits of mh. Most connections last to
  // the end, with the ids of their services and real servers: none may be in another's way.
  options.sizes = {.addresses = 64,
                   .services = 256,
                   .reals = 4096,
                   .list_entries = 32768,
                   .table_slots = 1U << 20,
                   .connections = 131072};
  dataplane_ = network().In([&] { return Value(ebpf::OpenEbpfDataplane(options, clock_)); });
  Apply({AddItem{Attachment{"eth0"}}});
}

void EbpfSide::Apply(const std::vector<Step>& steps) {
  const auto statuses = network().In([&] { return dataplane_.backend->Apply(steps); });
  for (size_t i = 0; i < steps.size(); ++i) {
    if (statuses[i].ok()) continue;
    std::fprintf(stderr, "eBPF: %s: %s\n", ToString(steps[i]).c_str(),
                 statuses[i].ToString().c_str());
    std::abort();
  }
}

State EbpfSide::Read() {
  return network().In([this] { return Value(dataplane_.backend->Read()); });
}

Stats EbpfSide::ReadStats() {
  return network().In([this] { return Value(dataplane_.backend->ReadStats()); });
}

Stats EbpfSide::ReadStats(const ServiceKey& key) {
  return network().In([&] { return Value(dataplane_.backend->ReadServices({key})).stats; });
}

bool EbpfSide::RefusedOne() {
  const uint64_t refused = Value(dataplane_.backend->ReadDrops())["no_real_server"];
  const bool one = refused > refused_;
  refused_ = refused;
  return one;
}

}  // namespace kube_lvs::alike
