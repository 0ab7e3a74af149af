#include "node-agent/node_backends.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/host/host_backend.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/journal.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/nft_marks.h"
#include "dataplane/ipvs/sync_backend.h"
#include "dataplane/ipvs/timeout_backend.h"
#include "dataplane/plan/diff.h"
#include "node-agent/loop/lazy_backend.h"

namespace kube_lvs {
namespace {

bool HasEntries(const std::string& folder) {
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return false;
  bool found = false;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") found = true;
  }
  closedir(dir);
  return found;
}

bool IsEbpfItem(const NodeItem& item) {
  if (const auto* answer = std::get_if<AnsweredVip>(&item)) {
    return answer->dataplane == Dataplane::kEbpf;
  }
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&item)) {
    return timeout->dataplane == Dataplane::kEbpf;
  }
  return std::holds_alternative<Attachment>(item) || std::holds_alternative<TunnelPeer>(item) ||
         std::holds_alternative<MssClamp>(item);
}

// As EbpfBackend::Takes, which can be asked only once it is open.
bool TakenByEbpf(const Step& step) {
  if (const ServiceKey* key = KeyOf(step)) return key->dataplane == Dataplane::kEbpf;
  if (const auto* add = std::get_if<AddItem>(&step)) return IsEbpfItem(add->item);
  return IsEbpfItem(std::get<RemoveItem>(step).item);
}

// Hands on to a backend that somebody else owns.
class Borrowed final : public Backend {
 public:
  explicit Borrowed(Backend& backend) : backend_(backend) {}
  std::string Name() const override { return backend_.Name(); }
  bool Takes(const Step& step) const override { return backend_.Takes(step); }
  absl::StatusOr<State> Read() override { return backend_.Read(); }
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) override {
    return backend_.ReadServices(keys);
  }
  std::vector<absl::Status> Apply(std::span<const Step> steps) override {
    return backend_.Apply(steps);
  }
  absl::StatusOr<Stats> ReadStats() override { return backend_.ReadStats(); }
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable& expected) override {
    return backend_.Suspects(expected);
  }
  absl::Status ForgetAllBut(const ServiceTable& desired) override {
    return backend_.ForgetAllBut(desired);
  }

 private:
  Backend& backend_;
};

class KernelBackends final : public NodeBackends {
 public:
  KernelBackends(NodeBackendsOptions options, const Clock& clock, const std::string& boot_id,
                 ipvs::Journal journal, std::unique_ptr<ipvs::MarkTable> marks,
                 std::unique_ptr<host::Addresses> addresses,
                 std::unique_ptr<host::LocalRoutes> routes,
                 std::unique_ptr<host::LocalClients> local_clients,
                 std::unique_ptr<host::MasqueradeTable> masquerades,
                 std::unique_ptr<host::AnswerClaims> claims)
      : options_(std::move(options)),
        clock_(clock),
        journal_(std::move(journal)),
        marks_(std::move(marks)),
        ipvs_(channel_, journal_, *marks_),
        sync_(channel_, options_.state_dir + "/ipvs-sync", boot_id),
        timeouts_(channel_, options_.state_dir + "/ipvs-timeouts", boot_id),
        host_(std::move(addresses), std::move(routes), std::move(local_clients),
              std::move(masquerades), std::move(claims),
              host::Sysctls("/proc/sys", options_.state_dir + "/sysctls")),
        ebpf_(
            "eBPF", TakenByEbpf, [this] { return HasEntries(options_.bpf_dir); },
            [this] { return OpenEbpf(); }),
        locked_ebpf_(ebpf_, mu_),
        locked_ipvs_(ipvs_, mu_),
        locked_sync_(sync_, mu_),
        locked_timeouts_(timeouts_, mu_),
        locked_host_(host_, mu_) {}

  std::vector<Backend*> All() override {
    return {&locked_ebpf_, &locked_ipvs_, &locked_sync_, &locked_timeouts_, &locked_host_};
  }

  absl::Status Refresh() override {
    const std::lock_guard<std::mutex> lock(mu_);
    return dataplane_.has_value() ? dataplane_->backend->Refresh() : absl::OkStatus();
  }

