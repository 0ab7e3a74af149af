// What the kernel's error numbers mean for the caller. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/model/ipvs_settings.h"

namespace kube_lvs::ipvs {

// `error`: an errno, 0 is OK. The code says what the caller does next:
//   kAborted             the kernel changed behind our back: read again and plan again
//   kFailedPrecondition  the node lacks something, which the message names with the mend
//   kInvalidArgument     the kernel refuses these values
//   kPermissionDenied, kUnavailable, kInternal as everywhere
// EEXIST is kAlreadyExists for a service and for a daemon, kAborted for a real server: whoever owns
// the service owns its real servers.
absl::Status StatusOf(int error, Command command);

// The same for a service's addition or change, where ENOENT means its scheduler or engine.
absl::Status StatusOf(int error, Command command, const ServiceConfig& config);

// The same for a daemon's start.
absl::Status StatusOf(int error, const SyncDaemon& daemon);

}  // namespace kube_lvs::ipvs
