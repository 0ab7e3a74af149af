#include "dataplane/ipvs/schedulers.h"

#include <unistd.h>

namespace kube_lvs::ipvs {

absl::Status CheckSchedulerOfThisNode(const std::string& scheduler) {
  if (scheduler != "lblc" && scheduler != "lblcr") return absl::OkStatus();
  // Theirs, whether a module or built in.
  const std::string sysctl = "/proc/sys/net/ipv4/vs/" + scheduler + "_expiration";
  if (access(sysctl.c_str(), F_OK) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the kernel has no scheduler " + scheduler + ": load the module ip_vs_" + scheduler +
      " (at boot, by /etc/modules-load.d), because the kernel may hang when it does so by itself");
}

}  // namespace kube_lvs::ipvs
