#include "dataplane/ebpf/alone.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/service_map.h"

namespace kube_lvs::ebpf {
namespace {

bool IsServed(const Link& link, const std::vector<Link>& links) {
  // Without a MAC there is no Ethernet header, which the programs expect.
  if (link.loopback || link.mac.IsZero()) return false;
  if (link.name == kLocalLink || link.name == kLocalLinkFar) return false;  // ServeLocalClients
  // What comes in by a part has its routes by the whole, and comes in there, too. A VRF is no such
  // whole.
  const auto master = std::ranges::find(links, link.master, &Link::index);
  return link.master == 0 || (master != links.end() && master->kind == "vrf");
}

constexpr uint32_t kLeastMtuOfIpv6 = 1280;
constexpr uint32_t kGueOverhead = 12;  // UDP and GUE on top of the IP header

// What of a packet to the VIP fits the way to the real server.
uint32_t FittingMtu(const RealServer& real, const IpAddress& vip, uint32_t mtu) {
  uint32_t overhead = 0;
  if (real.method == ForwardingMethod::kTunnel) {
    overhead = (vip.IsV4() ? 20 : 40) + (real.tunnel.type == TunnelType::kGue ? kGueOverhead : 0);
  }
  // Or the devices would have no IPv6.
  return mtu < kLeastMtuOfIpv6 + overhead ? std::min(mtu, kLeastMtuOfIpv6) : mtu - overhead;
}

// By which clients on this host reach these rules' VIPs; nothing if all VIPs are its addresses.
std::set<NodeItem> LocalItems(const Rules& rules, Network& network) {
  std::map<IpAddress, std::optional<NextHop>> ways;
  const auto way = [&](const IpAddress& to) -> const std::optional<NextHop>& {
    const auto [it, first] = ways.try_emplace(to);
    if (!first) return it->second;
    if (auto hop = network.Route(to); hop.ok()) it->second = *std::move(hop);
    return it->second;
  };
  std::map<Cidr, IpAddress> sources;
  std::optional<uint32_t> mtu;
  for (const ReadService& rule : rules) {
    const auto vips = VipsOf(rule.key);
    if (!vips) continue;
    // The table local comes before all routes.
    if (const auto& here = way(vips->address); here && here->local) continue;
    for (const auto& [real, stats] : rule.reals) {
      const auto& hop = way(real.at.ip);
      if (!hop || hop->local || hop->source.family != vips->address.family) continue;
      // Where the real server, which has a route to it, sends its answers.
      sources.emplace(*vips, hop->source);
      const uint32_t fits = FittingMtu(real, vips->address, hop->mtu);
      mtu = std::min(mtu.value_or(fits), fits);
    }
  }
  std::set<NodeItem> items;
  if (mtu) items.insert(LocalLink{*mtu});
  for (const auto& [vips, source] : sources) {
    items.insert(LocalVip{vips.address, source, vips.IsHost() ? 0 : vips.length});
  }
  return items;
}

}  // namespace

absl::StatusOr<Rules> ReadSwept(MapStore& maps, Programs& programs, Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets, maps.Capacity(kConnsMap));
  // Connections that expired and that no packet met are still counted.
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets6, maps.Capacity(kConns6Map));
  KUBE_LVS_RETURN_IF_ERROR(programs.SweepConnections(sets, sets6));
  return ReadRules(maps, content);
}

absl::StatusOr<IpvsTimeouts> ReadTimeouts(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  const klvs_settings& is = settings[0];
  const uint32_t hz = std::max(is.hz, 1U);
  return IpvsTimeouts{.tcp_seconds = is.timeouts[KLVS_ESTABLISHED] / hz,
                      .tcp_fin_seconds = is.timeouts[KLVS_FIN_WAIT] / hz,
                      .udp_seconds = is.timeouts[KLVS_UDP] / hz};
}

absl::StatusOr<std::unique_ptr<Alone>> Alone::Adopt(MapStore& maps, Programs& programs,
                                                    Network& network, const Clock& clock,
                                                    host::LocalClients* local) {
  std::unique_ptr<Alone> out(new Alone(maps, programs, network, local));
  KUBE_LVS_ASSIGN_OR_RETURN(out->backend_, EbpfBackend::Adopt(maps, programs, network, clock));
  return out;
}

absl::Status Alone::Serve() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  for (const Link& link : links) {
    if (!IsServed(link, links)) continue;
    const absl::Status attached = programs_.Attach(link).status();
    // An interface that went meanwhile needs nothing.
    if (!attached.ok() && !absl::IsNotFound(attached)) return attached;
  }
  return backend_->Refresh();
}

