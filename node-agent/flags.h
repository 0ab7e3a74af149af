// The agent's command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "base/log.h"
#include "dataplane/model/service.h"

namespace kube_lvs {

inline constexpr char kVersion[] = "0.1.0";

struct Flags {
  enum class Mode { kRun, kDryRun, kCleanup, kCheck, kHelp, kVersion };
  Mode mode = Mode::kRun;
  std::string node_name;             // empty: the host name
  std::optional<IpAddress> node_ip;  // none: of the interface with the default route
  std::string name_space;            // of the agent's pod; only logged
  std::string manifests;             // a folder; empty: from Kubernetes
  std::string kubeconfig;            // empty: the pod's service account
  std::optional<Endpoint> metrics = Endpoint{{}, 9474};  // none: no metrics
  std::string bpf_dir = "/sys/fs/bpf/kube-lvs";
  std::string state_dir = "/var/lib/kube-lvs";
  std::string run_dir = "/run/kube-lvs";
  uint16_t peer_port = 8849;
  std::string peer_key_file;                // empty: no key
  std::vector<std::string> xdp_interfaces;  // globs
  std::optional<Dataplane> dataplane;       // none: auto
  Level log_level = Level::kInfo;
  bool operator==(const Flags&) const = default;
};

extern const char* const kHelp;

// `args` without the program's name; "--flag=value" or "--flag value". kInvalidArgument names the
// argument that is wrong, and what would be right.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& args);

}  // namespace kube_lvs
