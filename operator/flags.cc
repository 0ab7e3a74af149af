#include "operator/flags.h"

#include "base/status.h"

namespace kube_lvs::controller {
namespace {

absl::StatusOr<Level> ParseLevel(const std::string& text) {
  if (text == "debug") return Level::kDebug;
  if (text == "info") return Level::kInfo;
  if (text == "warn") return Level::kWarn;
  if (text == "error") return Level::kError;
  return absl::InvalidArgumentError("\"" + text + "\" is not debug, info, warn or error");
}

}  // namespace

const char* const kHelp =
    R"(kube-lvs-operator gives LVSServices their VIPs, director groups their members, and all a status.

  --namespace=NAME            of its Lease (the kubeconfig's, or the pod's)
  --lease-name=NAME           (kube-lvs-operator)
  --kubeconfig=PATH           (none: the pod's service account)
  --metrics-address=IP:PORT   of /metrics and /healthz (0.0.0.0:9475)
  --log-level=LEVEL           debug, info, warn or error (info)
  --create-default-group      create LVSDirectorGroup "default", of all nodes, whenever there is no
                              group at all; also after you deleted the last one
  --help, --version

SIGTERM gives the lease back and ends it; VIPs stay as they are.
)";

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& args) {
  Flags out;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--help" || arg == "-h") {
      out.help = true;
      continue;
    }
    if (arg == "--version") {
      out.version = true;
      continue;
    }
    if (arg == "--create-default-group") {
      out.create_default_group = true;
      continue;
    }
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(0, equals);
    std::string* text = name == "--namespace"    ? &out.name_space
                        : name == "--kubeconfig" ? &out.kubeconfig
                        : name == "--lease-name" ? &out.lease_name
                                                 : nullptr;
    if (text == nullptr && name != "--metrics-address" && name != "--log-level") {
      return absl::InvalidArgumentError(arg + ": there is no such flag; see --help");
    }
    std::string value;
    if (equals != std::string::npos) {
      value = arg.substr(equals + 1);
    } else if (++i < args.size()) {
      value = args[i];
    }
    if (value.empty()) return absl::InvalidArgumentError(name + ": needs a value");
    if (text != nullptr) {
      *text = value;
    } else if (name == "--log-level") {
      const absl::StatusOr<Level> level = ParseLevel(value);
      if (!level.ok()) return Annotate(level.status(), name);
      out.log_level = *level;
    } else {
      const absl::StatusOr<Endpoint> address = Endpoint::Parse(value);
      if (!address.ok()) return Annotate(address.status(), name);
      out.metrics_address = *address;
    }
  }
  return out;
}

}  // namespace kube_lvs::controller
