#include "dataplane/alike/ebpf_side.h"

#include <bpf/bpf.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "dataplane/ebpf/testing/xdp.h"

namespace kube_lvs::alike {
namespace {

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "eBPF: %s\n", result.status().ToString().c_str());
  std::abort();
}

// The programs of one version are in one folder.
UniqueFd OpenPinned(const std::string& dir, const std::string& program) {
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (!entry.is_directory()) continue;
    UniqueFd fd(bpf_obj_get((entry.path() / program).c_str()));
    if (fd.ok()) return fd;
  }
  std::perror(program.c_str());
  std::abort();
}

}  // namespace

EbpfSide::EbpfSide(Stage stage) : stage_(stage) {
  ebpf::BpfOptions options;
  options.dir = ebpf::PrivateBpfDir(stage == Stage::kTc ? "tc" : "xdp");
  if (stage == Stage::kXdp) {
    options.xdp_interfaces = {"eth0"};
    network().In([] { ebpf::AttachXdpPass("peer0"); });
    network().Sh("sysctl -qw kernel.bpf_stats_enabled=1");
  }
  // Freed slots of tables rest for seconds, which are many edits of mh. Most connections last to
  // the end, with the ids of their services and real servers: none may be in another's way.
  options.sizes = {.addresses = 64,
                   .services = 256,
                   .reals = 4096,
                   .list_entries = 32768,
                   .table_slots = 1U << 20,
                   .connections = 131072};
  dataplane_ = network().In([&] { return Value(ebpf::OpenEbpfDataplane(options, clock_)); });
  tc_ = OpenPinned(options.dir, "tc_director");
  Apply({AddItem{Attachment{"eth0"}}});
  for (const ebpf::AttachReport& report :
       network().In([this] { return Value(dataplane_.backend->Attachments()); })) {
    if (report.xdp == (stage == Stage::kXdp)) continue;
    std::fprintf(stderr, "%s: %s\n", Name().c_str(), ToString(report).c_str());
    std::abort();
  }
}

void EbpfSide::Apply(const std::vector<Step>& steps) {
  const auto statuses = network().In([&] { return dataplane_.backend->Apply(steps); });
  for (size_t i = 0; i < steps.size(); ++i) {
    if (statuses[i].ok()) continue;
    std::fprintf(stderr, "%s: %s: %s\n", Name().c_str(), ToString(steps[i]).c_str(),
                 statuses[i].ToString().c_str());
    std::abort();
  }
}

ServiceReading EbpfSide::Read(const ServiceKey& key) {
  return network().In([&] { return Value(dataplane_.backend->ReadServices({key})); });
}

Stats EbpfSide::ReadStats() {
  return network().In([this] { return Value(dataplane_.backend->ReadStats()); });
}

uint64_t EbpfSide::TakenByTc() const {
  bpf_prog_info info{};
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(tc_.get(), &info, &size) != 0) std::abort();
  return info.run_cnt;
}

bool EbpfSide::RefusedOne() {
  const uint64_t refused = Value(dataplane_.backend->ReadDrops())["no_real_server"];
  const bool one = refused > refused_;
  refused_ = refused;
  return one;
}

}  // namespace kube_lvs::alike
