#include "node-agent/desired/shared_ipvs.h"

#include <algorithm>

namespace kube_lvs {
namespace {

// "net.ipv4.vs.expire_nodest_conn", as sysctl(8) has it.
std::string Dotted(std::string name) {
  std::ranges::replace(name, '/', '.');
  return name;
}

}  // namespace

std::string LeaveSharedAlone(const SharedIpvs& shared, State& desired) {
  if (shared.other_services == 0) return "";
  std::string off, mend;
  for (const char* name : kSharedSysctls) {
    if (desired.items.erase(Sysctl{name, "1"}) == 0 || shared.on.contains(name)) continue;
    off += (off.empty() ? "" : " and ") + Dotted(name);
    mend += " " + Dotted(name) + "=1";
  }
  std::string timeouts;
  std::erase_if(desired.items, [&timeouts](const NodeItem& item) {
    const auto* timeout = std::get_if<ConnectionTimeout>(&item);
    if (timeout == nullptr || timeout->dataplane != Dataplane::kIpvs) return false;
    timeouts += (timeouts.empty() ? "" : ", ") + ToString(timeout->kind) + " " +
                std::to_string(timeout->seconds) + " s";
    return true;
  });
  const std::string others = "IPVS has " + std::to_string(shared.other_services) +
                             " of other owners here too (ipvsadm -Ln)";
  std::string problem;
  if (!off.empty()) {
    problem = off + " would be 1 for our services, but " + others +
              ": clients may be sent to real servers that have gone or are quiesced; if that is "
              "right for the others, set it yourself: sysctl -w" +
              mend;
  }
  if (!timeouts.empty()) {
    problem += (off.empty() ? "" : ". ") + std::string("spec.timeouts of the LVSDirectorGroup (") +
               timeouts + ") would hold for all services, but " + others +
               ", so it is left alone; if it is right for them, set it yourself: ipvsadm --set";
  }
  return problem;
}

}  // namespace kube_lvs
