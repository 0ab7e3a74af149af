// An LVSService whose spec cannot be read: what it has, it keeps, and it says why. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "kube/api/types.h"

namespace kube_lvs::controller {

// Metadata and status of an object, without its spec.
absl::StatusOr<api::LvsService> DecodeStatusOnly(nlohmann::json object);

// Its status, with Accepted and Ready False because of `why`.
api::LvsServiceStatus UnreadableStatus(const api::LvsService& service, const std::string& why,
                                       const std::string& now);

}  // namespace kube_lvs::controller
