#include "dataplane/ebpf/open.h"

#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/rtnetlink.h"

namespace kube_lvs::ebpf {

absl::StatusOr<EbpfDataplane> OpenEbpfDataplane(const BpfOptions& options, const Clock& clock) {
  EbpfDataplane out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.network, NewKernelNetwork());
  KUBE_LVS_ASSIGN_OR_RETURN(out.objects, OpenBpfObjects(options, *out.network));
  KUBE_LVS_ASSIGN_OR_RETURN(
      out.backend,
      EbpfBackend::Adopt(*out.objects.maps, *out.objects.programs, *out.network, clock));
  return out;
}

absl::StatusOr<Rules> ReadPinnedRules(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<MapStore> maps, OpenPinnedMaps(dir));
  return ReadRules(*maps);
}

absl::Status CleanUpEbpfDataplane(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::unique_ptr<Network> network, NewKernelNetwork());
  return CleanUpBpfObjects(dir, *network);
}

}  // namespace kube_lvs::ebpf
