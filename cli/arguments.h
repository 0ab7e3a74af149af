// What lvsadm was asked to do.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace kube_lvs::cli {

struct Arguments {
  bool help = false;
  bool version = false;
  bool ipvs = true;
  bool ebpf = true;
  std::string bpf_dir = "/sys/fs/bpf/kube-lvs";
};

extern const char kHelp[];

// Without the program's name. kInvalidArgument names the option; options of ipvsadm that are not
// supported yet are refused as such.
absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words);

}  // namespace kube_lvs::cli
