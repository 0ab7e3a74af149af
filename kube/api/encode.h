// Structs -> JSON as the CRDs have it. Whole objects round-trip: Decode(Encode(x)) == x.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "kube/api/types.h"

namespace kube_lvs::api {

// The value of .status: every field its writer owns, for server-side apply. Empty texts, which
// the schema refuses, are left out; empty lists are there.
nlohmann::json EncodeStatus(const LvsServiceStatus& status);
nlohmann::json EncodeStatus(const LvsAddressPool::Status& status);
nlohmann::json EncodeStatus(const LvsDirectorGroup::Status& status);
nlohmann::json EncodeStatus(const LvsNode::Status& status);

// A whole object with apiVersion, kind, metadata, spec and status.
nlohmann::json Encode(const LvsService& object);
nlohmann::json Encode(const LvsAddressPool& object);
nlohmann::json Encode(const LvsDirectorGroup& object);
nlohmann::json Encode(const LvsNode& object);
nlohmann::json Encode(const KubeService& object);
nlohmann::json Encode(const EndpointSlice& object);
nlohmann::json Encode(const KubeNode& object);
nlohmann::json Encode(const KubeNamespace& object);
nlohmann::json Encode(const KubeServiceCidr& object);

}  // namespace kube_lvs::api
