// What the agent says about its node in the LVSNode of its name. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kube/api/types.h"
#include "node-agent/loop/agent.h"

namespace kube_lvs {

// What only main knows.
struct Capabilities {
  std::string agent_version;
  std::vector<std::string> dataplanes;  // that work here: "eBPF", "IPVS"
  // Interfaces that our programs serve: why native XDP does not; empty if it does.
  std::map<std::string, std::string> attachments;
  std::vector<api::NodeAdvice> advice;  // about the cards below them
};

// Whether all of the snapshot was tried: what of it is not reported is programmed.
bool TriedAll(const PassReport& report);

// `previous`: what was last said; the resourceVersion stays while a pass is not in sync. At most
// 100 services, one entry each; longer texts are cut to what the schema takes.
api::LvsNode::Status StatusOf(const PassReport& report, const Capabilities& capabilities,
                              const api::LvsNode::Status& previous);

// The newest resourceVersion of the LVSServices, groups and pools in the snapshot; empty if there
// is none (or they are not numbers).
std::string NewestVersion(const Snapshot& snapshot);

}  // namespace kube_lvs
