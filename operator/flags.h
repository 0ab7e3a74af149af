// The operator's command line.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "base/log.h"

namespace kube_lvs::controller {

inline constexpr char kVersion[] = "0.1.0";

struct Flags {
  std::string name_space = {};  // of the Lease; empty: the kubeconfig's, or the pod's
  Endpoint metrics_address = {.ip = {}, .port = 9475};
  std::string kubeconfig = {};  // empty: the pod's service account
  std::string lease_name = "kube-lvs-operator";
  Level log_level = Level::kInfo;
  bool create_default_group = false;
  bool help = false;
  bool version = false;
  bool operator==(const Flags&) const = default;
};

extern const char* const kHelp;

// `args` without the program's name. kInvalidArgument names the one that is wrong.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& args);

}  // namespace kube_lvs::controller
