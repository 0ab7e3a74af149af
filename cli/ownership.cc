#include "cli/ownership.h"

#include "cli/messages.h"

namespace kube_lvs::cli {

std::string OwnershipWarning(const Request& request, const Owned& owned) {
  constexpr const char* kUndone = " kube-lvs-agent's, which will undo this change; change the ";
  const std::string service = std::string(kUndone) + "LVSService (or the agent's file) instead";
  const std::string group = std::string(kUndone) + "LVSDirectorGroup (or the agent's file) instead";
  switch (request.action) {
    case Action::kFlush: {
      const size_t count = owned.services.size();
      if (count == 0) return "";
      return "warning: " + std::to_string(count) + (count == 1 ? " service is" : " services are") +
             service;
    }
    case Action::kAddService:
    case Action::kEditService:
    case Action::kDeleteService:
    case Action::kAddServer:
    case Action::kEditServer:
    case Action::kDeleteServer: {
      const ServiceKey* ours = ipvs::OursOf(owned.services, KeyOf(request.service));
      return ours == nullptr ? "" : "warning: " + ToString(*ours) + " is" + service;
    }
    case Action::kStartDaemon:
    case Action::kStopDaemon:
      if (!owned.daemons.contains(request.daemon.role)) return "";
      return "warning: the " + ToString(request.daemon.role) + " sync daemon is" + group;
    case Action::kSetTimeouts:
      return owned.timeouts ? "warning: timeouts are" + group : "";
    case Action::kZero:
    case Action::kList:
    case Action::kSave:
    case Action::kRestore:
      return "";
  }
  return "";
}

}  // namespace kube_lvs::cli
