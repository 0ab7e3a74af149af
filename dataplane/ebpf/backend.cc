#include "dataplane/ebpf/backend.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/status.h"
#include "dataplane/ebpf/abi_gue.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/layout.h"

namespace kube_lvs::ebpf {
namespace {

constexpr Duration kSweepEvery = std::chrono::seconds(1);  // it reads some 40 MB
constexpr Duration kRecountEvery = std::chrono::minutes(10);
constexpr Duration kAskAgain = std::chrono::seconds(1);  // for a neighbour that is silent

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

constexpr ConnectionKind kKinds[] = {ConnectionKind::kTcp, ConnectionKind::kTcpFin,
                                     ConnectionKind::kUdp};

klvs_state StateOf(ConnectionKind kind) {
  switch (kind) {
    case ConnectionKind::kTcp:
      return KLVS_ESTABLISHED;
    case ConnectionKind::kTcpFin:
      return KLVS_FIN_WAIT;
    case ConnectionKind::kUdp:
      break;
  }
  return KLVS_UDP;
}

// Whether a service of the key can be in the maps at all.
bool HasPorts(const ServiceKey& key) { return !std::holds_alternative<FwMark>(key.match); }

// One step onto a service, as strict as a kernel: nullopt is "not there".
struct ToModel {
  std::optional<VirtualService>& service;

  absl::Status operator()(const AddService& s) const {
    if (service) return absl::AlreadyExistsError(ToString(s.key) + " is there already");
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.config));
    service = VirtualService{s.config, {}};
    return absl::OkStatus();
  }
  absl::Status operator()(const SetService& s) const {
    if (!service) return Missing(s.key);
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.config));
    for (const RealServer& real : service->reals) {
      KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.config, real));
    }
    service->config = s.config;
    return absl::OkStatus();
  }
  absl::Status operator()(const RemoveService& s) const {
    if (!service) return Missing(s.key);
    service.reset();
    return absl::OkStatus();
  }
  absl::Status operator()(const AddReal& s) const {
    if (!service) return Missing(s.key);
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.real));
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, service->config, s.real));
    if (Find(s.real.at) != service->reals.end()) {
      return absl::AlreadyExistsError(ToString(s.key) + " -> " + s.real.at.ToString() +
                                      " is there already");
    }
    service->reals.push_back(s.real);
    return absl::OkStatus();
  }
  absl::Status operator()(const SetReal& s) const {
    if (!service) return Missing(s.key);
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.real));
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, service->config, s.real));
    const auto real = Find(s.real.at);
    if (real == service->reals.end()) return Missing(s.key, s.real.at);
    *real = s.real;
    return absl::OkStatus();
  }
  absl::Status operator()(const RemoveReal& s) const {
    if (!service) return Missing(s.key);
    const auto real = Find(s.at);
    if (real == service->reals.end()) return Missing(s.key, s.at);
    service->reals.erase(real);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddItem&) const { return NoService(); }
  absl::Status operator()(const RemoveItem&) const { return NoService(); }

  static absl::Status NoService() { return absl::InternalError("a node item is no service"); }
  static absl::Status Missing(const ServiceKey& key) {
    return absl::NotFoundError(ToString(key) + " is not there");
  }
  static absl::Status Missing(const ServiceKey& key, const Endpoint& at) {
    return absl::NotFoundError(ToString(key) + " -> " + at.ToString() + " is not there");
  }
  std::vector<RealServer>::iterator Find(const Endpoint& at) const {
    return std::ranges::find(service->reals, at, &RealServer::at);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<EbpfBackend>> EbpfBackend::Adopt(MapStore& maps, Programs& programs,
                                                                Network& network,
                                                                const Clock& clock) {
  std::unique_ptr<EbpfBackend> out(new EbpfBackend(maps, programs, network, clock));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t layout, GetLayout(maps));
  if (layout != KLVS_LAYOUT) {
    return absl::FailedPreconditionError(
        "the maps have layout " + std::to_string(layout) + ", this version writes layout " +
        std::to_string(KLVS_LAYOUT) +
        "; run the version that made them, or drain this node and run kube-lvs-agent --cleanup");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  out->settings_ = &settings[0];
  out->addresses_ = std::make_unique<Addresses>(maps, settings[0]);
  KUBE_LVS_ASSIGN_OR_RETURN(out->interfaces_, GetArray<klvs_interface>(maps, kInterfacesMap));
  auto services = ServiceTables::Adopt(
      maps, *out->addresses_,
      [backend = out.get()](const IpAddress& to, bool source_nat) {
        return backend->WayTo(to, source_nat);
      },
      clock.Now());
  if (!services.ok()) {
    return Annotate(services.status(),
                    "the maps cannot be taken over; to start anew, drain this node and run "
                    "kube-lvs-agent --cleanup");
  }
  out->services_ = *std::move(services);
  return out;
}

bool EbpfBackend::Takes(const Step& step) const {
  if (const ServiceKey* key = KeyOf(step)) return key->dataplane == Dataplane::kEbpf;
  const auto* add = std::get_if<AddItem>(&step);
  const NodeItem& item = add != nullptr ? add->item : std::get<RemoveItem>(step).item;
  if (const auto* vip = std::get_if<AnsweredVip>(&item)) return vip->dataplane == Dataplane::kEbpf;
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&item)) {
    return timeout->dataplane == Dataplane::kEbpf;
  }
  return std::holds_alternative<Attachment>(item) || std::holds_alternative<TunnelPeer>(item) ||
         std::holds_alternative<MssClamp>(item);
}