absl::Status Alone::ServeLocalClients() {
  if (local_ == nullptr) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const Rules rules, ReadRules(maps_, Content::kRules));
  const std::set<NodeItem> wanted = LocalItems(rules, network_);
  KUBE_LVS_ASSIGN_OR_RETURN(const std::set<NodeItem> there, local_->Read());
  const Step detach = RemoveItem{Attachment{kLocalLinkFar}};
  for (const NodeItem& item : there) {
    if (wanted.contains(item)) continue;
    if (const auto* vip = std::get_if<LocalVip>(&item)) {
      KUBE_LVS_RETURN_IF_ERROR(local_->Remove(*vip));
    } else if (wanted.empty()) {
      KUBE_LVS_RETURN_IF_ERROR(backend_->Apply({&detach, 1})[0]);
      return local_->Remove(std::get<LocalLink>(item));
    }
  }
  absl::Status status;
  for (const NodeItem& item : wanted) {
    if (const auto* link = std::get_if<LocalLink>(&item)) {
      if (!there.contains(item)) KUBE_LVS_RETURN_IF_ERROR(local_->Add(*link));
      const Step attach = AddItem{Attachment{kLocalLinkFar}};
      KUBE_LVS_RETURN_IF_ERROR(backend_->Apply({&attach, 1})[0]);
    } else if (!there.contains(item)) {
      status.Update(local_->Add(std::get<LocalVip>(item)));
    }
  }
  return status;
}

std::vector<absl::Status> Alone::Apply(std::span<const Step> steps) {
  std::vector<absl::Status> statuses(steps.size());
  std::vector<size_t> waiting(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) waiting[i] = i;
  // The backend leaves out a service's steps after one that failed: they have another turn. Each
  // turn settles the first of those that wait.
  while (!waiting.empty()) {
    std::vector<Step> turn;
    for (const size_t i : waiting) turn.push_back(steps[i]);
    const auto results = backend_->Apply(turn);
    std::vector<size_t> left_out;
    for (size_t n = 0; n < waiting.size(); ++n) {
      statuses[waiting[n]] = results[n];
      if (absl::IsAborted(results[n]) && n > 0) left_out.push_back(waiting[n]);
    }
    waiting = std::move(left_out);
  }
  return statuses;
}

absl::Status Alone::RemoveServices() {
  KUBE_LVS_ASSIGN_OR_RETURN(const Rules rules, ReadRules(maps_, Content::kRules));
  std::vector<Step> steps;
  for (const ReadService& rule : rules) steps.emplace_back(RemoveService{rule.key});
  for (const absl::Status& status : Apply(steps)) KUBE_LVS_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

absl::Status Alone::Zero(const std::optional<ServiceKey>& key) {
  if (key) return ZeroOne(*key);
  KUBE_LVS_ASSIGN_OR_RETURN(const Rules rules, ReadRules(maps_, Content::kRules));
  for (const ReadService& rule : rules) KUBE_LVS_RETURN_IF_ERROR(ZeroOne(rule.key));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<klvs_service>> Alone::Find(const ServiceKey& key) {
  const std::optional<klvs_service> nothing;
  const auto vips = VipsOf(key);
  if (!vips) return nothing;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vip, FindAddress(maps_, *vips));
  if (!vip || (vip->flags & KLVS_ADDRESS_VIP) == 0) return nothing;
  return GetService(maps_, EncodeRecordKey(vip->vip_id, key));
}

absl::StatusOr<bool> Alone::Has(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto service, Find(key));
  return service.has_value();
}

absl::Status Alone::ZeroOne(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto service, Find(key));
  if (!service) return absl::NotFoundError(ToString(key) + " is not there");
  KUBE_LVS_ASSIGN_OR_RETURN(const auto lists, GetArray<klvs_list_entry>(maps_, kListsMap));
  if (size_t{service->list_base} + service->list_count > lists.size()) {
    return absl::DataLossError(ToString(key) + ": its list lies outside of the map of lists");
  }
  for (const klvs_list_entry& entry : lists.subspan(service->list_base, service->list_count)) {
    KUBE_LVS_RETURN_IF_ERROR(maps_.ClearPerCpu(kRealCountersMap, AsBytes(entry.real)));
  }
  return maps_.ClearPerCpu(kServiceCountersMap, AsBytes(service->id));
}

absl::Status Alone::SetTimeouts(const IpvsTimeouts& timeouts) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps_, kSettingsMap));
  klvs_settings& is = settings[0];
  const std::pair<uint32_t, uint32_t> values[] = {{KLVS_ESTABLISHED, timeouts.tcp_seconds},
                                                  {KLVS_FIN_WAIT, timeouts.tcp_fin_seconds},
                                                  {KLVS_UDP, timeouts.udp_seconds}};
  for (const auto& [state, seconds] : values) {
    if (uint64_t{seconds} * is.hz > INT32_MAX) {
      return absl::InvalidArgumentError("a timeout of " + std::to_string(seconds) +
                                        " s is too long: at most " +
                                        std::to_string(INT32_MAX / std::max(is.hz, 1U)) + " s");
    }
  }
  for (const auto& [state, seconds] : values) {
    if (seconds == 0) continue;
    std::atomic_ref<uint32_t>(is.timeouts[state]).store(seconds * is.hz);
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
