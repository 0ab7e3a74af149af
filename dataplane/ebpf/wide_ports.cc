#include "dataplane/ebpf/wide_ports.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <span>

#include "base/status.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

bool Same(const klvs_wide_key& a, const klvs_wide_key& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// Of keys that BlocksOf made.
bool Same(const klvs_port_key& a, const klvs_port_key& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// To whom the ports of a block lead, by this block or a larger one.
struct Leads {
  std::optional<klvs_port_owner> owner;
  bool by_this_block = false;
  bool to_service = false;  // one that is there
};

absl::StatusOr<Leads> WhereTo(MapStore& maps, const klvs_port_key& block) {
  Leads out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.owner, Get<klvs_port_owner>(maps, kPortsMap, block));
  if (!out.owner) return out;
  out.by_this_block = out.owner->prefix_length == block.prefix_length;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto service,
                            Get<klvs_service>(maps, kWideServicesMap, out.owner->service));
  out.to_service = service.has_value();
  return out;
}

absl::Status Lead(MapStore& maps, const klvs_port_key& block, const klvs_wide_key& service) {
  return Put(maps, kPortsMap, block, klvs_port_owner{service, block.prefix_length});
}

using Services = std::vector<std::pair<klvs_wide_key, klvs_service>>;

// Nobody but one of `services` may have the block from now on.
absl::Status HandOn(MapStore& maps, const klvs_port_key& block, const Services& services) {
  for (const auto& [service, record] : services) {
    if (service.vip_id != block.vip_id) continue;
    const auto blocks = BlocksOf(service);
    const auto same = [&block](const klvs_port_key& other) { return Same(block, other); };
    if (std::ranges::any_of(blocks, same)) return Lead(maps, block, service);
  }
  return Erase(maps, kPortsMap, block);
}

}  // namespace

std::vector<klvs_port_key> BlocksOf(const klvs_wide_key& service) {
  klvs_port_key block{};
  block.vip_id = service.vip_id;
  block.prefix_length = KLVS_PORT_PREFIX_VIP;
  if (service.protocol == 0) return {block};
  block.protocol = service.protocol;
  std::vector<klvs_port_key> out;
  const uint32_t end = uint32_t{FromWirePort(service.last)} + 1;
  for (uint32_t port = FromWirePort(service.first); port < end;) {
    uint32_t size = 1;
    uint32_t bits = 0;
    while (port % (size * 2) == 0 && port + size * 2 <= end) {
      size *= 2;
      ++bits;
    }
    block.prefix_length = KLVS_PORT_PREFIX_PORT - bits;
    block.port = ToWirePort(static_cast<uint16_t>(port));
    out.push_back(block);
    port += size;
  }
  return out;
}

absl::StatusOr<bool> HasItsPorts(MapStore& maps, const klvs_wide_key& service) {
  for (const klvs_port_key& block : BlocksOf(service)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const Leads leads, WhereTo(maps, block));
    if (!leads.by_this_block || !leads.to_service) return false;
  }
  return true;
}

absl::Status LeadPorts(MapStore& maps, const klvs_wide_key& service, bool take) {
  for (const klvs_port_key& block : BlocksOf(service)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const Leads leads, WhereTo(maps, block));
    if (leads.by_this_block && (leads.to_service || Same(leads.owner->service, service))) continue;
    if (leads.to_service && !take) continue;
    KUBE_LVS_RETURN_IF_ERROR(Lead(maps, block, service));
  }
  return absl::OkStatus();
}

absl::Status ReleasePorts(MapStore& maps, const klvs_wide_key& service) {
  KUBE_LVS_ASSIGN_OR_RETURN(auto others,
                            (GetAll<klvs_wide_key, klvs_service>(maps, kWideServicesMap)));
  std::erase_if(others, [&service](const auto& other) { return Same(other.first, service); });
  for (const klvs_port_key& block : BlocksOf(service)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const Leads leads, WhereTo(maps, block));
    if (!leads.by_this_block || !Same(leads.owner->service, service)) continue;
    KUBE_LVS_RETURN_IF_ERROR(HandOn(maps, block, others));
  }
  return absl::OkStatus();
}

absl::Status TidyPorts(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto services,
                            (GetAll<klvs_wide_key, klvs_service>(maps, kWideServicesMap)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries,
                            (GetAll<klvs_port_key, klvs_port_owner>(maps, kPortsMap)));
  for (const auto& entry : entries) {
    const klvs_port_owner& owner = entry.second;
    const auto is_owner = [&owner](const auto& s) { return Same(s.first, owner.service); };
    if (std::ranges::any_of(services, is_owner)) continue;
    KUBE_LVS_RETURN_IF_ERROR(HandOn(maps, entry.first, services));
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
