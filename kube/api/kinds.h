// The kinds of kube-lvs.io, as paths on the API server.
#pragma once

#include "kube/resource.h"

namespace kube_lvs::api {

inline constexpr char kApiVersion[] = "kube-lvs.io/v1alpha1";

inline constexpr kube::Resource kLvsServices{"kube-lvs.io", "v1alpha1", "lvsservices", "LVSService",
                                             true};
inline constexpr kube::Resource kLvsAddressPools{"kube-lvs.io", "v1alpha1", "lvsaddresspools",
                                                 "LVSAddressPool", false};
inline constexpr kube::Resource kLvsDirectorGroups{"kube-lvs.io", "v1alpha1", "lvsdirectorgroups",
                                                   "LVSDirectorGroup", false};
inline constexpr kube::Resource kLvsNodes{"kube-lvs.io", "v1alpha1", "lvsnodes", "LVSNode", false};

}  // namespace kube_lvs::api
