#include "cli/arguments.h"

#include "absl/status/status.h"

namespace kube_lvs::cli {

const char kHelp[] =
    R"(lvsadm lists the virtual services of this machine, in the form of ipvsadm.

  lvsadm -L -n                      everything, of the kernel's IPVS and of the eBPF dataplane
  lvsadm -Ln --dataplane ebpf       of one of them: ipvs or ebpf
  lvsadm -Ln --bpf-dir DIR          eBPF maps of an agent that was started with --bpf-dir DIR

Addresses and ports are always numeric. Changing rules is not supported yet: rules come from the
agent, for IPVS also from ipvsadm.
)";

absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words) {
  Arguments out;
  bool list = false;
  const auto value = [&](size_t& i) -> absl::StatusOr<std::string> {
    if (i + 1 == words.size()) {
      return absl::InvalidArgumentError("option " + words[i] + " wants a value");
    }
    return words[++i];
  };
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "-h" || word == "--help") {
      out.help = true;
    } else if (word == "-v" || word == "--version") {
      out.version = true;
    } else if (word == "-L" || word == "-l" || word == "--list" || word == "-Ln" || word == "-ln") {
      list = true;
    } else if (word == "-n" || word == "--numeric") {
      // Always so.
    } else if (word == "--dataplane") {
      const auto which = value(i);
      if (!which.ok()) return which.status();
      if (*which != "ipvs" && *which != "ebpf") {
        return absl::InvalidArgumentError("--dataplane " + *which + ": ipvs or ebpf");
      }
      out.ipvs = *which == "ipvs";
      out.ebpf = *which == "ebpf";
    } else if (word == "--bpf-dir") {
      const auto dir = value(i);
      if (!dir.ok()) return dir.status();
      out.bpf_dir = *dir;
    } else {
      return absl::InvalidArgumentError(word + " is not supported yet: see lvsadm --help");
    }
  }
  if (!list && !out.help && !out.version) {
    return absl::InvalidArgumentError("nothing to do: lvsadm -L -n lists, see lvsadm --help");
  }
  return out;
}

}  // namespace kube_lvs::cli
