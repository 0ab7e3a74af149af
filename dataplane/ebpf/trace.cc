#include "dataplane/ebpf/trace.h"

#include <linux/pkt_cls.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/service_map.h"

namespace kube_lvs::ebpf {
namespace {

void Put16(std::vector<uint8_t>& out, uint32_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void Put32(std::vector<uint8_t>& out, uint32_t value) {
  Put16(out, value >> 16);
  Put16(out, value & 0xffff);
}

uint16_t Checksum(std::span<const uint8_t> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) sum += uint32_t{bytes[i]} << 8 | bytes[i + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

absl::StatusOr<uint64_t> SumOf(MapStore& maps, std::string_view map, uint32_t index) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto per_cpu, maps.LookupPerCpu(map, AsBytes(index)));
  uint64_t out = 0;
  for (const Bytes& bytes : per_cpu) {
    uint64_t first = 0;  // of counters: packets
    std::memcpy(&first, bytes.data(), std::min(bytes.size(), sizeof first));
    out += first;
  }
  return out;
}

// Empty: it counted none.
absl::StatusOr<std::string> DropReason(MapStore& maps) {
  for (uint32_t reason = 1; reason < KLVS_DROP_REASONS; ++reason) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t count, SumOf(maps, kDropsMap, reason));
    if (count != 0) return std::string(DropReasonName(reason));
  }
  return std::string();
}

struct Connected {
  uint64_t ctl = 0;
  uint32_t real = 0;
};

// The client's entry of the connection whose key begins so, of one family.
template <typename Set, typename Key>
std::optional<Connected> Find(std::span<Set> sets, const TracePacket& packet, Key key) {
  key.sport = ToWirePort(packet.client.port);
  key.dport = ToWirePort(packet.vip.port);
  key.protocol = static_cast<uint8_t>(packet.protocol);
  for (const Set& set : sets) {
    for (const auto& entry : set.ways) {
      constexpr uint32_t kFlags = KLVS_CONN_LIVE | KLVS_CONN_REPLY;
      if ((KLVS_CTL_FLAGS(entry.ctl) & kFlags) == KLVS_CONN_LIVE &&
          std::memcmp(&entry.key, &key, sizeof key) == 0) {
        return Connected{entry.ctl, entry.real};
      }
    }
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<Connected>> Find(MapStore& maps, const TracePacket& packet) {
  if (packet.vip.ip.IsV4()) {
    klvs_conn_key key = {};
    key.src = ToWire(packet.client.ip);
    key.dst = ToWire(packet.vip.ip);
    KUBE_LVS_ASSIGN_OR_RETURN(const auto sets, GetArray<klvs_conn_set>(maps, kConnsMap));
    return Find(sets, packet, key);
  }
  klvs_conn_key6 key = {};
  key.src = ToWire6(packet.client.ip);
  key.dst = ToWire6(packet.vip.ip);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto sets, GetArray<klvs_conn_set6>(maps, kConns6Map));
  return Find(sets, packet, key);
}

absl::Status ExplainService(MapStore& maps, const klvs_service& service, Trace& trace) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ServiceConfig config, DecodeConfig(service));
  trace.scheduler = config.scheduler;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto lists, GetArray<klvs_list_entry>(maps, kListsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto conns, GetArray<klvs_real_conns>(maps, kRealConnsMap));
  if (size_t{service.list_base} + service.list_count > lists.size()) {
    return absl::DataLossError("a service's list lies outside of the map of lists");
  }
  trace.reals = service.list_count;
  for (const klvs_list_entry& entry : lists.subspan(service.list_base, service.list_count)) {
    if (entry.weight == 0 || entry.real >= conns.size()) continue;
    trace.available += conns[entry.real].overloaded == 0;
  }
  return absl::OkStatus();
}

// The address without the bits behind the first `length`.
IpAddress Masked(IpAddress address, int length) {
  for (size_t i = 0; i < address.Size(); ++i) {
    const int kept = std::clamp(length - 8 * static_cast<int>(i), 0, 8);
    address.bytes[i] = static_cast<uint8_t>(address.bytes[i] & 0xff00 >> kept);
  }
  return address;
}

// Whether the client's template was there before, and named the same real server.
absl::StatusOr<bool> HadTemplate(MapStore& before, MapStore& after, const klvs_service& service,
                                 const IpAddress& client) {
  if ((service.flags & KLVS_SERVICE_PERSISTENT) == 0) return false;
  const IpAddress prefix = Masked(client, service.template_prefix);
  const auto find = [&](MapStore& maps) {
    if (client.IsV4()) {
      return Get<klvs_template>(maps, kTemplatesMap, klvs_template_key{service.id, ToWire(prefix)});
    }
    return Get<klvs_template>(maps, kTemplates6Map,
                              klvs_template_key6{service.id, ToWire6(prefix)});
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const auto was, find(before));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto is, find(after));
  // Made anew after it was over, it has another generation.
  return was && is && was->word >> 24 == is->word >> 24;
}

void PutIp4(std::vector<uint8_t>& out, const TracePacket& packet, uint16_t length) {
  Put16(out, 0x0800);
  const size_t ip = out.size();
  Put16(out, 0x4500);
  Put16(out, 20 + length);
  Put32(out, 0x00004000);  // may not be cut
  Put16(out, 64 << 8 | static_cast<uint32_t>(packet.protocol));
  Put16(out, 0);
  Put32(out, packet.client.ip.V4());
  Put32(out, packet.vip.ip.V4());
  const uint16_t checksum = Checksum(std::span(out).subspan(ip));
  out[ip + 10] = static_cast<uint8_t>(checksum >> 8);
  out[ip + 11] = static_cast<uint8_t>(checksum);
}

