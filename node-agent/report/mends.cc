#include "node-agent/report/mends.h"

#include <array>
#include <utility>

#include "base/status.h"

namespace kube_lvs {
namespace {

constexpr std::string_view kPrograms =
    "give the node Linux 6.1 or newer with BTF, mount /sys/fs/bpf, and give the agent CAP_BPF, "
    "CAP_NET_ADMIN and CAP_PERFMON; kube-lvs-agent --check tells what is missing";

constexpr std::array<std::pair<std::string_view, std::string_view>, 19> kMends = {{
    {"Attachment", kPrograms},
    {"TunnelPeer", kPrograms},
    {"MssClamp", kPrograms},
    {"LocalLink",
     "load veth on the node, and see that no interface kube-lvs0 or kube-lvs1 is somebody else's; "
     "until then clients on this node do not reach the VIPs of eBPF"},
    {"LocalVip",
     "remove the route to the VIP where somebody else set it; until then clients on this node do "
     "not reach it"},
    {"AnsweredVip",
     "remove the address where somebody else set it, or give the service another VIP; load "
     "nf_tables (IPVS); give the agent CAP_NET_RAW; name interfaces that exist in spec.interfaces "
     "of the LVSDirectorGroup"},
    {"SilentVip",
     "remove the address from lo where somebody else set it, or give the service another VIP; an "
     "IPv6 one needs Linux 5.18 or newer"},
    {"Sysctl",
     "make /proc/sys writable for the agent (in the chart: agent.privileged: true), or set it on "
     "the node"},
    {"Masquerade", "load nf_tables, nft_masq and nft_ct on the node"},
    {"ConnectionSync",
     "load ip_vs on the node, or set connectionSync: Disabled in the LVSDirectorGroup"},
    {"ConnectionTimeout", "load ip_vs on the node, or leave timeouts out of the LVSDirectorGroup"},
    {"Service",
     "see the agent's log; if the rule stays, drain the node and run kube-lvs-agent --cleanup"},
    {"Facts",
     "run the agent in the network namespace of the node, with CAP_NET_ADMIN; it is tried again, "
     "with what could be read last"},
    {"Source",
     "mend the object or file that is named, the way to the API server, or the agent's permissions "
     "(RBAC); the last good version stays in force"},
    {"NoReplies",
     "make this director the default gateway of the real server, or set forwarding.nat.sourceNAT: "
     "Enabled in the LVSService; see that the real server is up"},
    {"SourcePorts",
     "give the service more real servers, let its connections end by themselves sooner, or spread "
     "it over several VIPs of several directors; at most 31744 connections at a time from one "
     "director to one real server, also those that ended less than 120 s ago"},
    {"LocalPorts",
     "let the node's own ports begin above those of source NAT: sysctl -w "
     "net.ipv4.ip_local_port_range=\"32768 60999\""},
    {"ConnectionTable",
     "raise connectionTableSize in the LVSDirectorGroup, then, on one director after the other, "
     "stop the agent, run kube-lvs-agent --cleanup and start it: tables keep their size while they "
     "exist"},
    {"ForeignMarks",
     "IPVS takes a packet's whole mark, so what the other program marked it for does not happen: "
     "leave the VIPs of services with endPort, allPorts or a CIDR out where it marks (nft list "
     "ruleset, "
     "iptables-save -t mangle)"},
}};

// Whose text is ours: others come from libraries, and are no sentences with a mend.
bool IsOurs(absl::StatusCode code) {
  return code == absl::StatusCode::kFailedPrecondition ||
         code == absl::StatusCode::kPermissionDenied || code == absl::StatusCode::kAlreadyExists;
}

}  // namespace

std::string_view MendOf(std::string_view check) {
  for (const auto& [name, mend] : kMends) {
    if (name == check) return mend;
  }
  return "";
}

api::NodeProblem ProblemOf(const std::string& check, const absl::Status& status) {
  api::NodeProblem problem;
  problem.check = check;
  problem.message = Message(status);
  problem.mend = std::string(MendOf(check));
  const size_t at = problem.message.rfind("; ");
  if (at == std::string::npos || !IsOurs(status.code())) return problem;
  problem.mend = problem.message.substr(at + 2);
  problem.message.resize(at);
  return problem;
}

}  // namespace kube_lvs
