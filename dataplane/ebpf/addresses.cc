#include "dataplane/ebpf/addresses.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/address_filter.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kEndFlags =
    KLVS_ADDRESS_SNAT | KLVS_ADDRESS_NAT_REAL | KLVS_ADDRESS_TUNNEL;

klvs_network_key Key(const Cidr& vips) {
  return {static_cast<uint32_t>(vips.length), ToWire(vips.address)};
}

klvs_network_key6 Key6(const Cidr& vips) {
  return {static_cast<uint32_t>(vips.length), ToWire6(vips.address)};
}

// Calls `action` with the map of `vips` and the key there.
template <typename Action>
auto InItsMap(const Cidr& vips, Action action) {
  const bool v4 = vips.address.IsV4();
  if (vips.IsHost()) {
    return v4 ? action(kAddressesMap, ToWire(vips.address))
              : action(kAddresses6Map, ToWire6(vips.address));
  }
  return v4 ? action(kNetworksMap, Key(vips)) : action(kNetworks6Map, Key6(vips));
}

// The record of the network, or of a shorter one that has it in it.
absl::StatusOr<std::optional<klvs_address>> FindNetwork(MapStore& maps, const Cidr& vips) {
  return vips.address.IsV4() ? Get<klvs_address>(maps, kNetworksMap, Key(vips))
                             : Get<klvs_address>(maps, kNetworks6Map, Key6(vips));
}

absl::StatusOr<std::map<Cidr, klvs_address>> ReadNetworks(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v4,
                            (GetAll<klvs_network_key, klvs_address>(maps, kNetworksMap)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6,
                            (GetAll<klvs_network_key6, klvs_address>(maps, kNetworks6Map)));
  std::map<Cidr, klvs_address> out;
  const auto add = [&out](const auto& entries) {
    for (const auto& [key, record] : entries) {
      out.emplace(Cidr{FromWire(key.address), static_cast<int>(key.prefix_length)}, record);
    }
  };
  add(v4);
  add(v6);
  return out;
}

}  // namespace

absl::StatusOr<std::map<Cidr, klvs_address>> ReadAddresses(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(auto out, ReadNetworks(maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v4, (GetAll<__be32, klvs_address>(maps, kAddressesMap)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6, (GetAll<klvs_in6, klvs_address>(maps, kAddresses6Map)));
  for (const auto& [wire, record] : v4) out.emplace(Cidr::Host(FromWire(wire)), record);
  for (const auto& [wire, record] : v6) out.emplace(Cidr::Host(FromWire(wire)), record);
  return out;
}

absl::StatusOr<std::unordered_map<uint32_t, Cidr>> ReadVips(MapStore& maps) {
  // There may be many more of real servers.
  const auto is_vip = [](const klvs_address& record) {
    return (record.flags & KLVS_ADDRESS_VIP) != 0;
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v4,
                            (GetSome<__be32, klvs_address>(maps, kAddressesMap, is_vip)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6,
                            (GetSome<klvs_in6, klvs_address>(maps, kAddresses6Map, is_vip)));
  std::unordered_map<uint32_t, Cidr> out;
  const auto add = [&out](const auto& all) {
    for (const auto& [wire, record] : all) {
      out.emplace(record.vip_id, Cidr::Host(FromWire(wire)));
    }
  };
  add(v4);
  add(v6);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto networks, ReadNetworks(maps));
  for (const auto& [vips, record] : networks) out.emplace(record.vip_id, vips);
  return out;
}

absl::StatusOr<std::optional<klvs_address>> FindAddress(MapStore& maps, const Cidr& vips) {
  if (vips.IsHost()) {
    return InItsMap(vips, [&maps](std::string_view map, const auto& key) {
      return Get<klvs_address>(maps, map, key);
    });
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, FindNetwork(maps, vips));
  if (!found || found->prefix_length != static_cast<uint32_t>(vips.length)) {
    return std::optional<klvs_address>();
  }
  return found;
}

absl::StatusOr<std::optional<klvs_address>> FindDestination(MapStore& maps, const IpAddress& ip) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto own, FindAddress(maps, Cidr::Host(ip)));
  if (own && (own->flags & (KLVS_ADDRESS_VIP | KLVS_ADDRESS_SNAT)) != 0) return own;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto network, FindNetwork(maps, Cidr::Host(ip)));
  return network ? network : own;
}

absl::StatusOr<std::map<Cidr, klvs_address>> Addresses::All() { return ReadAddresses(maps_); }

absl::StatusOr<std::map<Cidr, klvs_address>> Addresses::Networks() { return ReadNetworks(maps_); }

absl::StatusOr<std::optional<klvs_address>> Addresses::Find(const Cidr& vips) {
  return FindAddress(maps_, vips);
}

absl::Status Addresses::FitToNetworks() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto networks, ReadNetworks(maps_));
  const bool looks = (settings_.flags & KLVS_SETTING_NETWORKS) != 0;
  if (looks == !networks.empty()) return absl::OkStatus();
  std::atomic_ref<uint32_t>(settings_.flags).fetch_xor(KLVS_SETTING_NETWORKS);
  return absl::OkStatus();
}

