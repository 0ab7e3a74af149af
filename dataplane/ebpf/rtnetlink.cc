#include "dataplane/ebpf/rtnetlink.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <span>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/host/announce.h"

namespace kube_lvs::ebpf {
namespace {

// How many ARP announcements of each form: one may be lost, switches drop none of many.
constexpr int kAnnouncements = 3;
constexpr uint8_t kOurProtocol = 187;  // as of our routes and addresses

absl::Status Errno(const std::string& what, int error) {
  const std::string text = what + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ESRCH:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EACCES:  // a "prohibit" route
    case EINVAL:  // a "blackhole" route
      return absl::NotFoundError(text);
    case EPERM:
      return absl::PermissionDeniedError(text + " (CAP_NET_ADMIN and CAP_NET_RAW are needed)");
    case ENOBUFS:
    case EAGAIN:
    case EINTR:
    case EBUSY:
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

// One request: a fixed header of the kind that its type wants, and attributes.
class Request {
 public:
  template <typename Header>
  Request(uint16_t type, uint16_t flags, const Header& header) {
    nlmsghdr base{};
    base.nlmsg_type = type;
    base.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    Append(&base, sizeof base);
    Append(&header, sizeof header);
  }

  void Add(uint16_t type, std::span<const uint8_t> value) {
    rtattr attribute{};
    attribute.rta_type = type;
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(value.size()));
    Append(&attribute, sizeof attribute);
    Append(value.data(), value.size());
  }
  void Add(uint16_t type, uint32_t value) {
    std::array<uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &value, sizeof value);
    Add(type, std::span<const uint8_t>(bytes));
  }
  void Add(uint16_t type, const IpAddress& ip) {
    Add(type, std::span<const uint8_t>(ip.bytes.data(), ip.Size()));
  }

  std::span<uint8_t> Finish(uint32_t sequence) {
    nlmsghdr base;
    std::memcpy(&base, bytes_.data(), sizeof base);
    base.nlmsg_len = static_cast<uint32_t>(bytes_.size());
    base.nlmsg_seq = sequence;
    std::memcpy(bytes_.data(), &base, sizeof base);
    return bytes_;
  }

 private:
  void Append(const void* data, size_t size) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  std::vector<uint8_t> bytes_;
};

// The attributes of a message, by type; those of unknown types are kept and ignored.
class Attributes {
 public:
  explicit Attributes(std::span<const uint8_t> bytes) {
    while (bytes.size() >= sizeof(rtattr)) {
      rtattr header;
      std::memcpy(&header, bytes.data(), sizeof header);
      if (header.rta_len < sizeof header || header.rta_len > bytes.size()) return;
      all_.emplace_back(header.rta_type & NLA_TYPE_MASK,
                        bytes.subspan(sizeof header, header.rta_len - sizeof header));
      bytes = bytes.subspan(std::min<size_t>(RTA_ALIGN(header.rta_len), bytes.size()));
    }
  }
  std::span<const uint8_t> Get(uint16_t type) const {
    for (const auto& [t, value] : all_) {
      if (t == type) return value;
    }
    return {};
  }
  bool Has(uint16_t type) const {
    return std::ranges::any_of(all_, [type](const auto& a) { return a.first == type; });
  }
  uint32_t U32(uint16_t type) const {
    uint32_t out = 0;
    if (const auto value = Get(type); value.size() >= sizeof out) {
      std::memcpy(&out, value.data(), sizeof out);
    }
    return out;
  }
  std::string Text(uint16_t type) const {
    const auto value = Get(type);
    const auto end = std::ranges::find(value, uint8_t{0});
    return std::string(value.begin(), end);
  }
  MacAddress Mac(uint16_t type) const {
    MacAddress out;
    if (const auto value = Get(type); value.size() == out.bytes.size()) {
      std::ranges::copy(value, out.bytes.begin());
    }
    return out;
  }

 private:
  std::vector<std::pair<uint16_t, std::span<const uint8_t>>> all_;
};

IpAddress AddressOf(std::span<const uint8_t> bytes) {
  IpAddress out;
  out.family = bytes.size() == 16 ? Family::kIpv6 : Family::kIpv4;
  std::copy_n(bytes.begin(), std::min(bytes.size(), out.bytes.size()), out.bytes.begin());
  return out;
}

uint8_t FamilyOf(const IpAddress& ip) { return ip.IsV4() ? AF_INET : AF_INET6; }

absl::StatusOr<UniqueFd> OpenRoute(uint32_t groups) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.ok()) return Errno("rtnetlink socket", errno);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Errno("rtnetlink bind", errno);
  }
  return fd;
}

