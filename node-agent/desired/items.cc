#include "node-agent/desired/items.h"

#include <algorithm>

#include "node-agent/desired/shared_ipvs.h"

namespace kube_lvs {
namespace {

// The tunnel's IP header, and the IP and TCP headers without options, which the MSS leaves out.
uint32_t TunnelOverhead(const IpAddress& vip) { return vip.IsV4() ? 20 : 40; }
constexpr uint32_t kGueOverhead = 12;  // UDP and GUE on top of the IP header
constexpr uint32_t kLeastMtuOfIpv6 = 1280;
uint32_t IpAndTcpHeaders(const IpAddress& vip) { return vip.IsV4() ? 40 : 60; }

std::string Conf(const std::string& interface, const char* name) {
  return "net/ipv4/conf/" + interface + "/" + name;
}

// The interfaces where packets for `rip` arrive: the one that has it, or, if that is none that
// packets come in by, those with the default route.
std::vector<const InterfaceFacts*> ArrivalInterfaces(const NodeFacts& facts, const IpAddress& rip) {
  for (const auto& [name, interface] : facts.interfaces) {
    if (interface.loopback || interface.kind == "dummy") continue;
    for (const auto& address : interface.addresses) {
      if (address.ip == rip) return {&interface};
    }
  }
  return DefaultRouteInterfaces(facts, rip.family);
}

void Attach(const std::vector<const InterfaceFacts*>& interfaces, std::set<NodeItem>& items) {
  for (const InterfaceFacts* interface : interfaces) {
    if (!interface->loopback) items.insert(Attachment{interface->name});
  }
}

// As items have it.
int LengthOf(const Cidr& vips) { return vips.IsHost() ? 0 : vips.length; }

Masquerade MasqueradeOf(const ServiceKey& key) {
  if (const auto* range = std::get_if<PortRange>(&key.match)) {
    return {{range->vip, range->first}, key.protocol, range->last};
  }
  if (const auto* all = std::get_if<AllPorts>(&key.match)) return {{all->vip, 0}};
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) {
    const auto& [vips, first, last] = *prefix;
    return {.vip = {vips.address, first},
            .protocol = key.protocol,
            .last_port = prefix->HasAllPorts() || last == first ? uint16_t{0} : last,
            .prefix_length = vips.length};
  }
  return {std::get<Endpoint>(key.match), key.protocol};
}

}  // namespace

std::vector<const InterfaceFacts*> Uplinks(const api::LvsDirectorGroup::Spec& group,
                                           const NodeFacts& facts, const IpAddress& vip) {
  std::vector<const InterfaceFacts*> uplinks;
  if (!group.interfaces.empty()) {
    for (const auto& [name, interface] : facts.interfaces) {
      const bool named =
          std::any_of(group.interfaces.begin(), group.interfaces.end(),
                      [&n = name](const std::string& glob) { return MatchesGlob(glob, n); });
      // What arrives by a leg of a bond, the bond has.
      const bool leg = interface.master_kind == "bond" || interface.master_kind == "team";
      if (named && !interface.loopback && !leg) uplinks.push_back(&interface);
    }
    return uplinks;
  }
  uplinks = DefaultRouteInterfaces(facts, vip.family);
  if (!uplinks.empty()) return uplinks;
  for (const auto& [name, interface] : facts.interfaces) {
    if (!interface.loopback && HasSubnetOf(interface, vip)) return {&interface};
  }
  return {};
}

std::set<NodeItem> DirectorItems(const ServiceKey& key, const VirtualService& service,
                                 const std::vector<const InterfaceFacts*>& uplinks,
                                 const NodeFacts& facts) {
  std::set<NodeItem> items;
  if (key.dataplane == Dataplane::kEbpf) {
    Attach(uplinks, items);
    for (const RealServer& real : service.reals) {
      Attach(InterfacesTowards(facts, real.at.ip), items);
    }
    return items;
  }
  items.insert(Sysctl{kExpireNodestConn, "1"});
  if (service.config.persistence) items.insert(Sysctl{kExpireQuiescentTemplate, "1"});
  const auto vip = VipOf(key);
  if (!vip.has_value()) return items;
  const bool nat =
      std::any_of(service.reals.begin(), service.reals.end(),
                  [](const RealServer& real) { return real.method == ForwardingMethod::kNat; });
  if (!nat) return items;
  if (!vip->IsV4()) {
    items.insert(Sysctl{"net/ipv6/conf/all/forwarding", "1"});
  } else {
    items.insert(Sysctl{"net/ipv4/ip_forward", "1"});
  }
  if (service.config.source_nat) {
    items.insert(Sysctl{"net/ipv4/vs/conntrack", "1"});
    items.insert(MasqueradeOf(key));
  } else if (vip->IsV4()) {
    // With one leg the kernel would tell real servers to send replies past the director. Either of
    // the two settings is enough for it to do so.
    items.insert(Sysctl{Conf("all", "send_redirects"), "0"});
    for (const RealServer& real : service.reals) {
      for (const InterfaceFacts* towards : InterfacesTowards(facts, real.at.ip)) {
        if (!towards->loopback) items.insert(Sysctl{Conf(towards->name, "send_redirects"), "0"});
      }
    }
  }
  return items;
}

