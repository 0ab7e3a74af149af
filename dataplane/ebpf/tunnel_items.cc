#include "dataplane/ebpf/tunnel_items.h"

#include <cstdint>

#include "base/status.h"
#include "dataplane/ebpf/abi_gue.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

// Of both families, a map whose keys are an address or two.
template <typename Key4, typename Key6>
absl::Status PutOrErase(MapStore& maps, bool v4, bool put, std::string_view map4, const Key4& key4,
                        std::string_view map6, const Key6& key6, uint32_t value) {
  if (v4) return put ? Put(maps, map4, key4, value) : Erase(maps, map4, key4);
  return put ? Put(maps, map6, key6, value) : Erase(maps, map6, key6);
}

// Tunnel peers and clamps of prefixes of VIPs.
absl::Status ReadNets(MapStore& maps, std::set<NodeItem>& items) {
  const auto peer = [&items](const auto& net, int director_bits) {
    items.insert(TunnelPeer{FromWire(net.to.director), FromWire(net.to.vip),
                            static_cast<int>(net.bits) - director_bits});
  };
  const auto clamp = [&items](const auto& net, uint32_t mss) {
    items.insert(
        MssClamp{FromWire(net.vip), static_cast<uint16_t>(mss), static_cast<int>(net.bits)});
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const auto nets,
                            (GetAll<klvs_tunnel_net, uint32_t>(maps, kTunnelNetsMap)));
  for (const auto& [net, one] : nets) peer(net, 32);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto nets6,
                            (GetAll<klvs_tunnel_net6, uint32_t>(maps, kTunnelNets6Map)));
  for (const auto& [net, one] : nets6) peer(net, 128);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto clamps, (GetAll<klvs_mss_net, uint32_t>(maps, kMssNetsMap)));
  for (const auto& [net, mss] : clamps) clamp(net, mss);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto clamps6,
                            (GetAll<klvs_mss_net6, uint32_t>(maps, kMssNets6Map)));
  for (const auto& [net, mss] : clamps6) clamp(net, mss);
  return absl::OkStatus();
}

absl::Status ReadGuePeers(MapStore& maps, std::set<NodeItem>& items) {
  const auto peer = [&items](const auto& key, int bits) {
    const IpAddress vip = FromWire(key.to.vip);
    const int length = static_cast<int>(key.bits) - bits;
    items.insert(TunnelPeer{FromWire(key.to.director), vip, length == vip.Bits() ? 0 : length,
                            {FromWire(key.to.real), FromWirePort(key.to.port)}});
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const auto peers,
                            (GetAll<klvs_gue_peer, uint32_t>(maps, kGuePeersMap)));
  for (const auto& [key, one] : peers) peer(key, KLVS_GUE_BITS);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto peers6,
                            (GetAll<klvs_gue_peer6, uint32_t>(maps, kGuePeers6Map)));
  for (const auto& [key, one] : peers6) peer(key, KLVS_GUE_BITS6);
  return absl::OkStatus();
}

absl::Status SetGuePeer(MapStore& maps, const TunnelPeer& item, bool add) {
  if (item.gue.ip.family != item.vip.family) {
    return absl::InvalidArgumentError("it would come to an address of another family");
  }
  const auto length =
      static_cast<uint32_t>(item.prefix_length == 0 ? item.vip.Bits() : item.prefix_length);
  const __be16 port = ToWirePort(item.gue.port);
  const klvs_gue_peer peer{
      KLVS_GUE_BITS + length,
      {ToWire(item.director), ToWire(item.gue.ip), port, 0, ToWire(item.vip)}};
  const klvs_gue_peer6 peer6{
      KLVS_GUE_BITS6 + length,
      {ToWire6(item.director), ToWire6(item.gue.ip), port, 0, ToWire6(item.vip)}};
  return PutOrErase(maps, item.vip.IsV4(), add, kGuePeersMap, peer, kGuePeers6Map, peer6, 1);
}

}  // namespace