absl::StatusOr<State> EbpfBackend::Read() {
  State out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.services, services_->Read());
  KUBE_LVS_RETURN_IF_ERROR(ReadItems(out.items));
  return out;
}

absl::StatusOr<ServiceReading> EbpfBackend::ReadServices(const std::set<ServiceKey>& keys) {
  KUBE_LVS_ASSIGN_OR_RETURN(ServiceReading out, ReadRules(keys));
  // Whether a quiesced one is empty must be known exactly; everything else may be late.
  const bool waits = std::ranges::any_of(out.stats.reals, [](const auto& real) {
    const RealServerStats& stats = real.second;
    return stats.weight == 0 && stats.active_connections + stats.inactive_connections > 0;
  });
  if (!waits) return out;
  KUBE_LVS_RETURN_IF_ERROR(SweepConnections());
  return ReadRules(keys);
}

absl::StatusOr<ServiceReading> EbpfBackend::ReadRules(const std::set<ServiceKey>& keys) {
  ServiceReading out;
  for (const ServiceKey& key : keys) {
    if (key.dataplane != Dataplane::kEbpf || !HasPorts(key)) continue;
    KUBE_LVS_ASSIGN_OR_RETURN(auto service, services_->Find(key));
    if (!service) continue;
    KUBE_LVS_RETURN_IF_ERROR(services_->ReadStats(key, *service, out.stats));
    out.services.emplace(key, *std::move(service));
  }
  return out;
}

absl::Status EbpfBackend::ReadItems(std::set<NodeItem>& items) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attached, Attached());
  for (const auto& [link, report] : attached) items.insert(Attachment{link.name});
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_->All());
  for (const auto& [vips, record] : addresses) {
    if ((record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) continue;
    const auto link = std::ranges::find(links, record.ifindex, &Link::index);
    if (link == links.end()) continue;  // the interface is gone: not answered
    items.insert(
        AnsweredVip{Dataplane::kEbpf, vips.address, link->name, vips.IsHost() ? 0 : vips.length});
  }
  for (const ConnectionKind kind : kKinds) {
    const uint32_t jiffies = settings_->timeouts[StateOf(kind)];
    if (jiffies == DefaultSeconds(kind) * settings_->hz) continue;
    items.insert(ConnectionTimeout{Dataplane::kEbpf, kind, jiffies / settings_->hz});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto peers,
                            (GetAll<klvs_tunnel_peer, uint32_t>(maps_, kTunnelPeersMap)));
  for (const auto& [peer, one] : peers) {
    items.insert(TunnelPeer{FromWire(peer.director), FromWire(peer.vip)});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto peers6,
                            (GetAll<klvs_tunnel_peer6, uint32_t>(maps_, kTunnelPeers6Map)));
  for (const auto& [peer, one] : peers6) {
    items.insert(TunnelPeer{FromWire(peer.director), FromWire(peer.vip)});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto clamps6,
                            (GetAll<klvs_in6, uint32_t>(maps_, kMssClamps6Map)));
  for (const auto& [vip, mss] : clamps6) {
    items.insert(MssClamp{FromWire(vip), static_cast<uint16_t>(mss)});
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto clamps, (GetAll<__be32, uint32_t>(maps_, kMssClampsMap)));
  for (const auto& [vip, mss] : clamps) {
    items.insert(MssClamp{FromWire(vip), static_cast<uint16_t>(mss)});
  }
  KUBE_LVS_RETURN_IF_ERROR(ReadGuePeers(maps_, items));
  return ReadNets(maps_, items);
}

