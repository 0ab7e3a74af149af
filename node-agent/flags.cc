#include "node-agent/flags.h"

#include <algorithm>
#include <map>

#include "base/status.h"

namespace kube_lvs {

const char* const kHelp = R"(kube-lvs-agent: Linux Virtual Server on this node, as LVSServices say.

  kube-lvs-agent                              in a pod: objects from the Kubernetes API
  kube-lvs-agent --kubeconfig FILE            outside: the same, as FILE says
  kube-lvs-agent --manifests DIR              without Kubernetes: objects from DIR/*.yaml

It runs until SIGTERM. What it has programmed stays and goes on balancing; the next start takes it
over as it is. Other things it can do instead:

  --dry-run     print, in order, what it would do on an empty node, and exit. Needs no root
  --check       print what this node has and lacks, with the mend, and advice. Exit status 1: something
                is missing
  --cleanup     hand the VIPs over to the other directors (with their --peer-key-file), then take
                away all that kube-lvs set up on this node, and nothing else
  --help, --version

Who this node is:
  --node-name NAME      its name in director groups; the host name without it
  --node-ip ADDRESS     where other directors reach it; without it the address of the interface with
                        the default route
  --namespace NAME      the namespace of the agent's pod, for its log

What it works with:
  --dataplane auto|ipvs|ebpf    for services and groups that leave it open; auto is eBPF
  --xdp-interfaces GLOB,...     use native XDP on these virtual interfaces, too: right only if XDP
                                programs run at their other ends as well
  --bpf-dir DIR         where BPF programs are pinned         /sys/fs/bpf/kube-lvs
  --state-dir DIR       what must outlive a reboot            /var/lib/kube-lvs
  --run-dir DIR         what need not                         /run/kube-lvs

How it talks:
  --metrics-address ADDRESS:PORT   /metrics and /healthz; "off" for none      0.0.0.0:9474
  --peer-port PORT                 between agents, UDP                        8849
  --peer-key-file FILE             a secret that all agents share; without it directors'
                                   addresses are all that vouches for them
  --log-level debug|info|warn|error
)";

namespace {

absl::Status Wrong(const std::string& flag, const std::string& value, const std::string& right) {
  return absl::InvalidArgumentError("--" + flag + "=" + value + ": " + right);
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

absl::Status Set(Flags& flags, const std::string& name, const std::string& value) {
  const std::map<std::string, std::string*> texts = {
      {"node-name", &flags.node_name}, {"namespace", &flags.name_space},
      {"manifests", &flags.manifests}, {"kubeconfig", &flags.kubeconfig},
      {"bpf-dir", &flags.bpf_dir},     {"state-dir", &flags.state_dir},
      {"run-dir", &flags.run_dir},     {"peer-key-file", &flags.peer_key_file}};
  if (const auto text = texts.find(name); text != texts.end()) {
    if (value.empty()) return Wrong(name, value, "the value is missing");
    *text->second = value;
  } else if (name == "node-ip") {
    const auto ip = IpAddress::Parse(value);
    if (!ip.ok()) return Wrong(name, value, "must be an IP address, as 192.0.2.1");
    flags.node_ip = *ip;
  } else if (name == "metrics-address") {
    flags.metrics.reset();
    if (value == "off") return absl::OkStatus();
    const auto endpoint = Endpoint::Parse(value);
    if (!endpoint.ok()) return Wrong(name, value, "must be ADDRESS:PORT, as 0.0.0.0:9474, or off");
    flags.metrics = *endpoint;
  } else if (name == "peer-port") {
    const auto port = ParseNumber(value, 65535);
    if (!port.ok() || *port == 0) return Wrong(name, value, "must be a port, 1 to 65535");
    flags.peer_port = static_cast<uint16_t>(*port);
  } else if (name == "xdp-interfaces") {
    flags.xdp_interfaces = Split(value);
  } else if (name == "dataplane") {
    if (value == "ipvs") {
      flags.dataplane = Dataplane::kIpvs;
    } else if (value == "ebpf") {
      flags.dataplane = Dataplane::kEbpf;
    } else if (value == "auto") {
      flags.dataplane.reset();
    } else {
      return Wrong(name, value, "must be auto, ipvs or ebpf");
    }
  } else if (name == "log-level") {
    const std::map<std::string, Level> levels = {{"debug", Level::kDebug},
                                                 {"info", Level::kInfo},
                                                 {"warn", Level::kWarn},
                                                 {"error", Level::kError}};
    const auto level = levels.find(value);
    if (level == levels.end()) return Wrong(name, value, "must be debug, info, warn or error");
    flags.log_level = level->second;
  } else {
    return absl::InvalidArgumentError("--" + name + ": there is no such flag; --help shows all");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& args) {
  const std::map<std::string, Flags::Mode> modes = {{"dry-run", Flags::Mode::kDryRun},
                                                    {"cleanup", Flags::Mode::kCleanup},
                                                    {"check", Flags::Mode::kCheck},
                                                    {"help", Flags::Mode::kHelp},
                                                    {"version", Flags::Mode::kVersion}};
  Flags flags;
  std::string mode_flag;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg.rfind("--", 0) != 0 || arg.size() == 2) {
      if (arg == "-h") {
        flags.mode = Flags::Mode::kHelp;
        return flags;
      }
      return absl::InvalidArgumentError("\"" + arg + "\": flags begin with --; --help shows all");
    }
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (const auto mode = modes.find(name); mode != modes.end()) {
      if (equals != std::string::npos) {
        return absl::InvalidArgumentError("--" + name + " takes no value");
      }
      if (!mode_flag.empty() && mode_flag != name) {
        return absl::InvalidArgumentError("--" + mode_flag + " and --" + name +
                                          ": only one of them at a time");
      }
      mode_flag = name;
      flags.mode = mode->second;
      continue;
    }
    std::string value;
    if (equals != std::string::npos) {
      value = arg.substr(equals + 1);
    } else if (i + 1 < args.size() && args[i + 1].rfind("--", 0) != 0) {
      value = args[++i];
    } else if (const absl::Status unknown = Set(flags, name, "");
               Message(unknown).find("no such flag") != std::string::npos) {
      return unknown;
    } else {
      return absl::InvalidArgumentError("--" + name + ": the value is missing");
    }
    KUBE_LVS_RETURN_IF_ERROR(Set(flags, name, value));
  }
  if (!flags.manifests.empty() && !flags.kubeconfig.empty()) {
    return absl::InvalidArgumentError(
        "--manifests and --kubeconfig: objects come from files or from Kubernetes, not from both");
  }
  return flags;
}

}  // namespace kube_lvs