void PutIp6(std::vector<uint8_t>& out, const TracePacket& packet, uint16_t length) {
  Put16(out, 0x86dd);
  Put32(out, 6U << 28);
  Put16(out, length);
  Put16(out, static_cast<uint32_t>(packet.protocol) << 8 | 64);
  for (const IpAddress& ip : {packet.client.ip, packet.vip.ip}) {
    out.insert(out.end(), ip.bytes.begin(), ip.bytes.end());
  }
}

}  // namespace

std::vector<uint8_t> FrameOf(const TracePacket& packet) {
  const uint16_t length = packet.protocol == Protocol::kTcp   ? 20
                          : packet.protocol == Protocol::kUdp ? 8
                                                              : 32;
  std::vector<uint8_t> out(6);
  out.insert(out.end(), {2, 0, 0, 0, 0, 1});  // a client's, locally administered
  if (packet.vip.ip.IsV4()) {
    PutIp4(out, packet, length);
  } else {
    PutIp6(out, packet, length);
  }
  Put16(out, packet.client.port);
  Put16(out, packet.vip.port);
  if (packet.protocol == Protocol::kTcp) {
    Put32(out, 1);
    Put32(out, 0);
    Put32(out, 0x5002ffff);  // SYN
    Put32(out, 0);           // a checksum that nobody reads
  } else if (packet.protocol == Protocol::kUdp) {
    Put32(out, 8 << 16 | 0xffff);  // a checksum that nobody reads; of IPv6 there must be one
  } else {
    Put32(out, 0);
    Put32(out, 0);           // a checksum that nobody reads
    Put32(out, 0x01000014);  // INIT
    for (const uint32_t word : {1U, 65536U, 0x00010001U, 1U}) Put32(out, word);
  }
  return out;
}

absl::Status CopyMaps(Family family, MapStore& from, MapStore& to) {
  const bool v4 = family == Family::kIpv4;
  std::vector<std::string_view> arrays = {kSettingsMap,      kInterfacesMap,
                                          kServiceStateMap,  kLocalityMap,
                                          kListsMap,         kTablesMap,
                                          kRealsMap,         kRealConnsMap,
                                          kRealTemplatesMap, v4 ? kConnsMap : kConns6Map,
                                          v4 ? kConnTagsMap : kConnTags6Map};
  if (!v4) arrays.push_back(kReals6Map);
  for (const std::string_view map : arrays) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto source, from.Mapped(map));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto target, to.Mapped(map));
    if (source.size() != target.size()) {
      return absl::DataLossError("the map " + std::string(map) + " has another size");
    }
    std::ranges::copy(source, target.begin());
  }
  for (const std::string_view map :
       {v4 ? kAddressesMap : kAddresses6Map, v4 ? kNetworksMap : kNetworks6Map, kServicesMap,
        kWideServicesMap, kPortsMap, v4 ? kTemplatesMap : kTemplates6Map}) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto entries, from.Dump(map));
    for (const auto& [key, value] : entries) {
      KUBE_LVS_RETURN_IF_ERROR(to.Update(map, key, value));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Trace> Explain(MapStore& before, MapStore& after, const TracePacket& packet,
                              uint32_t action) {
  Trace out;
  out.verdict = action == TC_ACT_REDIRECT ? TraceVerdict::kForwarded
                : action == TC_ACT_SHOT   ? TraceVerdict::kDropped
                                          : TraceVerdict::kPassed;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vip, FindDestination(before, packet.vip.ip));
  out.is_vip = vip && (vip->flags & KLVS_ADDRESS_VIP) != 0;
  if (!out.is_vip) return out;
  ServiceKey key;
  key.match = packet.vip;
  key.protocol = packet.protocol;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto service, FindService(before, EncodeKey(vip->vip_id, key)));
  if (service) {
    KUBE_LVS_RETURN_IF_ERROR(ExplainService(before, *service, out));
    KUBE_LVS_ASSIGN_OR_RETURN(out.persistent,
                              HadTemplate(before, after, *service, packet.client.ip));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(out.drop_reason, DropReason(after));
  // The answer to what is refused leaves as a packet does that is forwarded.
  if (!out.drop_reason.empty()) out.verdict = TraceVerdict::kDropped;
  if (out.verdict == TraceVerdict::kDropped && out.drop_reason.empty()) {
    out.drop_reason = DropReasonName(0);
  }

  KUBE_LVS_ASSIGN_OR_RETURN(const auto was, Find(before, packet));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto is, Find(after, packet));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals, GetArray<klvs_real>(before, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto reals6, GetArray<klvs_real6>(before, kReals6Map));
  // The same use of the slot: it was found, not made.
  if (was && is && KLVS_CTL_GENERATION(was->ctl) == KLVS_CTL_GENERATION(is->ctl)) {
    out.state = ConnectionStateName(KLVS_CTL_STATE(was->ctl));
  }
  uint32_t id = is ? is->real : 0;
  // One-packet scheduling leaves no connection, but is counted.
  for (uint32_t n = 1; id == 0 && n < reals.size(); ++n) {
    if ((reals[n].flags & KLVS_REAL_VALID) == 0) continue;
    KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t packets, SumOf(after, kRealCountersMap, n));
    if (packets != 0) id = n;
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(before, kSettingsMap));
  if (id == 0 && out.verdict == TraceVerdict::kPassed && service &&
      (settings[0].flags & KLVS_SETTING_CLAIMS) != 0 && service->delivers == KLVS_DELIVERS) {
    out.delivered = true;
    id = service->local;
  }
  if (id == 0 || id >= reals.size() || id >= reals6.size()) return out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.real, DecodeReal({reals[id], reals6[id]}, reals[id].weight));
  if (out.real->at.port == 0) out.real->at.port = packet.vip.port;
  return out;
}

}  // namespace kube_lvs::ebpf