std::vector<absl::Status> EbpfBackend::Apply(std::span<const Step> steps) {
  const TimePoint now = clock_.Now();
  std::vector<absl::Status> statuses(steps.size());
  std::set<ServiceKey> failed;
  const absl::Status swept = services_->Sweep(now);
  for (size_t begin = 0; begin < steps.size();) {
    const ServiceKey* key = KeyOf(steps[begin]);
    if (key == nullptr) {
      const auto* add = std::get_if<AddItem>(&steps[begin]);
      const NodeItem& item = add != nullptr ? add->item : std::get<RemoveItem>(steps[begin]).item;
      statuses[begin] = ApplyItem(item, add != nullptr, steps);
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < steps.size() && KeyOf(steps[end]) != nullptr && *KeyOf(steps[end]) == *key) ++end;
    const auto of_service = std::span(statuses).subspan(begin, end - begin);
    if (failed.contains(*key)) {
      std::ranges::fill(of_service,
                        absl::AbortedError("an earlier step of " + ToString(*key) + " failed"));
    } else {
      ApplyService(steps.subspan(begin, end - begin), of_service);
      if (!std::ranges::all_of(of_service, &absl::Status::ok)) failed.insert(*key);
    }
    begin = end;
  }
  ways_.clear();
  // Only tidying: what it could not do now is done next time.
  if (swept.ok()) services_->Sweep(now).IgnoreError();
  return statuses;
}

void EbpfBackend::ApplyService(std::span<const Step> steps, std::span<absl::Status> statuses) {
  const ServiceKey& key = *KeyOf(steps[0]);
  const absl::Status aborted =
      absl::AbortedError("an earlier step of " + ToString(key) + " failed");
  const auto fail_from = [&](size_t first, const absl::Status& status) {
    std::ranges::fill(statuses.subspan(first), aborted);
    statuses[first] = status;
  };
  if (!HasPorts(key)) {
    return fail_from(0, CheckSupported(key, ServiceConfig{}));
  }
  const auto actual = services_->Find(key);
  if (!actual.ok()) return fail_from(0, actual.status());
  std::optional<VirtualService> wanted = *actual;
  for (size_t i = 0; i < steps.size(); ++i) {
    const absl::Status status = std::visit(ToModel{wanted}, steps[i]);
    if (status.ok()) continue;
    fail_from(i, status);
    break;
  }
  const size_t good = static_cast<size_t>(
      std::ranges::find_if(statuses, [](const absl::Status& s) { return !s.ok(); }) -
      statuses.begin());
  if (good == 0) return;
  absl::Status done;
  if (wanted) {
    SortCanonically(wanted->reals);
    done = services_->Write(key, *wanted, clock_.Now());
  } else if (*actual) {
    done = services_->Remove(key, clock_.Now());
  }
  if (!done.ok()) fail_from(0, done);
}

absl::Status EbpfBackend::ApplyItem(const NodeItem& item, bool add, std::span<const Step> all) {
  if (const auto* attachment = std::get_if<Attachment>(&item)) return Set(*attachment, add);
  if (const auto* peer = std::get_if<TunnelPeer>(&item)) return Set(*peer, add);
  if (const auto* clamp = std::get_if<MssClamp>(&item)) return Set(*clamp, add);
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&item)) return Set(*timeout, add);
  if (const auto* vip = std::get_if<AnsweredVip>(&item)) return Set(*vip, add, all);
  return absl::InvalidArgumentError(ToString(item) + " is not for eBPF");
}

