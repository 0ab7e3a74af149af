#include "operator/group.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "base/ip.h"
#include "kube/api/validate.h"
#include "operator/conditions.h"

namespace kube_lvs::controller {
namespace {

constexpr size_t kMostMembers = 64;

// The node's first IPv4 address, else its first at all; "" if it has none.
std::string AddressOf(const api::KubeNode& node) {
  std::string any;
  for (const std::string& text : node.internal_addresses) {
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(text);
    if (!ip.ok()) continue;
    if (ip->IsV4()) return ip->ToString();
    if (any.empty()) any = ip->ToString();
  }
  return any;
}

bool Can(const api::LvsNode& node, const std::string& dataplane) {
  return std::ranges::find(node.status.dataplanes, dataplane) != node.status.dataplanes.end();
}

std::string Names(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < 8; ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > 8) out += " and " + std::to_string(names.size() - 8) + " more";
  return out;
}

// The members whose agents have reported.
std::vector<const api::LvsNode*> Reports(const std::vector<api::GroupMember>& members,
                                         const LvsNodeMap& lvs_nodes) {
  std::vector<const api::LvsNode*> out;
  for (const api::GroupMember& member : members) {
    const auto it = lvs_nodes.find(member.node);
    if (it != lvs_nodes.end() && !it->second->status.kernel.empty())
      out.push_back(it->second.get());
  }
  return out;
}

std::vector<std::string> ThoseThatCannot(const std::vector<const api::LvsNode*>& reports,
                                         const std::string& dataplane) {
  std::vector<std::string> out;
  for (const api::LvsNode* node : reports) {
    if (!Can(*node, dataplane)) out.push_back(node->meta.name);
  }
  return out;
}

std::string ResolveDataplane(const api::LvsDirectorGroup& group,
                             const std::vector<const api::LvsNode*>& reports) {
  if (group.spec.dataplane == api::DataplaneChoice::kIpvs) return "IPVS";
  if (group.spec.dataplane == api::DataplaneChoice::kEbpf) return "eBPF";
  // Two dataplanes in one group would lose connections at a takeover, so it does not change by
  // itself.
  if (!group.status.dataplane.empty()) return group.status.dataplane;
  if (reports.empty()) return "";
  if (ThoseThatCannot(reports, "eBPF").empty()) return "eBPF";
  if (ThoseThatCannot(reports, "IPVS").empty()) return "IPVS";
  return "";
}

Verdict Judge(const GroupFacts& facts, const api::LvsDirectorGroup::Status& status,
              const std::vector<std::string>& taken, const std::vector<std::string>& no_address,
              const std::vector<const api::LvsNode*>& reports) {
  if (const std::vector<api::Problem> problems = api::Validate(facts.group); !problems.empty()) {
    return {Truth::kFalse, api::kInvalidSpec, JoinMessages(problems)};
  }
  std::string rest;
  if (!taken.empty()) rest += "; nodes of an older group: " + Names(taken);
  if (!no_address.empty()) rest += "; nodes without an InternalIP: " + Names(no_address);
  if (status.members.empty()) {
    if (!taken.empty()) {
      return {Truth::kFalse, "Conflict", "all its nodes belong to an older group: " + Names(taken)};
    }
    return {Truth::kFalse, "NoMembers", "nodeSelector names no node that can be a member" + rest};
  }
  if (status.dataplane.empty()) {
    if (reports.empty()) {
      return {Truth::kUnknown, "Pending", "waiting for the first report of a member's agent"};
    }
    return {Truth::kFalse, "PrerequisiteMissing",
            "no dataplane works on all members: see the problems of LVSNode " +
                Names(ThoseThatCannot(reports, "eBPF"))};
  }
  if (const auto cannot = ThoseThatCannot(reports, status.dataplane); !cannot.empty()) {
    return {Truth::kFalse, "PrerequisiteMissing",
            "dataplane " + status.dataplane + " does not work on " + Names(cannot) +
                ": see the problems of these LVSNodes"};
  }
  return {
      Truth::kTrue, taken.empty() ? "Ready" : "Conflict",
      std::to_string(status.members.size()) + " members with dataplane " + status.dataplane + rest};
}

}  // namespace

bool Older(const api::LvsDirectorGroup& a, const api::LvsDirectorGroup& b) {
  return std::tie(a.meta.creation_timestamp, a.meta.name) <
         std::tie(b.meta.creation_timestamp, b.meta.name);
}

api::LvsDirectorGroup::Status ComputeGroup(const GroupFacts& facts) {
  const api::LvsDirectorGroup& group = facts.group;
  api::LvsDirectorGroup::Status out;
  out.observed_generation = group.meta.generation;
  out.counts.services = facts.services;
  std::vector<std::string> taken, no_address;
  for (const auto& entry : facts.nodes) {
    const std::string& name = entry.first;
    const api::KubeNode& node = *entry.second;
    if (!group.spec.node_selector.Matches(node.meta.labels)) continue;
    ++out.counts.selected;
    const bool of_older = std::ranges::any_of(facts.groups, [&](const auto& named) {
      const api::LvsDirectorGroup& other = *named.second;
      return other.meta.name != group.meta.name && Older(other, group) &&
             other.spec.node_selector.Matches(node.meta.labels);
    });
    if (of_older) {
      taken.push_back(name);
      continue;
    }
    if (std::ranges::find(group.spec.maintenance_nodes, name) !=
        group.spec.maintenance_nodes.end()) {
      ++out.counts.maintenance;
      continue;
    }
    std::string address = AddressOf(node);
    if (address.empty()) {
      no_address.push_back(name);
      continue;
    }
    if (out.members.size() < kMostMembers) {
      out.members.push_back({.node = name, .address = std::move(address)});
    }
  }
  out.counts.members = static_cast<int32_t>(out.members.size());
  const bool changed = out.members != group.status.members;
  out.epoch = group.status.epoch + (changed || group.status.epoch == 0 ? 1 : 0);
  const std::vector<const api::LvsNode*> reports = Reports(out.members, facts.lvs_nodes);
  out.dataplane = ResolveDataplane(group, reports);
  out.conditions = {MakeCondition("Ready", Judge(facts, out, taken, no_address, reports),
                                  group.meta.generation, group.status.conditions, facts.now)};
  return out;
}

}  // namespace kube_lvs::controller
