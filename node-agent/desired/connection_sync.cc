#include "node-agent/desired/connection_sync.h"

#include <algorithm>

namespace kube_lvs {
namespace {

bool HasIpv4(const InterfaceFacts& interface) {
  return std::ranges::any_of(interface.addresses, [](const InterfaceFacts::Address& address) {
    return address.ip.IsV4() && address.prefix_length < address.ip.Bits();
  });
}

// The interface whose subnet has `fellow`: multicast with a TTL of 1 passes no router.
const InterfaceFacts* OnLink(const NodeFacts& facts, const IpAddress& fellow) {
  for (const auto& [name, interface] : facts.interfaces) {
    if (!interface.loopback && HasSubnetOf(interface, fellow)) return &interface;
  }
  return nullptr;
}

Sysctl Vs(const char* name, std::string value) {
  return {std::string("net/ipv4/vs/") + name, std::move(value)};
}

}  // namespace

uint32_t SyncIdOf(std::string_view group) {
  uint32_t hash = 0x811c9dc5u;  // FNV-1a, 32 bits (Fowler, Noll and Vo)
  for (const char c : group) hash = (hash ^ static_cast<uint8_t>(c)) * 0x01000193u;
  return 1 + hash % 255;
}

ConnectionSync FindConnectionSync(const api::LvsDirectorGroup& group, const NodeFacts& facts) {
  ConnectionSync out;
  if (!group.spec.connection_sync) return out;
  const InterfaceFacts* interface = nullptr;
  for (const api::GroupMember& member : group.status.members) {
    const auto fellow = IpAddress::Parse(member.address);
    if (member.node == facts.node_name || !fellow.ok()) continue;
    const std::string who = "director " + member.node + " (" + fellow->ToString() + ")";
    const std::string mend = "; put the directors of LVSDirectorGroup " + group.meta.name +
                             " into one subnet of IPv4, or set connectionSync: Disabled";
    const InterfaceFacts* towards = OnLink(facts, *fellow);
    if (towards == nullptr) {
      out.problem = "connections are not copied to " + who +
                    ": no interface of this node is in its subnet, and multicast passes no router" +
                    mend;
    } else if (!HasIpv4(*towards)) {
      out.problem = "connections are not copied to " + who + ": interface " + towards->name +
                    " has no IPv4 address, and they are sent to 224.0.0.81" + mend;
    } else if (interface == nullptr) {
      interface = towards;
    } else if (interface != towards) {
      out.problem = "connections are not copied to " + who + ": it is behind interface " +
                    towards->name + ", and they are sent on " + interface->name + mend;
    }
  }
  if (interface == nullptr) return out;
  for (const SyncRole role : {SyncRole::kMaster, SyncRole::kBackup}) {
    out.items.insert(SyncDaemon{
        .role = role, .interface = interface->name, .sync_id = SyncIdOf(group.meta.name)});
  }
  // With 1 a director that takes copies would schedule nothing.
  out.items.insert(Vs("backup_only", "0"));
  out.items.insert(Vs("sync_threshold", "0\t0"));
  out.items.insert(Vs("sync_refresh_period", std::to_string(kSyncRefreshSeconds)));
  // Once more after an eighth of that, as a datagram may be lost.
  out.items.insert(Vs("sync_retries", "1"));
  return out;
}

}  // namespace kube_lvs