absl::Status EbpfBackend::Set(const Attachment& item, bool add) {
  const auto link = network_.LinkByName(item.interface);
  if (!link.ok() && link.status().code() == absl::StatusCode::kNotFound && !add) {
    return absl::OkStatus();  // it took our programs along
  }
  if (!link.ok()) return link.status();
  klvs_interface& slot = interfaces_[link->index % interfaces_.size()];
  std::atomic_ref<uint32_t> ifindex(slot.ifindex);
  if (!add) {
    KUBE_LVS_RETURN_IF_ERROR(programs_.Detach(*link));
    if (slot.ifindex == link->index) ifindex.store(0);
    return absl::OkStatus();
  }
  if (slot.ifindex != 0 && slot.ifindex != link->index) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto links, network_.Links());
    const auto other = std::ranges::find(links, slot.ifindex, &Link::index);
    if (other != links.end()) {
      return absl::FailedPreconditionError(
          "interfaces " + item.interface + " and " + other->name + " have the numbers " +
          std::to_string(link->index) + " and " + std::to_string(other->index) +
          ", which share a place in klvs_interfaces; make one of them anew");
    }
  }
  // The record first: what arrives on an interface without one is not served.
  const uint32_t flags = item.interface == kLocalLinkFar ? KLVS_INTERFACE_LOCAL : 0;
  if (slot.ifindex != link->index || slot.flags != flags ||
      !std::equal(link->mac.bytes.begin(), link->mac.bytes.end(), slot.mac)) {
    ifindex.store(0);
    std::ranges::copy(link->mac.bytes, slot.mac);
    slot.flags = flags;
    ifindex.store(link->index);
  }
  const auto report = programs_.Attach(*link);
  if (!report.ok()) ifindex.store(0);
  return report.status();
}

absl::Status EbpfBackend::Set(const TunnelPeer& item, bool add) {
  if (item.director.family != item.vip.family) {
    return absl::UnimplementedError(ToString(item) +
                                    ": eBPF unpacks IPv4 in IPv4 and IPv6 in IPv6; give the "
                                    "director an address of the VIP's family");
  }
  if (item.gue.port != 0) return Annotate(SetGuePeer(maps_, item, add), ToString(item));
  const klvs_tunnel_peer peer{ToWire(item.director), ToWire(item.vip)};
  const klvs_tunnel_peer6 peer6{ToWire6(item.director), ToWire6(item.vip)};
  const auto length = static_cast<uint32_t>(item.prefix_length);
  return Annotate(item.prefix_length == 0
                      ? PutOrErase(maps_, item.vip.IsV4(), add, kTunnelPeersMap, peer,
                                   kTunnelPeers6Map, peer6, 1)
                      : PutOrErase(maps_, item.vip.IsV4(), add, kTunnelNetsMap,
                                   klvs_tunnel_net{32 + length, peer}, kTunnelNets6Map,
                                   klvs_tunnel_net6{128 + length, peer6}, 1),
                  ToString(item));
}

absl::Status EbpfBackend::Set(const MssClamp& item, bool add) {
  if (item.mss == 0) return absl::InvalidArgumentError(ToString(item) + ": 0 is no segment size");
  const bool v4 = item.vip.IsV4();
  const __be32 key = ToWire(item.vip);
  const klvs_in6 key6 = ToWire6(item.vip);
  if (item.prefix_length != 0) {
    if (!add) {
      std::set<NodeItem> there;
      KUBE_LVS_RETURN_IF_ERROR(ReadNets(maps_, there));
      if (!there.contains(item)) return absl::OkStatus();  // another clamp replaced it
    }
    const auto length = static_cast<uint32_t>(item.prefix_length);
    return Annotate(PutOrErase(maps_, v4, add, kMssNetsMap, klvs_mss_net{length, key}, kMssNets6Map,
                               klvs_mss_net6{length, key6}, item.mss),
                    ToString(item));
  }
  if (!add) {
    const auto asked =
        v4 ? Get<uint32_t>(maps_, kMssClampsMap, key) : Get<uint32_t>(maps_, kMssClamps6Map, key6);
    KUBE_LVS_ASSIGN_OR_RETURN(const auto mss, asked);
    if (!mss || *mss != item.mss) return absl::OkStatus();  // another clamp replaced it
  }
  return Annotate(PutOrErase(maps_, v4, add, kMssClampsMap, key, kMssClamps6Map, key6, item.mss),
                  ToString(item));
}

absl::Status EbpfBackend::Set(const ConnectionTimeout& item, bool add) {
  uint32_t& jiffies = settings_->timeouts[StateOf(item.kind)];
  if (!add && jiffies != item.seconds * settings_->hz) return absl::OkStatus();  // another's
  const uint32_t seconds = add ? item.seconds : DefaultSeconds(item.kind);
  std::atomic_ref<uint32_t>(jiffies).store(seconds * settings_->hz);
  return absl::OkStatus();
}

