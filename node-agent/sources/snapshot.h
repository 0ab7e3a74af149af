// What the user wants, at one moment: the objects that rules are made of, from whichever source.
// Immutable once made; shared between threads by pointer.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kube/api/types.h"
#include "kube/object_map.h"

namespace kube_lvs {

template <typename T>
using ObjectMap = kube::ObjectMap<T>;

// Why something that the source holds is not (or not newly) in the snapshot.
struct SourceProblem {
  std::string where;    // "web.yaml:12: LVSService shop/web", "LVSAddressPool edge"
  std::string message;  // names the mend
  bool operator==(const SourceProblem&) const = default;
};

struct Snapshot {
  // Never null.
  template <typename T>
  using Objects = std::shared_ptr<const ObjectMap<T>>;

  Objects<api::LvsService> services = Empty<api::LvsService>();
  Objects<api::LvsDirectorGroup> groups = Empty<api::LvsDirectorGroup>();
  Objects<api::LvsAddressPool> pools = Empty<api::LvsAddressPool>();
  Objects<api::KubeService> kube_services = Empty<api::KubeService>();
  Objects<api::EndpointSlice> endpoint_slices = Empty<api::EndpointSlice>();
  Objects<api::KubeNode> nodes = Empty<api::KubeNode>();
  Objects<api::KubeServiceCidr> service_cidrs = Empty<api::KubeServiceCidr>();

  // From the API: VIPs are what the operator assigned, and are checked against the pools.
  bool kubernetes = false;
  // Everything that exists is in here. If not, nothing may be removed for not being here.
  bool complete = false;
  // What could not be read; its last good version, if there was one, is in here all the same.
  std::vector<SourceProblem> problems;

  template <typename T>
  static Objects<T> Empty() {
    static const Objects<T> empty = std::make_shared<const ObjectMap<T>>();
    return empty;
  }
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace kube_lvs
