#include "node-agent/check.h"

#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/status.h"
#include "node-agent/desired/source_ports.h"
#include "node-agent/nic_advice.h"

namespace kube_lvs {
namespace {

struct Capability {
  int number;
  const char* name;
};
constexpr Capability kNeeded[] = {{CAP_NET_ADMIN, "NET_ADMIN"},
                                  {CAP_NET_RAW, "NET_RAW"},
                                  {CAP_BPF, "BPF"},
                                  {CAP_PERFMON, "PERFMON"}};

// The deepest folder of the path that is there.
std::string Existing(std::string path) {
  while (path.size() > 1 && access(path.c_str(), F_OK) != 0) {
    const size_t slash = path.rfind('/');
    path = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  }
  return path;
}

void AddSourcePorts(const NodeFacts& facts, std::vector<CheckRow>& rows) {
  if (!facts.local_ports.has_value()) return;
  const SourcePortGuard guard = GuardSourcePorts(facts);
  const size_t at = guard.problem.rfind("; ");
  if (at != std::string::npos) {
    rows.push_back({"own ports", true, guard.problem.substr(0, at), guard.problem.substr(at + 2)});
    return;
  }
  rows.push_back({"own ports", true,
                  std::to_string(facts.local_ports->first) + " to " +
                      std::to_string(facts.local_ports->second) +
                      (guard.reservation ? ", less those of source NAT, which the agent reserves"
                                         : ", none of source NAT"),
                  ""});
}

void AddNic(const NicFacts& nic, uint32_t cpus, std::vector<CheckRow>& rows) {
  const std::vector<NicAdvice> advices = AdviseOn(nic, cpus);
  for (const NicAdvice& advice : advices) {
    rows.push_back({"NIC " + nic.interface, true, advice.what + ": " + advice.why, advice.mend});
  }
  if (advices.empty()) rows.push_back({"NIC " + nic.interface, true, "no advice", ""});
}

}  // namespace

CheckInput GatherCheckInput(const std::string& bpf_dir, const std::string& state_dir) {
  CheckInput input;
  input.bpf_dir = bpf_dir;
  input.state_dir = state_dir;
  if (const auto status = ReadFile("/proc/self/status"); status.ok()) {
    const size_t at = status->find("CapEff:");
    unsigned long long bits = 0;
    if (at != std::string::npos && sscanf(status->c_str() + at, "CapEff: %llx", &bits) == 1) {
      for (int i = 0; i < 64; ++i) {
        if ((bits >> i & 1) != 0) input.capabilities.insert(i);
      }
    }
  }
  struct statfs info = {};
  input.bpf_file_system = statfs(Existing(bpf_dir).c_str(), &info) == 0 &&
                          static_cast<unsigned long>(info.f_type) == BPF_FS_MAGIC;
  input.state_dir_writable = access(Existing(state_dir).c_str(), W_OK) == 0;
  input.cpus = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  input.sysctls_writable = access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0;
  return input;
}

std::pair<int, int> KernelVersion(const std::string& release) {
  int major = 0, minor = 0;
  if (sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return {0, 0};
  return {major, minor};
}

bool CanDoEbpf(const NodeFacts& facts) {
  return facts.has_btf && KernelVersion(facts.kernel_release) >= std::pair(6, 1);
}

std::vector<CheckRow> Check(const NodeFacts& facts, const CheckInput& input) {
  std::vector<CheckRow> rows;
  std::string missing;
  for (const Capability& capability : kNeeded) {
    if (!input.capabilities.contains(capability.number)) {
      missing += (missing.empty() ? "" : ", ") + std::string(capability.name);
    }
  }
  rows.push_back({"privileges", missing.empty(),
                  missing.empty() ? "all that are needed" : "without " + missing,
                  missing.empty() ? "" : "run as root, or with these capabilities"});
  const bool kernel = KernelVersion(facts.kernel_release) >= std::pair(5, 15);
  rows.push_back({"kernel", kernel, facts.kernel_release,
                  kernel ? "" : "kube-lvs needs Linux 5.15, and 6.1 for the eBPF dataplane"});
  const bool ebpf = CanDoEbpf(facts);
  const bool either = ebpf || facts.has_ipvs;
  rows.push_back({"eBPF", ebpf || facts.has_ipvs,
                  ebpf ? "kernel 6.1 or later, with BTF"
                       : (facts.has_btf ? "the kernel is older than 6.1" : "no BTF in this kernel"),
                  either ? "" : "a kernel with CONFIG_DEBUG_INFO_BTF, or IPVS"});
  rows.push_back({"IPVS", either, facts.has_ipvs ? "ip_vs is loaded" : "ip_vs is not loaded",
                  either ? "" : "modprobe ip_vs"});
  rows.push_back({"BPF file system", input.bpf_file_system || !ebpf, input.bpf_dir,
                  input.bpf_file_system || !ebpf ? "" : "mount -t bpf bpf /sys/fs/bpf"});
  rows.push_back(
      {"state folder", input.state_dir_writable, input.state_dir,
       input.state_dir_writable ? "" : "make it writable, or name another by --state-dir"});
  rows.push_back(
      {"sysctls", input.sysctls_writable,
       input.sysctls_writable ? "writable" : "/proc/sys is read-only",
       input.sysctls_writable ? "" : "run as root, in a container with /proc/sys writable"});
  std::string uplinks;
  for (const InterfaceFacts* uplink : DefaultRouteInterfaces(facts, Family::kIpv4)) {
    uplinks +=
        (uplinks.empty() ? "" : "; ") + uplink->name + ", MTU " + std::to_string(uplink->mtu);
  }
  rows.push_back({"uplink", true,
                  uplinks.empty() ? "no default route: name spec.interfaces in the group" : uplinks,
                  ""});
  rows.push_back({"node address", facts.node_address.has_value(),
                  facts.node_address.has_value() ? facts.node_address->ToString() : "none",
                  facts.node_address.has_value() ? "" : "name it by --node-ip"});
  AddSourcePorts(facts, rows);
  for (const NicFacts& nic : input.nics) AddNic(nic, input.cpus, rows);
  return rows;
}

std::string ToTable(const std::vector<CheckRow>& rows) {
  size_t name_width = 0, found_width = 0;
  for (const CheckRow& row : rows) {
    name_width = std::max(name_width, row.name.size());
    found_width = std::max(found_width, row.found.size());
  }
  std::string out;
  for (const CheckRow& row : rows) {
    const std::string state = !row.ok ? "LACK " : row.mend.empty() ? "ok   " : "WARN ";
    std::string line =
        state + row.name + std::string(name_width - row.name.size() + 2, ' ') + row.found;
    if (!row.mend.empty()) {
      line += std::string(found_width - row.found.size() + 2, ' ') + "mend: " + row.mend;
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace kube_lvs