absl::Status ReadTunnelItems(MapStore& maps, std::set<NodeItem>& items) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto peers,
                            (GetAll<klvs_tunnel_peer, uint32_t>(maps, kTunnelPeersMap)));
  for (const auto& [peer, one] : peers) {
    items.insert(TunnelPeer{FromWire(peer.director), FromWire(peer.vip)});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto peers6,
                            (GetAll<klvs_tunnel_peer6, uint32_t>(maps, kTunnelPeers6Map)));
  for (const auto& [peer, one] : peers6) {
    items.insert(TunnelPeer{FromWire(peer.director), FromWire(peer.vip)});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto clamps6,
                            (GetAll<klvs_in6, uint32_t>(maps, kMssClamps6Map)));
  for (const auto& [vip, mss] : clamps6) {
    items.insert(MssClamp{FromWire(vip), static_cast<uint16_t>(mss)});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto clamps, (GetAll<__be32, uint32_t>(maps, kMssClampsMap)));
  for (const auto& [vip, mss] : clamps) {
    items.insert(MssClamp{FromWire(vip), static_cast<uint16_t>(mss)});
  }
  KUBE_LVS_RETURN_IF_ERROR(ReadGuePeers(maps, items));
  return ReadNets(maps, items);
}

absl::Status SetTunnelPeer(MapStore& maps, const TunnelPeer& item, bool add) {
  if (item.director.family != item.vip.family) {
    return absl::UnimplementedError(ToString(item) +
                                    ": eBPF unpacks IPv4 in IPv4 and IPv6 in IPv6; give the "
                                    "director an address of the VIP's family");
  }
  if (item.gue.port != 0) return Annotate(SetGuePeer(maps, item, add), ToString(item));
  const klvs_tunnel_peer peer{ToWire(item.director), ToWire(item.vip)};
  const klvs_tunnel_peer6 peer6{ToWire6(item.director), ToWire6(item.vip)};
  const auto length = static_cast<uint32_t>(item.prefix_length);
  return Annotate(item.prefix_length == 0
                      ? PutOrErase(maps, item.vip.IsV4(), add, kTunnelPeersMap, peer,
                                   kTunnelPeers6Map, peer6, 1)
                      : PutOrErase(maps, item.vip.IsV4(), add, kTunnelNetsMap,
                                   klvs_tunnel_net{32 + length, peer}, kTunnelNets6Map,
                                   klvs_tunnel_net6{128 + length, peer6}, 1),
                  ToString(item));
}

absl::Status SetMssClamp(MapStore& maps, const MssClamp& item, bool add) {
  if (item.mss == 0) return absl::InvalidArgumentError(ToString(item) + ": 0 is no segment size");
  const bool v4 = item.vip.IsV4();
  const __be32 key = ToWire(item.vip);
  const klvs_in6 key6 = ToWire6(item.vip);
  if (item.prefix_length != 0) {
    if (!add) {
      std::set<NodeItem> there;
      KUBE_LVS_RETURN_IF_ERROR(ReadNets(maps, there));
      if (!there.contains(item)) return absl::OkStatus();  // another clamp replaced it
    }
    const auto length = static_cast<uint32_t>(item.prefix_length);
    return Annotate(PutOrErase(maps, v4, add, kMssNetsMap, klvs_mss_net{length, key}, kMssNets6Map,
                               klvs_mss_net6{length, key6}, item.mss),
                    ToString(item));
  }
  if (!add) {
    const auto asked =
        v4 ? Get<uint32_t>(maps, kMssClampsMap, key) : Get<uint32_t>(maps, kMssClamps6Map, key6);
    KUBE_LVS_ASSIGN_OR_RETURN(const auto mss, asked);
    if (!mss || *mss != item.mss) return absl::OkStatus();  // another clamp replaced it
  }
  return Annotate(PutOrErase(maps, v4, add, kMssClampsMap, key, kMssClamps6Map, key6, item.mss),
                  ToString(item));
}

}  // namespace kube_lvs::ebpf
