#include "dataplane/ipvs/errors.h"

#include <cerrno>
#include <cstring>

namespace kube_lvs::ipvs {
namespace {

bool IsOfReal(Command command) {
  return command == Command::kNewReal || command == Command::kSetReal ||
         command == Command::kRemoveReal;
}

bool IsOfDaemon(Command command) {
  return command == Command::kNewDaemon || command == Command::kRemoveDaemon ||
         command == Command::kGetDaemon;
}

}  // namespace

absl::Status StatusOf(int error, Command command) {
  if (IsOfDaemon(command)) {
    if (error == EEXIST) return absl::AlreadyExistsError("a sync daemon of this role runs already");
    if (error == ESRCH) return absl::NotFoundError("no sync daemon of this role runs");
    if (error == ENODEV) return absl::FailedPreconditionError("there is no such interface");
  }
  switch (error) {
    case 0:
      return absl::OkStatus();
    case EEXIST:
      if (IsOfReal(command)) {
        return absl::AbortedError("the real server is there already: another program added it");
      }
      return absl::AlreadyExistsError("the kernel has this service already: another owner's");
    case ESRCH:
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
    case ENOPROTOOPT:  // the module is being unloaded
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
    const std::string& engine = config.persistence->engine;
    message = "the kernel has no scheduler " + config.scheduler + " or no persistence engine " +
              engine + ": load or install the modules ip_vs_" + config.scheduler +
              " and ip_vs_pe_" + engine;
  }
  return absl::FailedPreconditionError(message);
}

absl::Status StatusOf(int error, const SyncDaemon& daemon) {
  switch (error) {
    case ENODEV:
      return absl::FailedPreconditionError("there is no interface " + daemon.interface);
    case EADDRNOTAVAIL:
      return absl::FailedPreconditionError("interface " + daemon.interface +
                                           " has no address of the group's IP family, or is down");
    case EINVAL:
      return absl::InvalidArgumentError(
          "the kernel refuses the daemon: connections to real servers of the other IP family "
          "cannot be copied; if there are none, it has no IPv6");
    default:
      return StatusOf(error, Command::kNewDaemon);
  }
}

}  // namespace kube_lvs::ipvs
