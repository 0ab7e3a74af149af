#include "dataplane/ebpf/node_items.h"

#include <algorithm>
#include <atomic>

#include "base/status.h"
#include "dataplane/ebpf/tunnel_items.h"

namespace kube_lvs::ebpf {
namespace {

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

}  // namespace

bool NodeItems::Takes(const NodeItem& item) {
  if (const auto* vip = std::get_if<AnsweredVip>(&item)) return vip->dataplane == Dataplane::kEbpf;
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&item)) {
    return timeout->dataplane == Dataplane::kEbpf;
  }
  return std::holds_alternative<Attachment>(item) || std::holds_alternative<TunnelPeer>(item) ||
         std::holds_alternative<MssClamp>(item);
}

absl::Status NodeItems::Read(std::set<NodeItem>& items) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attached, Attached());
  for (const auto& [link, report] : attached) items.insert(Attachment{link.name});
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_.All());
  for (const auto& [vips, record] : addresses) {
    if ((record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) continue;
    const auto link = std::ranges::find(links, record.ifindex, &Link::index);
    if (link == links.end()) continue;  // the interface is gone: not answered
    items.insert(
        AnsweredVip{Dataplane::kEbpf, vips.address, link->name, vips.IsHost() ? 0 : vips.length});
  }
  for (const ConnectionKind kind : kKinds) {
    const uint32_t jiffies = settings_.timeouts[StateOf(kind)];
    if (jiffies == DefaultSeconds(kind) * settings_.hz) continue;
    items.insert(ConnectionTimeout{Dataplane::kEbpf, kind, jiffies / settings_.hz});
  }
  return ReadTunnelItems(maps_, items);
}

absl::Status NodeItems::Apply(const NodeItem& item, bool add, std::span<const Step> all) {
  if (const auto* attachment = std::get_if<Attachment>(&item)) return Set(*attachment, add);
  if (const auto* peer = std::get_if<TunnelPeer>(&item)) return SetTunnelPeer(maps_, *peer, add);
  if (const auto* clamp = std::get_if<MssClamp>(&item)) return SetMssClamp(maps_, *clamp, add);
  if (const auto* timeout = std::get_if<ConnectionTimeout>(&item)) return Set(*timeout, add);
  if (const auto* vip = std::get_if<AnsweredVip>(&item)) return Set(*vip, add, all);
  return absl::InvalidArgumentError(ToString(item) + " is not for eBPF");
}

absl::Status NodeItems::Set(const Attachment& item, bool add) {
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

absl::Status NodeItems::Set(const ConnectionTimeout& item, bool add) {
  uint32_t& jiffies = settings_.timeouts[StateOf(item.kind)];
  if (!add && jiffies != item.seconds * settings_.hz) return absl::OkStatus();  // another's
  const uint32_t seconds = add ? item.seconds : DefaultSeconds(item.kind);
  std::atomic_ref<uint32_t>(jiffies).store(seconds * settings_.hz);
  return absl::OkStatus();
}

absl::Status NodeItems::Set(const AnsweredVip& item, bool add, std::span<const Step> all) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto links, network_.Links());
  const auto link = std::ranges::find(links, item.interface, &Link::name);
  const Cidr vips = item.Vips();
  KUBE_LVS_ASSIGN_OR_RETURN(const auto record, addresses_.Find(vips));
  const bool answered = record && (record->flags & KLVS_ADDRESS_ANSWER_ARP) != 0;
  if (!add) {
    if (link != links.end()) KUBE_LVS_RETURN_IF_ERROR(network_.StopHearing(item.vip, *link));
    if (!answered || (link != links.end() && record->ifindex != link->index)) {
      return absl::OkStatus();  // another interface took it over
    }
    return services_.HasServices(vips) ? addresses_.StopAnswering(vips)
                                        : addresses_.RemoveVip(vips);
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
  KUBE_LVS_RETURN_IF_ERROR(addresses_.Answer(vips, link->index, claim_until_));
  return network_.Announce(vips, *link);
}

absl::Status NodeItems::Refresh() {
  KUBE_LVS_RETURN_IF_ERROR(RefreshInterfaces());
  return RefreshHearing();
}

absl::Status NodeItems::RefreshInterfaces() {
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

absl::Status NodeItems::RefreshHearing() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_.All());
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

absl::Status NodeItems::RenewClaims(uint64_t until_boottime_ns) {
  claim_until_ = until_boottime_ns;
  return addresses_.RenewClaims(until_boottime_ns);
}

absl::Status NodeItems::AnnounceAgain(const std::set<IpAddress>& vips) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  absl::Status status;
  const auto announce = [&](const Cidr& answered, const klvs_address& record) {
    if ((record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0) return;
    const auto link = std::ranges::find(links, record.ifindex, &Link::index);
    if (link != links.end()) status.Update(network_.Announce(answered, *link));
  };
  for (const IpAddress& vip : vips) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto record, addresses_.Find(Cidr::Host(vip)));
    if (record) announce(Cidr::Host(vip), *record);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto networks, addresses_.Networks());
  for (const auto& [network, record] : networks) {
    if (vips.contains(network.address)) announce(network, record);
  }
  return status;
}

absl::StatusOr<std::vector<std::pair<Link, AttachReport>>> NodeItems::Attached() {
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

absl::StatusOr<std::vector<AttachReport>> NodeItems::Attachments() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto attached, Attached());
  std::vector<AttachReport> out;
  for (const auto& [link, report] : attached) out.push_back(report);
  return out;
}

}  // namespace kube_lvs::ebpf
