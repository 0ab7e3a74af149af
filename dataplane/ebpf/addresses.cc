#include "dataplane/ebpf/addresses.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kNatFlags = KLVS_ADDRESS_SNAT | KLVS_ADDRESS_NAT_REAL;

absl::Status Store(MapStore& maps, const IpAddress& ip, const klvs_address& record) {
  return ip.IsV4() ? Put(maps, kAddressesMap, ToWire(ip), record)
                   : Put(maps, kAddresses6Map, ToWire6(ip), record);
}

absl::Status Remove(MapStore& maps, const IpAddress& ip) {
  return ip.IsV4() ? Erase(maps, kAddressesMap, ToWire(ip))
                   : Erase(maps, kAddresses6Map, ToWire6(ip));
}

}  // namespace

absl::StatusOr<std::map<IpAddress, klvs_address>> ReadAddresses(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v4, (GetAll<__be32, klvs_address>(maps, kAddressesMap)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6, (GetAll<klvs_in6, klvs_address>(maps, kAddresses6Map)));
  std::map<IpAddress, klvs_address> out;
  for (const auto& [wire, record] : v4) out.emplace(FromWire(wire), record);
  for (const auto& [wire, record] : v6) out.emplace(FromWire(wire), record);
  return out;
}

absl::StatusOr<std::unordered_map<uint32_t, IpAddress>> ReadVips(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v4, (GetAll<__be32, klvs_address>(maps, kAddressesMap)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6, (GetAll<klvs_in6, klvs_address>(maps, kAddresses6Map)));
  std::unordered_map<uint32_t, IpAddress> out;
  const auto add = [&out](const auto& all) {
    for (const auto& [wire, record] : all) {
      if ((record.flags & KLVS_ADDRESS_VIP) != 0) out.emplace(record.vip_id, FromWire(wire));
    }
  };
  add(v4);
  add(v6);
  return out;
}

absl::StatusOr<std::map<IpAddress, klvs_address>> Addresses::All() { return ReadAddresses(maps_); }

absl::StatusOr<std::optional<klvs_address>> FindAddress(MapStore& maps, const IpAddress& ip) {
  if (ip.IsV4()) return Get<klvs_address>(maps, kAddressesMap, ToWire(ip));
  return Get<klvs_address>(maps, kAddresses6Map, ToWire6(ip));
}

absl::StatusOr<std::optional<klvs_address>> Addresses::Find(const IpAddress& ip) {
  return FindAddress(maps_, ip);
}

absl::Status Addresses::Write(const IpAddress& ip, const klvs_address& before, klvs_address after) {
  if ((after.flags & KLVS_ADDRESS_VIP) == 0) {
    after.vip_id = 0;
    after.flags &= ~static_cast<uint32_t>(KLVS_ADDRESS_ANSWER_ARP);
  }
  if ((after.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) {
    after.claim_until = 0;
    after.ifindex = 0;
  }
  if (std::memcmp(&before, &after, sizeof after) == 0) return absl::OkStatus();
  if (after.flags == 0) {
    return Annotate(Remove(maps_, ip), "address " + ip.ToString());
  }
  return Annotate(Store(maps_, ip, after), "address " + ip.ToString());
}

absl::StatusOr<uint32_t> Addresses::AddVip(const IpAddress& ip) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(ip));
  const klvs_address before = found.value_or(klvs_address{});
  if ((before.flags & KLVS_ADDRESS_VIP) != 0) return before.vip_id;
  klvs_address after = before;
  after.vip_id = next_vip_id_++;
  after.flags |= KLVS_ADDRESS_VIP;
  KUBE_LVS_RETURN_IF_ERROR(Write(ip, before, after));
  return after.vip_id;
}

absl::Status Addresses::RemoveVip(const IpAddress& ip) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(ip));
  if (!found) return absl::OkStatus();
  klvs_address after = *found;
  after.flags &= ~static_cast<uint32_t>(KLVS_ADDRESS_VIP);
  return Write(ip, *found, after);
}

absl::Status Addresses::Answer(const IpAddress& ip, uint32_t ifindex, uint64_t claim_until) {
  KUBE_LVS_RETURN_IF_ERROR(AddVip(ip).status());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(ip));
  if (!found) return absl::AbortedError("address " + ip.ToString() + " vanished meanwhile");
  klvs_address after = *found;
  after.flags |= KLVS_ADDRESS_ANSWER_ARP;
  after.ifindex = ifindex;
  after.claim_until = claim_until;
  return Write(ip, *found, after);
}

absl::Status Addresses::StopAnswering(const IpAddress& ip) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(ip));
  if (!found) return absl::OkStatus();
  klvs_address after = *found;
  after.flags &= ~static_cast<uint32_t>(KLVS_ADDRESS_ANSWER_ARP);
  return Write(ip, *found, after);
}

absl::Status Addresses::RenewClaims(uint64_t claim_until) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto all, All());
  for (const auto& [ip, before] : all) {
    if ((before.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) continue;
    klvs_address after = before;
    after.claim_until = claim_until;
    KUBE_LVS_RETURN_IF_ERROR(Write(ip, before, after));
  }
  return absl::OkStatus();
}

absl::Status Addresses::AddNat(const IpAddress& ip, uint32_t flag) {
  if (IsUnspecified(ip)) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Find(ip));
  const klvs_address before = found.value_or(klvs_address{});
  klvs_address after = before;
  after.flags |= flag;
  if (flag == KLVS_ADDRESS_NAT_REAL) {
    // Before the address is there: from then on its packets may be replies.
    std::atomic_ref<uint32_t>(settings_.flags).fetch_or(KLVS_SETTING_PLAIN_NAT);
  }
  return Write(ip, before, after);
}

absl::StatusOr<bool> Addresses::KeepNat(const std::map<IpAddress, uint32_t>& wanted,
                                        const std::map<IpAddress, uint32_t>& allowed) {
  const auto flags_of = [](const std::map<IpAddress, uint32_t>& map, const IpAddress& ip) {
    const auto found = map.find(ip);
    return found == map.end() ? 0 : found->second;
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const auto all, All());
  bool plain = false;
  bool only_allowed = false;
  for (const auto& [ip, before] : all) {
    const uint32_t needed = flags_of(wanted, ip);
    klvs_address after = before;
    after.flags &= ~kNatFlags | needed | flags_of(allowed, ip);
    plain = plain || (after.flags & KLVS_ADDRESS_NAT_REAL) != 0;
    only_allowed = only_allowed || (after.flags & kNatFlags & ~needed) != 0;
    KUBE_LVS_RETURN_IF_ERROR(Write(ip, before, after));
  }
  if (!plain && (settings_.flags & KLVS_SETTING_PLAIN_NAT) != 0) {
    std::atomic_ref<uint32_t>(settings_.flags)
        .fetch_and(~static_cast<uint32_t>(KLVS_SETTING_PLAIN_NAT));
  }
  return only_allowed;
}

}  // namespace kube_lvs::ebpf
