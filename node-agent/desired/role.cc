#include "node-agent/desired/role.h"

#include <algorithm>

#include "node-agent/desired/vips.h"

namespace kube_lvs {
namespace {

bool HasMember(const api::LvsDirectorGroup& group, const std::string& node) {
  return std::any_of(group.status.members.begin(), group.status.members.end(),
                     [&node](const api::GroupMember& member) { return member.node == node; });
}

// Names of the groups that may have this node as a member.
std::set<std::string> GroupNames(const Snapshot& snapshot) {
  std::set<std::string> names;
  for (const auto& [name, group] : *snapshot.groups) names.insert(name);
  if (!snapshot.kubernetes) {
    for (const auto& [key, service] : *snapshot.services)
      names.insert(service->spec.director_group);
  }
  return names;
}

PeerGroup PeersOf(const api::LvsDirectorGroup& group) {
  PeerGroup peers;
  peers.name = group.meta.name;
  peers.epoch = group.status.epoch;
  for (const api::GroupMember& member : group.status.members) {
    const auto address = IpAddress::Parse(member.address);
    // Its operator knows no address of it yet: it cannot be heard, so it does not count.
    if (address.ok()) peers.members.push_back({member.node, *address});
  }
  peers.maintenance.insert(group.spec.maintenance_nodes.begin(),
                           group.spec.maintenance_nodes.end());
  peers.interval = std::chrono::milliseconds(std::max(group.spec.heartbeat_milliseconds, 10));
  peers.misses = std::max(group.spec.missed_heartbeats, 1);
  return peers;
}

}  // namespace

std::shared_ptr<const api::LvsDirectorGroup> FindGroup(const std::string& name,
                                                       const Snapshot& snapshot,
                                                       const NodeFacts& facts) {
  const auto it = snapshot.groups->find(name);
  if (it != snapshot.groups->end() &&
      (snapshot.kubernetes || !it->second->status.members.empty())) {
    return it->second;
  }
  if (snapshot.kubernetes) return nullptr;
  auto group = std::make_shared<api::LvsDirectorGroup>();
  if (it != snapshot.groups->end()) {
    *group = *it->second;
  } else {
    group->meta.name = name;
    // Who writes the files decides alone which real servers there are.
    group->spec.static_allowed_ranges = {"0.0.0.0/0", "::/0"};
  }
  api::GroupMember self;
  self.node = facts.node_name;
  if (facts.node_address.has_value()) self.address = facts.node_address->ToString();
  group->status.members = {self};
  return group;
}

Role FindRole(const Snapshot& snapshot, const NodeFacts& facts) {
  Role role;
  for (const std::string& name : GroupNames(snapshot)) {
    const auto group = FindGroup(name, snapshot, facts);
    if (group == nullptr || !HasMember(*group, facts.node_name)) continue;
    if (role.group == nullptr ||
        group->meta.creation_timestamp < role.group->meta.creation_timestamp) {
      role.group = group;
    }
  }
  if (role.group == nullptr) return role;
  role.peers = PeersOf(*role.group);
  // Ourselves we know without an address.
  if (std::none_of(role.peers.members.begin(), role.peers.members.end(),
                   [&facts](const PeerMember& m) { return m.node == facts.node_name; })) {
    role.peers.members.push_back({facts.node_name, facts.node_address.value_or(IpAddress{})});
  }
  for (const auto& [key, service] : *snapshot.services) {
    if (service->spec.director_group != role.group->meta.name) continue;
    const VipsOfService found = FindVips(*service, snapshot);
    for (const std::vector<Cidr>& list : {found.vips, found.held}) {
      for (const Cidr& vips : list) role.vips.insert(vips.address);
    }
  }
  return role;
}

}  // namespace kube_lvs
