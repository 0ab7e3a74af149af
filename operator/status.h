// The status of an LVSService, folded from what is known. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kube/api/resolve.h"
#include "kube/api/types.h"
#include "kube/api/validate.h"
#include "operator/allocate.h"
#include "operator/group.h"

namespace kube_lvs::controller {

struct ServiceFacts {
  const api::LvsService& service;      // with its status as it is now
  const api::LvsDirectorGroup* group;  // nullptr: there is none of that name
  std::optional<Dataplane> dataplane;  // nullopt: not known yet
  std::vector<api::Problem> problems;  // of the spec (Validate)
  const api::Resolution& resolution;
  const Allocation* allocation;  // nullptr: none is made, because of `problems` or no group
  const LvsNodeMap& lvs_nodes;
  const NodeMap& nodes;
  std::string now;  // RFC 3339
};

// All seven conditions in the API's order, summary, directors, effective.
//
// Programmed is True when no answering director reports the service as not as expected, and each
// has either programmed this version of the object, or had already programmed this generation with
// these addresses (later versions are changes of status only).
api::LvsServiceStatus ComputeStatus(const ServiceFacts& facts);

// Whether an agent that has programmed `programmed` knows the version `wanted`.
bool ReachesVersion(std::string_view programmed, std::string_view wanted);

// The services ("namespace/name") whose status may change because a node's report did: those it
// names as not as expected, before or after. And the VIPs for which it began or ceased to answer.
struct ReportChange {
  std::set<std::string> services = {};
  std::set<std::string> vips = {};
  bool all = false;           // its group, or whether it leaves some unnamed, changed
  bool version = false;       // it has programmed something newer
  bool capabilities = false;  // what it can do
  bool operator==(const ReportChange&) const = default;
};
ReportChange CompareReports(const api::LvsNode* before, const api::LvsNode* after);

}  // namespace kube_lvs::controller
