#include "cli/ownership.h"

#include "cli/messages.h"

namespace kube_lvs::cli {

std::string OwnershipWarning(const Request& request, const ipvs::Claims& claims) {
  constexpr const char* kUndone =
      " kube-lvs-agent's, which will undo this change; change the LVSService (or the agent's file) "
      "instead";
  switch (request.action) {
    case Action::kFlush:
      if (claims.empty()) return "";
      return "warning: " + std::to_string(claims.size()) +
             (claims.size() == 1 ? " service is" : " services are") + kUndone;
    case Action::kAddService:
    case Action::kEditService:
    case Action::kDeleteService:
    case Action::kAddServer:
    case Action::kEditServer:
    case Action::kDeleteServer: {
      const ServiceKey* ours = ipvs::OursOf(claims, KeyOf(request.service));
      return ours == nullptr ? "" : "warning: " + ToString(*ours) + " is" + kUndone;
    }
    case Action::kZero:
    case Action::kList:
    case Action::kSave:
    case Action::kRestore:
    case Action::kSetTimeouts:
    case Action::kStartDaemon:
    case Action::kStopDaemon:
      return "";
  }
  return "";
}

}  // namespace kube_lvs::cli