Link DecodeLink(std::span<const uint8_t> payload) {
  Link out;
  if (payload.size() < sizeof(ifinfomsg)) return out;
  ifinfomsg header;
  std::memcpy(&header, payload.data(), sizeof header);
  const Attributes attributes(payload.subspan(NLMSG_ALIGN(sizeof header)));
  out.index = static_cast<uint32_t>(header.ifi_index);
  out.name = attributes.Text(IFLA_IFNAME);
  out.kind = Attributes(attributes.Get(IFLA_LINKINFO)).Text(IFLA_INFO_KIND);
  out.hardware = attributes.Has(IFLA_PARENT_DEV_NAME) && out.kind.empty();
  out.loopback = (header.ifi_flags & IFF_LOOPBACK) != 0;
  out.up = (header.ifi_flags & IFF_UP) != 0;
  out.mtu = attributes.U32(IFLA_MTU);
  out.mac = attributes.Mac(IFLA_ADDRESS);
  out.master = attributes.U32(IFLA_MASTER);
  // A number of another namespace means another link here.
  if (!attributes.Has(IFLA_LINK_NETNSID)) out.lower = attributes.U32(IFLA_LINK);
  return out;
}

class KernelNetwork final : public Network {
 public:
  KernelNetwork(UniqueFd requests, UniqueFd changes, bool announces)
      : requests_(std::move(requests)), changes_(std::move(changes)) {
    if (!announces) {
      packets_error_ = EOPNOTSUPP;
      return;
    }
    // Opened here, because a socket belongs to the namespace of the thread that opens it. Only
    // directors need it, so that lacking the right to it is an error when it is used.
    packets_.Reset(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!packets_.ok()) packets_error_ = errno;
  }

