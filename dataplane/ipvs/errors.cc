#include "dataplane/ipvs/errors.h"

#include <cerrno>
#include <cstring>

namespace kube_lvs::ipvs {
namespace {

bool IsOfReal(Command command) {
  return command == Command::kNewReal || command == Command::kSetReal ||
         command == Command::kRemoveReal;
}

}  // namespace

absl::Status StatusOf(int error, Command command) {
  switch (error) {
    case 0:
      return absl::OkStatus();
    case EEXIST:
      if (IsOfReal(command)) {
        return absl::AbortedError("the real server is there already: another program added it");
      }
      return absl::AlreadyExistsError("the kernel has this service already: another owner's");
    case ESRCH:
      if (command == Command::kGetService) return absl::NotFoundError("there is no such service");
      return absl::AbortedError("the service is gone: another program removed it");
    case ENOENT:
      if (IsOfReal(command)) {
        return absl::AbortedError("the real server is gone: another program removed it");
      }
      return absl::FailedPreconditionError("the kernel has no such scheduler");
    case EAFNOSUPPORT:
      return absl::FailedPreconditionError("the kernel has IPv6 switched off: enable it");
    case EINVAL:
    case ERANGE:
      return absl::InvalidArgumentError("the kernel refuses it: " +
                                        std::string(std::strerror(error)));
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(
          "the kernel allows IPVS changes with CAP_NET_ADMIN only: run as root");
    case ENOMEM:
    case ENOBUFS:
    case EAGAIN:
    case EINTR:
    case EBUSY:
      return absl::UnavailableError(std::strerror(error));
    default:
      return absl::InternalError("IPVS: " + std::string(std::strerror(error)));
  }
}

absl::Status StatusOf(int error, Command command, const ServiceConfig& config) {
  if (error != ENOENT) return StatusOf(error, command);
  std::string message = "the kernel has no scheduler " + config.scheduler +
                        ": load or install the module ip_vs_" + config.scheduler;
  if (config.persistence && !config.persistence->engine.empty()) {
    message += ", and for the persistence engine ip_vs_pe_" + config.persistence->engine;
  }
  return absl::FailedPreconditionError(message);
}

}  // namespace kube_lvs::ipvs
