// Names of kinds and objects, and their paths on the API server.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace kube_lvs::kube {

// A kind, as its URL needs it. The views point to literals.
struct Resource {
  std::string_view group;  // empty for the core group
  std::string_view version;
  std::string_view plural;
  std::string_view kind;
  bool namespaced = true;

  bool operator==(const Resource&) const = default;
  std::string ApiVersion() const;  // "v1", "discovery.k8s.io/v1"
};

inline constexpr Resource kServices{"", "v1", "services", "Service", true};
inline constexpr Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices",
                                          "EndpointSlice", true};
inline constexpr Resource kPods{"", "v1", "pods", "Pod", true};
inline constexpr Resource kSecrets{"", "v1", "secrets", "Secret", true};
inline constexpr Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap", true};
inline constexpr Resource kNodes{"", "v1", "nodes", "Node", false};
inline constexpr Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
inline constexpr Resource kEvents{"", "v1", "events", "Event", true};
inline constexpr Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};
inline constexpr Resource kServiceCidrs{"networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR",
                                        false};
inline constexpr Resource kCustomResourceDefinitions{
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};

// Which object of a kind. `ns` is empty for an object of the cluster.
struct ObjectName {
  std::string ns = {};
  std::string name = {};

  auto operator<=>(const ObjectName&) const = default;
  bool operator==(const ObjectName&) const = default;

  // "ns/name", or "name" for an object of the cluster: the key in stores and queues.
  std::string Key() const;
  static ObjectName FromKey(std::string_view key);
};

// "/apis/kube-lvs.io/v1alpha1/namespaces/shop/lvsservices"; an empty `ns` means all of them.
std::string CollectionPath(const Resource& resource, std::string_view ns);

// The path of one object, and of its subresource if that is not empty. kInvalidArgument if the
// name is empty or the namespace does not fit the resource.
absl::StatusOr<std::string> ObjectPath(const Resource& resource, const ObjectName& object,
                                       std::string_view subresource = "");

// Percent-encodes all but RFC 3986's unreserved characters.
std::string UrlEncode(std::string_view text);

}  // namespace kube_lvs::kube