absl::Status EbpfBackend::Set(const AnsweredVip& item, bool add, std::span<const Step> all) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto links, network_.Links());
  const auto link = std::ranges::find(links, item.interface, &Link::name);
  const Cidr vips = item.Vips();
  KUBE_LVS_ASSIGN_OR_RETURN(const auto record, addresses_->Find(vips));
  const bool answered = record && (record->flags & KLVS_ADDRESS_ANSWER_ARP) != 0;
  if (!add) {
    if (link != links.end()) KUBE_LVS_RETURN_IF_ERROR(network_.StopHearing(item.vip, *link));
    if (!answered || (link != links.end() && record->ifindex != link->index)) {
      return absl::OkStatus();  // another interface took it over
    }
    return services_->HasServices(vips) ? addresses_->StopAnswering(vips)
                                        : addresses_->RemoveVip(vips);
  }
  if (link == links.end()) {
    return absl::NotFoundError(ToString(item) + ": there is no interface " + item.interface);
  }
  if (answered && record->ifindex != link->index) {
    const auto other = std::ranges::find(links, record->ifindex, &Link::index);
    if (other != links.end()) {
      AnsweredVip there = item;
      there.interface = other->name;
      if (std::ranges::find(all, Step(RemoveItem{there})) == all.end()) {
        return absl::InvalidArgumentError(ToString(item) + ": it is answered on " + other->name +
                                          "; a VIP has one interface");
      }
    }
  }
  KUBE_LVS_RETURN_IF_ERROR(network_.HearQuestions(item.vip, *link));
  KUBE_LVS_RETURN_IF_ERROR(addresses_->Answer(vips, link->index, claim_until_));
  return network_.Announce(vips, *link);
}

NextHop EbpfBackend::WayToHere(const IpAddress& to) {
  const auto link = network_.LinkByName(kLocalLinkFar);
  if (!link.ok()) {
    NextHop local;
    local.local = true;
    return local;
  }
  return {.ifindex = link->index,
          .neighbour = to,
          .source = LocalLinkSource(to.family),
          .mtu = link->mtu,
          .source_mac = link->mac,
          .neighbour_mac = link->mac};
}

NextHop EbpfBackend::WayTo(const IpAddress& to, bool source_nat) {
  if (const auto known = ways_.find(to); known != ways_.end()) {
    return known->second.local && source_nat ? WayToHere(to) : known->second;
  }
  const auto asked = network_.Route(to);
  // Without a route the record says so: packets are dropped with that reason, and Refresh mends it
  // when the route is back.
  NextHop hop = asked.ok() ? *asked : NextHop{};
  if (!hop.local && hop.ifindex != 0) {
    // One that does not answer is asked again, but not at every notification that its own failure
    // makes. Meanwhile tc has the kernel resolve it packet by packet.
    const auto [asked_at, first] =
        kept_.try_emplace({hop.ifindex, hop.neighbour}, clock_.Now() - kAskAgain);
    if ((first || hop.neighbour_mac.IsZero()) && clock_.Now() - asked_at->second >= kAskAgain) {
      asked_at->second = clock_.Now();
      if (!network_.KeepResolved(hop).ok()) kept_.erase(asked_at);
    }
  }
  ways_.emplace(to, hop);
  return hop.local && source_nat ? WayToHere(to) : hop;
}

absl::Status EbpfBackend::Refresh() {
  network_.TakeChanges();
  ways_.clear();
  const absl::Status ways = services_->RefreshWays();
  ways_.clear();
  KUBE_LVS_RETURN_IF_ERROR(ways);
  KUBE_LVS_RETURN_IF_ERROR(RefreshInterfaces());
  KUBE_LVS_RETURN_IF_ERROR(RefreshHearing());
  KUBE_LVS_ASSIGN_OR_RETURN(const bool counts_matter, services_->CountsMatter());
  if (counts_matter) KUBE_LVS_RETURN_IF_ERROR(SweepConnections());
  if (!recounted_ || clock_.Now() - *recounted_ >= kRecountEvery) {
    KUBE_LVS_RETURN_IF_ERROR(RepairCounts().status());
  }
  return services_->Sweep(clock_.Now());
}

