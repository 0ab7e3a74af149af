// Objects as JSON -> structs. Structure only: types, enumerations, numbers that fit, and limits on
// lists. What a spec means, and whether it may be had, is validate.h's.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <variant>

#include "absl/status/statusor.h"
#include "kube/api/types.h"

namespace kube_lvs::api {

struct DecodeOptions {
  // Refuse fields that the kinds of kube-lvs.io do not have (for files: the API server prunes
  // them). Kubernetes' own kinds have many fields that we do not read; they are never refused.
  bool strict = false;
};

// Never throw. Absent and null fields get the CRDs' defaults. Anything of a wrong type, out of its
// range or not in its enumeration: kInvalidArgument, "LVSService shop/web: spec.ports[0].port:
// ...". An object without a name is refused; so is one of another kind, if it says which it is
// (items of a list do not).
absl::StatusOr<LvsService> DecodeLvsService(const nlohmann::json& object,
                                            const DecodeOptions& options = {});
absl::StatusOr<LvsAddressPool> DecodeLvsAddressPool(const nlohmann::json& object,
                                                    const DecodeOptions& options = {});
absl::StatusOr<LvsDirectorGroup> DecodeLvsDirectorGroup(const nlohmann::json& object,
                                                        const DecodeOptions& options = {});
absl::StatusOr<LvsNode> DecodeLvsNode(const nlohmann::json& object,
                                      const DecodeOptions& options = {});
absl::StatusOr<KubeService> DecodeKubeService(const nlohmann::json& object,
                                              const DecodeOptions& options = {});
absl::StatusOr<EndpointSlice> DecodeEndpointSlice(const nlohmann::json& object,
                                                  const DecodeOptions& options = {});
absl::StatusOr<KubeNode> DecodeKubeNode(const nlohmann::json& object,
                                        const DecodeOptions& options = {});
absl::StatusOr<KubeNamespace> DecodeKubeNamespace(const nlohmann::json& object,
                                                  const DecodeOptions& options = {});
absl::StatusOr<KubeServiceCidr> DecodeKubeServiceCidr(const nlohmann::json& object,
                                                      const DecodeOptions& options = {});

// By apiVersion and kind, which must be there; kNotFound for a kind that is none of these.
using AnyObject = std::variant<LvsService, LvsAddressPool, LvsDirectorGroup, LvsNode, KubeService,
                               EndpointSlice, KubeNode, KubeNamespace, KubeServiceCidr>;
absl::StatusOr<AnyObject> DecodeAny(const nlohmann::json& object,
                                    const DecodeOptions& options = {});

}  // namespace kube_lvs::api
