#include "dataplane/ebpf/open.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/rtnetlink.h"

namespace kube_lvs::ebpf {
namespace {

// Some 14 MB (2 of them IPv6's connections), and 0.2 MB for each CPU.
constexpr MapSizes kAloneSizes = {.addresses = 8192,
                                  .services = 1024,
                                  .reals = 4096,
                                  .list_entries = 32768,
                                  .table_slots = 524288,
                                  .connections = 65536};

}  // namespace

absl::StatusOr<EbpfDataplane> OpenEbpfDataplane(const BpfOptions& options, const Clock& clock) {
  EbpfDataplane out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.network, NewKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(out.objects, OpenBpfObjects(options, *out.network));
  KUBE_LVS_ASSIGN_OR_RETURN(
      out.backend,
      EbpfBackend::Adopt(*out.objects.maps, *out.objects.programs, *out.network, clock));
  return out;
}

absl::StatusOr<Rules> ReadPinnedRules(const std::string& dir, Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<MapStore> maps, OpenPinnedMaps(dir));
  return ReadRules(*maps, content);
}

absl::Status CleanUpEbpfDataplane(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewKernelNetwork());
  return CleanUpBpfObjects(dir, *network);
}

absl::StatusOr<AloneDataplane> OpenAlone(bool make, const Clock& clock) {
  AloneDataplane out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.network, NewSilentKernelNetwork());
  auto objects = OpenUnpinned(kAloneSizes, *out.network, Access::kWrite);
  if (absl::IsNotFound(objects.status()) && make) {
    objects = LoadUnpinned(kAloneSizes, *out.network);
  } else if (objects.ok()) {
    // What the writer before freed in klvs_lists may be used at once: no program that began before
    // this call is still running after it. A kernel that does not have it has one CPU.
    syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
  }
  KUBE_LVS_RETURN_IF_ERROR(objects.status());
  out.objects = *std::move(objects);
  KUBE_LVS_ASSIGN_OR_RETURN(out.local, host::OpenLocalClients(host::LocalLinkOwner::kLvsadm));
  KUBE_LVS_ASSIGN_OR_RETURN(
      out.alone,
      Alone::Adopt(*out.objects.maps, *out.objects.programs, *out.network, clock, out.local.get()));
  return out;
}

absl::StatusOr<Rules> ReadAloneRules(Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewSilentKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(const BpfObjects objects,
                            OpenUnpinned(kAloneSizes, *network, Access::kRead));
  return ReadSwept(*objects.maps, *objects.programs, content);
}

absl::StatusOr<std::vector<Connection>> ReadPinnedConnections(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<MapStore> maps, OpenPinnedMaps(dir));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t now, ProgramsJiffies());
  return ReadConnections(*maps, now);
}

absl::StatusOr<std::vector<Connection>> ReadAloneConnections() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewSilentKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(const BpfObjects objects,
                            OpenUnpinned(kAloneSizes, *network, Access::kRead));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t now, ProgramsJiffies());
  return ReadConnections(*objects.maps, now);
}

absl::StatusOr<Trace> TracePinned(const std::string& dir, const TracePacket& packet) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<MapStore> maps, OpenPinnedMaps(dir));
  return Rehearse(*maps, packet);
}

absl::StatusOr<Trace> TraceAlone(const TracePacket& packet) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewSilentKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(const BpfObjects objects,
                            OpenUnpinned(kAloneSizes, *network, Access::kRead));
  return Rehearse(*objects.maps, packet);
}

absl::StatusOr<Drops> OpenPinnedDrops(const std::string& dir) {
  Drops out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.maps, OpenPinnedMaps(dir));
  KUBE_LVS_ASSIGN_OR_RETURN(out.ring, OpenPinnedDropRing(dir));
  return out;
}

absl::StatusOr<Drops> OpenAloneDrops() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewSilentKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(BpfObjects objects,
                            OpenUnpinned(kAloneSizes, *network, Access::kRead));
  Drops out;
  out.maps = std::move(objects.maps);
  KUBE_LVS_ASSIGN_OR_RETURN(out.ring, OpenUnpinnedDropRing(*network));
  return out;
}

absl::StatusOr<IpvsTimeouts> ReadAloneTimeouts() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewSilentKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(const BpfObjects objects,
                            OpenUnpinned(kAloneSizes, *network, Access::kRead));
  return ReadTimeouts(*objects.maps);
}

absl::Status RemoveAlone() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewSilentKernelNetwork());
  KUBE_LVS_RETURN_IF_ERROR(RemoveUnpinned(*network));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto local,
                            host::OpenLocalClients(host::LocalLinkOwner::kLvsadm));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::set<NodeItem> there, local->Read());
  return there.empty() ? absl::OkStatus() : local->Remove(LocalLink{});
}

}  // namespace kube_lvs::ebpf