absl::Status EbpfBackend::SweepConnections() {
  const TimePoint now = clock_.Now();
  if (swept_ && now - *swept_ < kSweepEvery) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets, maps_.Capacity(kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets6, maps_.Capacity(kConns6Map));
  KUBE_LVS_RETURN_IF_ERROR(programs_.SweepConnections(sets, sets6));
  swept_ = now;
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> EbpfBackend::RepairCounts() {
  recounted_ = clock_.Now();
  const auto repaired = services_->RepairCounts([this] { return programs_.AwaitRunning(); });
  if (absl::IsUnimplemented(repaired.status())) return 0;  // then what differs may only move
  if (repaired.ok()) counts_repaired_ += *repaired;
  return repaired;
}

absl::Status EbpfBackend::RefreshInterfaces() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  for (klvs_interface& slot : interfaces_) {
    if (slot.ifindex == 0) continue;
    std::atomic_ref<uint32_t> ifindex(slot.ifindex);
    const auto link = std::ranges::find(links, slot.ifindex, &Link::index);
    if (link == links.end()) {
      ifindex.store(0);
      continue;
    }
    if (std::equal(link->mac.bytes.begin(), link->mac.bytes.end(), slot.mac)) continue;
    ifindex.store(0);
    std::ranges::copy(link->mac.bytes, slot.mac);
    ifindex.store(link->index);
  }
  return absl::OkStatus();
}

absl::Status EbpfBackend::RefreshHearing() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_->All());
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  for (const auto& [vips, record] : addresses) {
    if (vips.address.IsV4() || (record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) continue;
    const auto link = std::ranges::find(links, record.ifindex, &Link::index);
    if (link == links.end()) continue;
    // One that was down has lost it; one that has no IPv6 any more cannot have it.
    const absl::Status heard = network_.HearQuestions(vips.address, *link);
    if (!heard.ok() && heard.code() != absl::StatusCode::kNotFound) return heard;
  }
  return absl::OkStatus();
}

void EbpfBackend::SetClaims(bool by_one) {
  addresses_->SetSetting(KLVS_SETTING_CLAIMS, by_one);
}

absl::Status EbpfBackend::RenewClaims(uint64_t until_boottime_ns) {
  claim_until_ = until_boottime_ns;
  return addresses_->RenewClaims(until_boottime_ns);
}

absl::Status EbpfBackend::AnnounceAgain(const std::set<IpAddress>& vips) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  absl::Status status;
  const auto announce = [&](const Cidr& answered, const klvs_address& record) {
    if ((record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) return;
    const auto link = std::ranges::find(links, record.ifindex, &Link::index);
    if (link != links.end()) status.Update(network_.Announce(answered, *link));
  };
  for (const IpAddress& vip : vips) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto record, addresses_->Find(Cidr::Host(vip)));
    if (record) announce(Cidr::Host(vip), *record);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto networks, addresses_->Networks());
  for (const auto& [network, record] : networks) {
    if (vips.contains(network.address)) announce(network, record);
  }
  return status;
}

absl::StatusOr<std::set<std::string>> EbpfBackend::InterfacesOf(std::span<const RealServer> reals) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  std::set<std::string> out;
  std::set<IpAddress> asked;
  for (const RealServer& real : reals) {
    if (!asked.insert(real.at.ip).second) continue;
    const auto hop = network_.Route(real.at.ip);
    if (!hop.ok() && hop.status().code() != absl::StatusCode::kNotFound) return hop.status();
    if (!hop.ok() || hop->local) continue;
    const auto link = std::ranges::find(links, hop->ifindex, &Link::index);
    if (link != links.end() && !link->loopback) out.insert(link->name);
  }
  return out;
}

absl::StatusOr<std::vector<std::pair<Link, AttachReport>>> EbpfBackend::Attached() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  std::vector<std::pair<Link, AttachReport>> out;
  for (const Link& link : links) {
    // Only where our record is: a node has hundreds of interfaces.
    if (interfaces_[link.index % interfaces_.size()].ifindex != link.index) continue;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto report, programs_.Find(link));
    if (report) out.emplace_back(link, *report);
  }
  return out;
}

absl::StatusOr<std::vector<AttachReport>> EbpfBackend::Attachments() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attached, Attached());
  std::vector<AttachReport> out;
  for (const auto& [link, report] : attached) out.push_back(report);
  return out;
}

absl::StatusOr<Stats> EbpfBackend::ReadStats() {
  Stats out;
  // A connection that expired and that nobody met since is still counted.
  KUBE_LVS_RETURN_IF_ERROR(SweepConnections());
  KUBE_LVS_RETURN_IF_ERROR(services_->ReadStats(out));
  KUBE_LVS_ASSIGN_OR_RETURN(out.drops, ReadDrops());
  return out;
}

absl::StatusOr<std::map<std::string, uint64_t>> EbpfBackend::ReadDrops() {
  return ebpf::ReadDrops(maps_);
}

}  // namespace kube_lvs::ebpf