std::set<NodeItem> AnswerItems(Dataplane dataplane, const Cidr& vips,
                               const std::vector<const InterfaceFacts*>& uplinks) {
  std::set<NodeItem> items;
  const auto put = [&](const InterfaceFacts& uplink) {
    items.insert(AnsweredVip{dataplane, vips.address, uplink.name, LengthOf(vips)});
    if (dataplane == Dataplane::kIpvs && !vips.IsHost() && !vips.address.IsV4()) {
      items.insert(AnsweredVip{dataplane, vips.address, uplink.name});
    }
  };
  for (const InterfaceFacts* uplink : uplinks) {
    if (!HasSubnetOf(*uplink, vips.address)) continue;
    put(*uplink);
    return items;
  }
  for (const InterfaceFacts* uplink : uplinks) {
    put(*uplink);
    // One place is enough for an address of the host: the kernel answers for it everywhere.
    if (dataplane == Dataplane::kIpvs) break;
  }
  return items;
}

std::set<NodeItem> LocalClientItems(const Cidr& vips, ForwardingMethod method,
                                    const std::vector<const InterfaceFacts*>& uplinks) {
  const IpAddress& vip = vips.address;
  const InterfaceFacts* best = nullptr;
  for (const InterfaceFacts* uplink : uplinks) {
    if (!UsableAddress(*uplink, vip.family).has_value()) continue;
    if (best == nullptr || (!HasSubnetOf(*best, vip) && HasSubnetOf(*uplink, vip))) best = uplink;
  }
  if (best == nullptr) return {};
  std::set<NodeItem> items = {Attachment{kLocalLinkFar},
                              LocalVip{vip, *UsableAddress(*best, vip.family), LengthOf(vips)}};
  // Answers come from the VIP, whose route leads elsewhere: a strict check would drop them.
  if (vip.IsV4() && method != ForwardingMethod::kNat) {
    items.insert(Sysctl{Conf(best->name, "rp_filter"), "2"});
  }
  return items;
}

uint32_t LocalMtu(const api::LvsServiceSpec& spec, const IpAddress& vip, uint32_t uplink_mtu) {
  uint32_t overhead = 0;
  if (spec.method == ForwardingMethod::kTunnel) {
    overhead = TunnelOverhead(vip) + (spec.tunnel_type == "GUE" ? kGueOverhead : 0);
  }
  return uplink_mtu < kLeastMtuOfIpv6 + overhead ? std::min(uplink_mtu, kLeastMtuOfIpv6)
                                                 : uplink_mtu - overhead;
}

std::set<NodeItem> RealServerItems(const RealServer& real, const Cidr& vips,
                                   const std::vector<IpAddress>& directors, bool mss_clamp,
                                   const NodeFacts& facts) {
  std::set<NodeItem> items;
  if (real.method == ForwardingMethod::kNat) return items;
  const std::vector<const InterfaceFacts*> arrivals = ArrivalInterfaces(facts, real.at.ip);
  const IpAddress& vip = vips.address;
  const std::vector<const InterfaceFacts*> out = DefaultRouteInterfaces(facts, vip.family);
  items.insert(SilentVip{vip, LengthOf(vips)});
  if (vip.IsV4()) {
    std::set<std::string> silent = {"all"};
    for (const InterfaceFacts* arrival : arrivals) silent.insert(arrival->name);
    for (const std::string& interface : silent) {
      items.insert(Sysctl{Conf(interface, "arp_ignore"), "1"});
      items.insert(Sysctl{Conf(interface, "arp_announce"), "2"});
    }
    // Requests arrive here, answers leave by the default route: a strict check would drop them. It
    // takes what comes in by any leg of a multipath route (fib_info_nh_uses_dev()).
    for (const InterfaceFacts* arrival : arrivals) {
      if (out.empty() || std::ranges::find(out, arrival) != out.end()) continue;
      items.insert(Sysctl{Conf(arrival->name, "rp_filter"), "2"});
    }
  }
  if (real.method != ForwardingMethod::kTunnel || arrivals.empty()) return items;
  Attach(arrivals, items);
  const bool gue = real.tunnel.type == TunnelType::kGue;
  for (const IpAddress& director : directors) {
    if (director.family != vip.family) continue;
    items.insert(TunnelPeer{director, vip, LengthOf(vips),
                            gue ? Endpoint{real.at.ip, real.tunnel.port} : Endpoint{}});
  }
  if (mss_clamp) {
    Attach(out, items);
    uint32_t mtu = 65535;
    for (const InterfaceFacts* arrival : arrivals) mtu = std::min(mtu, arrival->mtu);
    const uint32_t headers =
        TunnelOverhead(vip) + (gue ? kGueOverhead : 0) + IpAndTcpHeaders(vip);
    if (mtu > headers) {
      items.insert(MssClamp{vip, static_cast<uint16_t>(mtu - headers), LengthOf(vips)});
    }
  }
  return items;
}

void KeepLeastClamps(std::set<NodeItem>& items) {
  std::set<Cidr> clamped;
  // They come in the order of their MSS.
  std::erase_if(items, [&clamped](const NodeItem& item) {
    const auto* clamp = std::get_if<MssClamp>(&item);
    return clamp != nullptr && !clamped.insert(clamp->Vips()).second;
  });
}

}  // namespace kube_lvs