  absl::Status RenewClaims(std::optional<Duration> lifetime,
                           std::optional<bool> by_one) override {
    const std::lock_guard<std::mutex> lock(mu_);
    const absl::Status of_host = host_.RenewClaims(lifetime, clock_.Now());
    if (by_one) claimed_by_one_ = *by_one;
    if (!dataplane_.has_value()) return of_host;
    uint64_t until = UINT64_MAX;
    if (lifetime.has_value()) {
      timespec now = {};
      if (clock_gettime(CLOCK_BOOTTIME, &now) != 0) {
        return absl::InternalError("the kernel has no CLOCK_BOOTTIME");
      }
      until = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 +
              static_cast<uint64_t>(now.tv_nsec) + static_cast<uint64_t>(lifetime->count());
    }
    if (claimed_by_one_) dataplane_->backend->SetClaims(*claimed_by_one_);
    KUBE_LVS_RETURN_IF_ERROR(dataplane_->backend->RenewClaims(until));
    return of_host;
  }

  absl::Status AnnounceAgain(const std::set<IpAddress>& vips) override {
    const std::lock_guard<std::mutex> lock(mu_);
    absl::Status status = host_.AnnounceAgain(vips);
    if (dataplane_.has_value()) status.Update(dataplane_->backend->AnnounceAgain(vips));
    return status;
  }

  std::set<IpAddress> RunOutClaims() override {
    const std::lock_guard<std::mutex> lock(mu_);
    // Where it cannot be told, it is as if nothing had run out: then two directors may claim a VIP
    // for a moment.
    return host_.RunOut().value_or(std::set<IpAddress>());
  }

  int RefreshFd() const override { return refresh_fd_.load(); }