absl::Status Addresses::Write(const Cidr& vips, const klvs_address& before, klvs_address after) {
  if ((after.flags & KLVS_ADDRESS_VIP) == 0) {
    after.vip_id = 0;
    after.flags &= ~static_cast<uint32_t>(KLVS_ADDRESS_ANSWER_ARP);
  }
  if ((after.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) {
    after.claim_until = 0;
    after.ifindex = 0;
  }
  if (std::memcmp(&before, &after, sizeof after) == 0) return absl::OkStatus();
  if (!vips.IsHost() && after.flags != 0) {
    after.prefix_length = static_cast<uint32_t>(vips.length);
    // Before the network is there: from then on its packets are ours.
    std::atomic_ref<uint32_t>(settings_.flags).fetch_or(KLVS_SETTING_NETWORKS);
  }
  if (vips.IsHost() && HasFilterBit(after)) {
    KUBE_LVS_RETURN_IF_ERROR(AdmitAddress(maps_, vips.address));
  }
  if (vips.IsHost() && HasFilterBit(before) && !HasFilterBit(after)) stale_filter_ = true;
  if (vips.IsHost() && before.vip_id != after.vip_id) HideVip(settings_, vips.address);
  KUBE_LVS_RETURN_IF_ERROR(Annotate(InItsMap(vips,
                                             [&](std::string_view map, const auto& key) {
                                               return after.flags == 0
                                                          ? Erase(maps_, map, key)
                                                          : Put(maps_, map, key, after);
                                             }),
                                    "address " + vips.ShortText()));
  if (vips.IsHost() && after.vip_id != 0) ShowVip(settings_, vips.address, after.vip_id);
  return vips.IsHost() || after.flags != 0 ? absl::OkStatus() : FitToNetworks();
}

absl::Status Addresses::TidyFilter() {
  if (!stale_filter_) return absl::OkStatus();
  KUBE_LVS_RETURN_IF_ERROR(FillFilter(maps_));
  stale_filter_ = false;
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> Addresses::AddVip(const Cidr& vips) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(vips));
  const klvs_address before = found.value_or(klvs_address{});
  if ((before.flags & KLVS_ADDRESS_VIP) != 0) return before.vip_id;
  klvs_address after = before;
  after.vip_id = next_vip_id_++;
  after.flags |= KLVS_ADDRESS_VIP;
  KUBE_LVS_RETURN_IF_ERROR(Write(vips, before, after));
  return after.vip_id;
}

absl::Status Addresses::RemoveVip(const Cidr& vips) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(vips));
  if (!found) return absl::OkStatus();
  klvs_address after = *found;
  after.flags &= ~static_cast<uint32_t>(KLVS_ADDRESS_VIP);
  return Write(vips, *found, after);
}

absl::Status Addresses::Answer(const Cidr& vips, uint32_t ifindex, uint64_t claim_until) {
  KUBE_LVS_RETURN_IF_ERROR(AddVip(vips).status());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(vips));
  if (!found) return absl::AbortedError("address " + vips.ShortText() + " vanished meanwhile");
  klvs_address after = *found;
  after.flags |= KLVS_ADDRESS_ANSWER_ARP;
  after.ifindex = ifindex;
  after.claim_until = claim_until;
  return Write(vips, *found, after);
}

absl::Status Addresses::StopAnswering(const Cidr& vips) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(vips));
  if (!found) return absl::OkStatus();
  klvs_address after = *found;
  after.flags &= ~static_cast<uint32_t>(KLVS_ADDRESS_ANSWER_ARP);
  return Write(vips, *found, after);
}

absl::Status Addresses::RenewClaims(uint64_t claim_until) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto all, All());
  for (const auto& [vips, before] : all) {
    if ((before.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) continue;
    klvs_address after = before;
    after.claim_until = claim_until;
    KUBE_LVS_RETURN_IF_ERROR(Write(vips, before, after));
  }
  return absl::OkStatus();
}

void Addresses::SetSetting(uint32_t flag, bool on) {
  if (((settings_.flags & flag) != 0) == on) return;
  std::atomic_ref<uint32_t> flags(settings_.flags);
  if (on) {
    flags.fetch_or(flag);
  } else {
    flags.fetch_and(~flag);
  }
}

absl::Status Addresses::AddEnd(const IpAddress& ip, uint32_t flag) {
  if (IsUnspecified(ip)) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(Cidr::Host(ip)));
  const klvs_address before = found.value_or(klvs_address{});
  klvs_address after = before;
  after.flags |= flag;
  // Before the address is there: from then on its packets may be replies.
  if (flag == KLVS_ADDRESS_NAT_REAL) SetSetting(KLVS_SETTING_PLAIN_NAT, true);
  if (flag == KLVS_ADDRESS_TUNNEL) SetSetting(KLVS_SETTING_TUNNELS, true);
  return Write(Cidr::Host(ip), before, after);
}

absl::StatusOr<bool> Addresses::KeepEnds(const std::map<IpAddress, uint32_t>& wanted,
                                         const std::map<IpAddress, uint32_t>& allowed) {
  const auto flags_of = [](const std::map<IpAddress, uint32_t>& map, const IpAddress& ip) {
    const auto found = map.find(ip);
    return found == map.end() ? 0 : found->second;
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const auto all, All());
  uint32_t kept = 0;
  bool only_allowed = false;
  for (const auto& [vips, before] : all) {
    if (!vips.IsHost()) continue;
    const IpAddress& ip = vips.address;
    const uint32_t needed = flags_of(wanted, ip);
    klvs_address after = before;
    after.flags &= ~kEndFlags | needed | flags_of(allowed, ip);
    kept |= after.flags;
    only_allowed = only_allowed || (after.flags & kEndFlags & ~needed) != 0;
    KUBE_LVS_RETURN_IF_ERROR(Write(vips, before, after));
  }
  if ((kept & KLVS_ADDRESS_NAT_REAL) == 0) SetSetting(KLVS_SETTING_PLAIN_NAT, false);
  if ((kept & KLVS_ADDRESS_TUNNEL) == 0) SetSetting(KLVS_SETTING_TUNNELS, false);
  return only_allowed;
}

}  // namespace kube_lvs::ebpf