  absl::StatusOr<NextHop> Route(const IpAddress& to) override {
    rtmsg header{};
    header.rtm_family = FamilyOf(to);
    header.rtm_dst_len = static_cast<uint8_t>(to.Bits());
    Request request(RTM_GETROUTE, 0, header);
    request.Add(RTA_DST, to);
    NextHop hop;
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(Ask(request, RTM_NEWROUTE,
                     [&](std::span<const uint8_t> payload) {
                       rtmsg route;
                       if (payload.size() < sizeof route) return;
                       std::memcpy(&route, payload.data(), sizeof route);
                       const Attributes a(payload.subspan(NLMSG_ALIGN(sizeof route)));
                       hop.local = route.rtm_type == RTN_LOCAL;
                       hop.ifindex = a.U32(RTA_OIF);
                       hop.neighbour = a.Has(RTA_GATEWAY) ? AddressOf(a.Get(RTA_GATEWAY)) : to;
                       if (a.Has(RTA_PREFSRC)) hop.source = AddressOf(a.Get(RTA_PREFSRC));
                       hop.mtu = Attributes(a.Get(RTA_METRICS)).U32(RTAX_MTU);
                     }),
                 "route to " + to.ToString()));
    if (hop.local) {
      hop = NextHop();
      hop.local = true;
      return hop;
    }
    auto known = links_.find(hop.ifindex);
    if (known == links_.end()) {
      ifinfomsg of{};
      of.ifi_index = static_cast<int>(hop.ifindex);
      KUBE_LVS_ASSIGN_OR_RETURN(Link asked, AskLink(Request(RTM_GETLINK, 0, of)));
      known = links_.emplace(hop.ifindex, std::move(asked)).first;
    }
    const Link& link = known->second;
    if (hop.mtu == 0 || hop.mtu > link.mtu) hop.mtu = link.mtu;
    hop.source_mac = link.mac;
    KUBE_LVS_ASSIGN_OR_RETURN(const Entry entry, Neighbour(hop));
    hop.neighbour_mac = entry.mac;
    return hop;
  }

  absl::Status KeepResolved(const NextHop& hop) override {
    if (hop.local) return absl::OkStatus();
    // One that an administrator set would lose its address.
    KUBE_LVS_ASSIGN_OR_RETURN(const Entry entry, Neighbour(hop));
    if ((entry.state & (NUD_PERMANENT | NUD_NOARP)) != 0) return absl::OkStatus();
    if (managed_) {
      const absl::Status managed = SetNeighbour(hop, NTF_EXT_MANAGED, 0);
      if (managed.ok()) return managed;
      if (managed.code() != absl::StatusCode::kNotFound &&
          managed.code() != absl::StatusCode::kInternal) {
        return managed;
      }
      managed_ = false;  // a kernel before 5.16
    }
    return SetNeighbour(hop, 0, NTF_USE);
  }

  absl::StatusOr<std::vector<Link>> Links() override {
    std::vector<Link> out;
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(Ask(Request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{}), RTM_NEWLINK,
                     [&](std::span<const uint8_t> payload) { out.push_back(DecodeLink(payload)); }),
                 "list of interfaces"));
    for (Link& link : out) link.carries_vlans = CarriesVlans(link, out);
    return out;
  }

  absl::StatusOr<Link> LinkByName(const std::string& name) override {
    if (name.empty() || name.size() >= IFNAMSIZ) {
      return absl::NotFoundError("no interface can be named \"" + name + "\"");
    }
    Request request(RTM_GETLINK, 0, ifinfomsg{});
    std::vector<uint8_t> text(name.begin(), name.end());
    text.push_back(0);
    request.Add(IFLA_IFNAME, std::span<const uint8_t>(text));
    auto link = AskLink(std::move(request));
    if (!link.ok()) return Annotate(link.status(), "interface " + name);
    KUBE_LVS_ASSIGN_OR_RETURN(const auto links, Links());
    link->carries_vlans = CarriesVlans(*link, links);
    return link;
  }

  absl::Status HearQuestions(const IpAddress& vip, const Link& link) override {
    if (vip.IsV4()) return absl::OkStatus();
    Request request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, ProxyOf(vip, link));
    request.Add(NDA_DST, vip);
    const std::array<uint8_t, 1> protocol = {kOurProtocol};
    request.Add(NDA_PROTOCOL, std::span<const uint8_t>(protocol));
    return Annotate(Ask(std::move(request), 0, [](std::span<const uint8_t>) {}),
                    "proxy neighbour " + vip.ToString() + " on " + link.name);
  }

  absl::Status StopHearing(const IpAddress& vip, const Link& link) override {
    if (vip.IsV4()) return absl::OkStatus();
    Request request(RTM_DELNEIGH, NLM_F_ACK, ProxyOf(vip, link));
    request.Add(NDA_DST, vip);
    const absl::Status gone = Ask(std::move(request), 0, [](std::span<const uint8_t>) {});
    if (gone.code() == absl::StatusCode::kNotFound) return absl::OkStatus();
    return Annotate(gone, "proxy neighbour " + vip.ToString() + " on " + link.name);
  }

  absl::Status Announce(const Cidr& vips, const Link& link) override {
    if (!packets_.ok()) return Errno("packet socket", packets_error_);
    if (vips.IsHost() || !vips.address.IsV4()) return Announce(vips.address, kAnnouncements, link);
    const uint32_t first = vips.address.V4(), last = vips.Last().V4();
    for (uint32_t i = 0; i <= last - first; ++i) {
      KUBE_LVS_RETURN_IF_ERROR(Announce(IpAddress::FromV4(first + i), 1, link));
    }
    return absl::OkStatus();
  }

  absl::Status Announce(const IpAddress& vip, int times, const Link& link) {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(vip.IsV4() ? ETH_P_ARP : ETH_P_IPV6);
    to.sll_ifindex = static_cast<int>(link.index);
    to.sll_halen = 6;
    for (int i = 0; i < times; ++i) {
      for (const auto& frame : host::Announcements(vip, link.mac)) {
        if (sendto(packets_.get(), frame.data(), frame.size(), 0,
                   reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0) {
          return Errno("announcing " + vip.ToString() + " on " + link.name, errno);
        }
      }
    }
    return absl::OkStatus();
  }

  int fd() const override { return changes_.get(); }

  bool TakeChanges() override {
    std::array<uint8_t, 16384> buffer;
    bool changed = false;
    while (true) {
      const ssize_t got = recv(changes_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got > 0 || (got < 0 && (errno == ENOBUFS || errno == EINTR))) {
        changed = true;
        continue;
      }
      if (changed) links_.clear();
      return changed;
    }
  }

 private:
  static ndmsg ProxyOf(const IpAddress& vip, const Link& link) {
    ndmsg header{};
    header.ndm_family = FamilyOf(vip);
    header.ndm_ifindex = static_cast<int>(link.index);
    header.ndm_flags = NTF_PROXY;
    return header;
  }

  absl::StatusOr<Link> AskLink(Request request) {
    Link link;
    KUBE_LVS_RETURN_IF_ERROR(Ask(std::move(request), RTM_NEWLINK,
                                 [&](std::span<const uint8_t> p) { link = DecodeLink(p); }));
    return link;
  }

  struct Entry {
    uint16_t state = NUD_NONE;
    MacAddress mac;  // zero while it is not known
  };

  absl::StatusOr<Entry> Neighbour(const NextHop& hop) {
    ndmsg header{};
    header.ndm_family = FamilyOf(hop.neighbour);
    header.ndm_ifindex = static_cast<int>(hop.ifindex);
    Request request(RTM_GETNEIGH, 0, header);
    request.Add(NDA_DST, hop.neighbour);
    Entry entry;
    const absl::Status status =
        Ask(std::move(request), RTM_NEWNEIGH, [&](std::span<const uint8_t> payload) {
          ndmsg found;
          if (payload.size() < sizeof found) return;
          std::memcpy(&found, payload.data(), sizeof found);
          constexpr int kValid =
              NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
          entry.state = found.ndm_state;
          if ((found.ndm_state & kValid) == 0) return;
          entry.mac = Attributes(payload.subspan(NLMSG_ALIGN(sizeof found))).Mac(NDA_LLADDR);
        });
    if (!status.ok() && status.code() != absl::StatusCode::kNotFound) {
      return Annotate(status, "neighbour " + hop.neighbour.ToString());
    }
    return entry;
  }

  absl::Status SetNeighbour(const NextHop& hop, uint32_t extended, uint8_t flags) {
    ndmsg header{};
    header.ndm_family = FamilyOf(hop.neighbour);
    header.ndm_ifindex = static_cast<int>(hop.ifindex);
    header.ndm_flags = flags;
    Request request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, header);
    request.Add(NDA_DST, hop.neighbour);
    if (extended != 0) request.Add(NDA_FLAGS_EXT, extended);
    return Annotate(Ask(std::move(request), 0, [](std::span<const uint8_t>) {}),
                    "neighbour " + hop.neighbour.ToString());
  }

  // Sends the request and hands each answer of type `want` to `take`; without NLM_F_DUMP and
  // NLM_F_ACK the first answer ends it.
  absl::Status Ask(Request request, uint16_t want,
                   const std::function<void(std::span<const uint8_t>)>& take) {
    const uint32_t sequence = ++sequence_;
    const auto bytes = request.Finish(sequence);
    nlmsghdr sent;
    std::memcpy(&sent, bytes.data(), sizeof sent);
    const bool until_done = (sent.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (send(requests_.get(), bytes.data(), bytes.size(), 0) < 0) {
      return Errno("rtnetlink send", errno);
    }
    std::vector<uint8_t> buffer(65536);
    while (true) {
      const ssize_t got = recv(requests_.get(), buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Errno("rtnetlink receive", errno);
      std::span<const uint8_t> rest(buffer.data(), static_cast<size_t>(got));
      while (rest.size() >= sizeof(nlmsghdr)) {
        nlmsghdr header;
        std::memcpy(&header, rest.data(), sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
        const auto payload = rest.subspan(sizeof header, header.nlmsg_len - sizeof header);
        rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
        if (header.nlmsg_seq != sequence) continue;  // of an earlier request that failed half-way
        if (header.nlmsg_type == NLMSG_ERROR) {
          int error = 0;
          if (payload.size() >= sizeof error) std::memcpy(&error, payload.data(), sizeof error);
          return error == 0 ? absl::OkStatus() : Errno("rtnetlink", -error);
        }
        if (header.nlmsg_type == NLMSG_DONE) return absl::OkStatus();
        if (header.nlmsg_type == want) take(payload);
        if (!until_done) return absl::OkStatus();
      }
    }
  }

  UniqueFd requests_;
  UniqueFd changes_;
  UniqueFd packets_;
  int packets_error_ = 0;
  uint32_t sequence_ = 0;
  bool managed_ = true;
  std::map<uint32_t, Link> links_;  // as asked since the last change
};

absl::StatusOr<std::unique_ptr<Network>> New(bool announces) {
  KUBE_LVS_ASSIGN_OR_RETURN(UniqueFd requests, OpenRoute(0));
  KUBE_LVS_ASSIGN_OR_RETURN(UniqueFd changes,
                            OpenRoute(RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE |
                                      RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_IFADDR));
  // With net.ipv4.nexthop_compat_mode 0 it changes with no word of the routes that use it.
  const int nexthops = RTNLGRP_NEXTHOP;
  if (setsockopt(changes.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nexthops, sizeof nexthops) !=
      0) {
    return Errno("listening for nexthops", errno);
  }
  // A deaf kernel must not hang the agent's loop.
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  if (setsockopt(requests.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
    return Errno("rtnetlink timeout", errno);
  }
  return std::make_unique<KernelNetwork>(std::move(requests), std::move(changes), announces);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Network>> NewKernelNetwork() { return New(true); }
absl::StatusOr<std::unique_ptr<Network>> NewSilentKernelNetwork() { return New(false); }

}  // namespace kube_lvs::ebpf