  absl::StatusOr<std::map<std::string, std::string>> Attachments() override {
    const std::lock_guard<std::mutex> lock(mu_);
    std::map<std::string, std::string> out;
    if (!dataplane_.has_value()) return out;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto attachments, dataplane_->backend->Attachments());
    for (const ebpf::AttachReport& report : attachments) out[report.interface] = report.why_not;
    return out;
  }

  absl::StatusOr<std::map<std::string, uint64_t>> Drops() override {
    const std::lock_guard<std::mutex> lock(mu_);
    if (!dataplane_.has_value()) return std::map<std::string, uint64_t>();
    return dataplane_->backend->ReadDrops();
  }

  std::map<std::string, double> TablesUsed() override {
    const std::lock_guard<std::mutex> lock(mu_);
    return dataplane_.has_value() ? dataplane_->backend->Fill() : std::map<std::string, double>();
  }

  uint64_t CountsRepaired() override {
    const std::lock_guard<std::mutex> lock(mu_);
    return dataplane_.has_value() ? dataplane_->backend->counts_repaired() : 0;
  }

  SharedIpvs Shared() override {
    const std::lock_guard<std::mutex> lock(mu_);
    SharedIpvs shared{.other_services = ipvs_.other_services(), .on = {}};
    for (const char* name : kSharedSysctls) {
      // One that cannot be read is not there: then nobody has set it.
      const std::string value = ReadFile(std::string("/proc/sys/") + name).value_or("");
      if (value.starts_with("1")) shared.on.insert(name);
    }
    return shared;
  }

  absl::Status EbpfStatus() override {
    const std::lock_guard<std::mutex> lock(mu_);
    return ebpf_.open_status();
  }

  absl::Status CleanUp() override {
    const std::lock_guard<std::mutex> lock(mu_);
    std::string failures;
    const auto note = [&failures](const std::string& what, const absl::Status& status) {
      if (!status.ok()) failures += (failures.empty() ? "" : "; ") + what + ": " + Message(status);
    };
    for (Backend* backend : std::initializer_list<Backend*>{&ipvs_, &sync_, &timeouts_, &host_}) {
      const absl::StatusOr<State> actual = backend->Read();
      // What this kernel cannot do at all, it holds nothing of.
      if (absl::IsFailedPrecondition(actual.status())) continue;
      note(backend->Name(), actual.status());
      if (!actual.ok()) continue;
      const Plan plan = Diff(State{}, *actual);
      const std::vector<absl::Status> statuses = backend->Apply(plan.steps);
      for (size_t i = 0; i < statuses.size(); ++i) note(ToString(plan.steps[i]), statuses[i]);
    }
    // What is left there is of services that nobody knows to be ours any more.
    const absl::Status unmarked = marks_->Write({});
    if (!absl::IsFailedPrecondition(unmarked)) note("marks", unmarked);
    note("claims of VIPs", host_.RenewClaims(std::nullopt, clock_.Now()));
    dataplane_.reset();
    note("eBPF", ebpf::CleanUpEbpfDataplane(options_.bpf_dir));
    return failures.empty() ? absl::OkStatus() : absl::InternalError(failures);
  }

 private:
  absl::StatusOr<std::unique_ptr<Backend>> OpenEbpf() {  // needs mu_
    // The folder that holds it is a BPF file system, or opening says so.
    if (mkdir(options_.bpf_dir.c_str(), 0700) != 0 && errno != EEXIST) {
      return absl::FailedPreconditionError("cannot make " + options_.bpf_dir +
                                           ": mount a BPF file system (mount -t bpf bpf "
                                           "/sys/fs/bpf), or name another folder by --bpf-dir");
    }
    ebpf::BpfOptions options;
    options.dir = options_.bpf_dir;
    options.xdp_interfaces = options_.xdp_interfaces;
    const uint32_t connections = options_.connections();
    if (connections != 0) {
      options.sizes.connections = std::bit_ceil(std::clamp(connections, 1024u, 1u << 26));
    }
    KUBE_LVS_ASSIGN_OR_RETURN(ebpf::EbpfDataplane dataplane,
                              ebpf::OpenEbpfDataplane(options, clock_));
    dataplane_.emplace(std::move(dataplane));
    if (claimed_by_one_) dataplane_->backend->SetClaims(*claimed_by_one_);
    refresh_fd_ = dataplane_->backend->fd();
    return std::make_unique<Borrowed>(*dataplane_->backend);
  }

  const NodeBackendsOptions options_;
  const Clock& clock_;
  std::mutex mu_;
  std::optional<bool> claimed_by_one_;  // nullopt: as the dataplane has it
  ipvs::NetlinkChannel channel_;
  ipvs::Journal journal_;
  const std::unique_ptr<ipvs::MarkTable> marks_;
  ipvs::IpvsBackend ipvs_;
  ipvs::SyncBackend sync_;
  ipvs::TimeoutBackend timeouts_;
  host::HostBackend host_;
  std::optional<ebpf::EbpfDataplane> dataplane_;  // guarded by mu_
  std::atomic<int> refresh_fd_{-1};
  LazyBackend ebpf_;
  LockedBackend locked_ebpf_, locked_ipvs_, locked_sync_, locked_timeouts_, locked_host_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NodeBackends>> NodeBackends::Open(NodeBackendsOptions options,
                                                                 const Clock& clock) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string boot_id, ReadFile("/proc/sys/kernel/random/boot_id"));
  while (!boot_id.empty() && boot_id.back() == '\n') boot_id.pop_back();
  KUBE_LVS_ASSIGN_OR_RETURN(ipvs::Journal journal,
                            ipvs::Journal::Open(options.state_dir + "/ipvs-journal", boot_id));
  KUBE_LVS_ASSIGN_OR_RETURN(auto marks, ipvs::OpenMarkTable());
  KUBE_LVS_ASSIGN_OR_RETURN(auto addresses, host::OpenAddresses());
  KUBE_LVS_ASSIGN_OR_RETURN(auto routes, host::OpenLocalRoutes());
  KUBE_LVS_ASSIGN_OR_RETURN(auto local_clients, host::OpenLocalClients());
  KUBE_LVS_ASSIGN_OR_RETURN(auto masquerades, host::OpenMasqueradeTable());
  KUBE_LVS_ASSIGN_OR_RETURN(auto claims, host::OpenAnswerClaims());
  return std::unique_ptr<NodeBackends>(std::make_unique<KernelBackends>(
      std::move(options), clock, boot_id, std::move(journal), std::move(marks),
      std::move(addresses), std::move(routes), std::move(local_clients), std::move(masquerades),
      std::move(claims)));
}

}  // namespace kube_lvs
