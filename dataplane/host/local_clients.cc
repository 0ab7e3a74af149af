#include "dataplane/host/local_clients.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace kube_lvs::host {
namespace {

constexpr uint8_t kProtocol = 142;
// Of both ends. It tells whose they are, for it is there from their first moment on.
using LinkAddress = std::array<uint8_t, 6>;
constexpr LinkAddress LinkAddressOf(LocalLinkOwner owner) {
  return {0x02, 'k', 'l', 'v', 's', static_cast<uint8_t>(owner == LocalLinkOwner::kLvsadm)};
}
constexpr unsigned kFlags = IFF_UP | IFF_NOARP;
constexpr uint8_t kNoAddresses = 1;  // IN6_ADDR_GEN_MODE_NONE

struct SocketDeleter {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct MessageDeleter {
  void operator()(nl_msg* message) const { nlmsg_free(message); }
};
using Socket = std::unique_ptr<nl_sock, SocketDeleter>;
using NlMessage = std::unique_ptr<nl_msg, MessageDeleter>;

struct Device {
  unsigned index = 0;
  std::optional<LocalLinkOwner> owner;
  bool as_made = false;  // its flags
  uint32_t mtu = 0;
};

// A route in the table main.
struct Route {
  Cidr to;
  std::optional<IpAddress> source;
  unsigned device = 0;
  bool ours = false;
};

struct Answers {
  std::optional<Device> device;
  std::vector<Route> routes;
};

std::optional<IpAddress> AddressOf(const nlattr* attribute, unsigned char family) {
  IpAddress ip;
  ip.family = family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  if (attribute == nullptr || nla_len(attribute) != static_cast<int>(ip.Size())) {
    return std::nullopt;
  }
  std::memcpy(ip.bytes.data(), nla_data(attribute), ip.Size());
  return ip;
}

std::optional<Device> DecodeDevice(nlmsghdr* header) {
  nlattr* attrs[IFLA_MAX + 1] = {};
  if (nlmsg_parse(header, sizeof(ifinfomsg), attrs, IFLA_MAX, nullptr) < 0) return std::nullopt;
  const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  Device device;
  device.index = static_cast<unsigned>(info->ifi_index);
  if (attrs[IFLA_MTU] != nullptr) device.mtu = nla_get_u32(attrs[IFLA_MTU]);
  const nlattr* mac = attrs[IFLA_ADDRESS];
  for (const LocalLinkOwner owner : {LocalLinkOwner::kAgent, LocalLinkOwner::kLvsadm}) {
    const LinkAddress is = LinkAddressOf(owner);
    if (mac != nullptr && nla_len(mac) == static_cast<int>(is.size()) &&
        std::memcmp(nla_data(mac), is.data(), is.size()) == 0) {
      device.owner = owner;
    }
  }
  device.as_made = (info->ifi_flags & kFlags) == kFlags;
  return device;
}

std::optional<Route> DecodeRoute(nlmsghdr* header) {
  nlattr* attrs[RTA_MAX + 1] = {};
  if (nlmsg_parse(header, sizeof(rtmsg), attrs, RTA_MAX, nullptr) < 0) return std::nullopt;
  const auto* info = static_cast<const rtmsg*>(nlmsg_data(header));
  const auto to = AddressOf(attrs[RTA_DST], info->rtm_family);
  if (info->rtm_table != RT_TABLE_MAIN || info->rtm_type != RTN_UNICAST || !to.has_value()) {
    return std::nullopt;
  }
  Route route;
  route.to = {*to, info->rtm_dst_len};
  route.source = AddressOf(attrs[RTA_PREFSRC], info->rtm_family);
  if (attrs[RTA_OIF] != nullptr) route.device = nla_get_u32(attrs[RTA_OIF]);
  route.ours = info->rtm_protocol == kProtocol;
  return route;
}

int Collect(nl_msg* message, void* out) {
  auto& answers = *static_cast<Answers*>(out);
  nlmsghdr* header = nlmsg_hdr(message);
  if (header->nlmsg_type == RTM_NEWLINK) answers.device = DecodeDevice(header);
  if (header->nlmsg_type == RTM_NEWROUTE) {
    if (auto route = DecodeRoute(header)) answers.routes.push_back(*std::move(route));
  }
  return NL_OK;
}

absl::Status Error(int result) {
  if (result >= 0) return absl::OkStatus();
  switch (-result) {
    case NLE_PERM:
      return absl::PermissionDeniedError("not permitted: it needs NET_ADMIN");
    case NLE_OPNOTSUPP:
      return absl::FailedPreconditionError(
          "this kernel has no veth devices; load the module veth on the node");
    case NLE_NOACCESS:
      return absl::FailedPreconditionError(
          "IPv6 is disabled there; set net.ipv6.conf.kube-lvs0.disable_ipv6=0");
    default:
      return absl::UnavailableError(nl_geterror(result));
  }
}

NlMessage Message(int type, int flags) { return NlMessage(nlmsg_alloc_simple(type, flags)); }

void PutEnd(nl_msg* message, const char* name, uint32_t mtu, const LinkAddress& mac) {
  ifinfomsg info{};
  info.ifi_flags = info.ifi_change = IFF_NOARP;
  nlmsg_append(message, &info, sizeof(info), NLMSG_ALIGNTO);
  nla_put_string(message, IFLA_IFNAME, name);
  nla_put(message, IFLA_ADDRESS, static_cast<int>(mac.size()), mac.data());
  nla_put_u32(message, IFLA_MTU, mtu);
}

class KernelLocalClients final : public LocalClients {
 public:
  KernelLocalClients(Socket socket, LocalLinkOwner owner)
      : socket_(std::move(socket)), owner_(owner) {
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, Collect, &answers_);
    // So that the kernel hands out the one table that is asked for (Linux 4.20); one that cannot
    // hands out all.
    const int on = 1;
    setsockopt(nl_socket_get_fd(socket_.get()), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
               sizeof(on));
  }

  absl::StatusOr<std::set<NodeItem>> Read() override {
    std::set<NodeItem> out;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto near, Find(kLocalLink));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto far, Find(kLocalLinkFar));
    if (!IsOurs(near)) return out;
    KUBE_LVS_RETURN_IF_ERROR(ReadRoutes());
    bool whole = IsOurs(far) && near->as_made && far->as_made && near->mtu == far->mtu;
    for (const Family family : Families()) {
      whole = whole && FindOurs(Cidr::Host(LocalLinkSource(family)), near->index) != nullptr;
    }
    out.insert(LocalLink{whole ? near->mtu : 0});
    for (const Route& route : answers_.routes) {
      if (!route.ours || route.device != near->index || !route.source) continue;
      const Cidr& to = route.to;
      out.insert(LocalVip{to.address, *route.source, to.IsHost() ? 0 : to.length});
    }
    return out;
  }

  absl::Status Add(const LocalLink& link) override {
    const std::string what = std::string("make ") + kLocalLink + " and " + kLocalLinkFar;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto near, Find(kLocalLink));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto far, Find(kLocalLinkFar));
    if (near && !IsOurs(near)) return Foreign(kLocalLink, *near);
    if (far && !IsOurs(far)) return Foreign(kLocalLinkFar, *far);
    if (!near) KUBE_LVS_RETURN_IF_ERROR(Annotate(Create(link.mtu), what));
    for (const char* name : {kLocalLink, kLocalLinkFar}) {
      KUBE_LVS_RETURN_IF_ERROR(Annotate(Configure(name, link.mtu), what));
    }
    for (const Family family : Families()) {
      KUBE_LVS_RETURN_IF_ERROR(
          Annotate(Error(ChangeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
                                     Cidr::Host(LocalLinkSource(family)), std::nullopt)),
                   "route " + LocalLinkSource(family).ToString() + " into " + kLocalLink));
    }
    return absl::OkStatus();
  }

  absl::Status Remove(const LocalLink&) override {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto there, Find(kLocalLink));
    if (!there) return absl::OkStatus();
    if (!IsOurs(there)) return Foreign(kLocalLink, *there);
    NlMessage message = Message(RTM_DELLINK, 0);
    ifinfomsg info{};
    info.ifi_index = static_cast<int>(there->index);
    nlmsg_append(message.get(), &info, sizeof(info), NLMSG_ALIGNTO);
    return Annotate(Send(std::move(message)), std::string("remove ") + kLocalLink);
  }

  absl::Status Add(const LocalVip& vip) override {
    const std::string what = "route " + vip.Vips().ShortText() + " into " + kLocalLink;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto link, Find(kLocalLink));
    if (!IsOurs(link)) return absl::NotFoundError(what + ": it is not there");
    int result = ChangeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, vip.Vips(), vip.source);
    if (result == -NLE_EXIST) {
      KUBE_LVS_RETURN_IF_ERROR(ReadRoutes());
      const Route* ours = FindOurs(vip.Vips(), link->index);
      if (ours == nullptr) {
        return absl::AlreadyExistsError(
            what +
            ": somebody else has a route to it, which is left alone; remove it there, or clients "
            "on this node go that way");
      }
      if (ours->source == vip.source) return absl::OkStatus();
      result = ChangeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, vip.Vips(), vip.source);
    }
    return Annotate(Error(result), what + " from " + vip.source.ToString());
  }

  absl::Status Remove(const LocalVip& vip) override {
    const std::string what = "remove the route of " + vip.Vips().ShortText();
    KUBE_LVS_ASSIGN_OR_RETURN(const auto link, Find(kLocalLink));
    if (!IsOurs(link)) return absl::OkStatus();
    // The kernel takes out what is like it: a route of this protocol into this device.
    const int result = ChangeRoute(RTM_DELROUTE, 0, vip.Vips(), vip.source);
    return result == -NLE_OBJ_NOTFOUND ? absl::OkStatus() : Annotate(Error(result), what);
  }

 private:
  bool IsOurs(const std::optional<Device>& device) const {
    return device.has_value() && device->owner == owner_;
  }

  static absl::Status Foreign(const std::string& name, const Device& device) {
    if (device.owner == LocalLinkOwner::kLvsadm) {
      return absl::AlreadyExistsError("interface " + name +
                                      " is of lvsadm's eBPF dataplane and is left alone; to take "
                                      "that off: lvsadm --dataplane ebpf -C");
    }
    return absl::AlreadyExistsError(
        "interface " + name +
        " was made by somebody else and is left alone; rename it, so that clients on this node "
        "reach VIPs");
  }

  // Those that the pair can have.
  static std::vector<Family> Families() {
    const auto disabled =
        ReadFile(std::string("/proc/sys/net/ipv6/conf/") + kLocalLink + "/disable_ipv6");
    if (!disabled.ok() || disabled->starts_with("1")) return {Family::kIpv4};
    return {Family::kIpv4, Family::kIpv6};
  }

  const Route* FindOurs(const Cidr& to, unsigned device) const {
    const auto it = std::ranges::find_if(answers_.routes, [&](const Route& route) {
      return route.ours && route.to == to && route.device == device;
    });
    return it == answers_.routes.end() ? nullptr : &*it;
  }

  absl::StatusOr<std::optional<Device>> Find(const char* name) {
    answers_.device.reset();
    ifinfomsg request{};
    request.ifi_index = static_cast<int>(if_nametoindex(name));
    if (request.ifi_index == 0) return std::optional<Device>();
    NlMessage message = Message(RTM_GETLINK, 0);
    nlmsg_append(message.get(), &request, sizeof(request), NLMSG_ALIGNTO);
    int result = nl_send_auto(socket_.get(), message.get());
    if (result >= 0) result = nl_recvmsgs_default(socket_.get());
    if (result == -NLE_NODEV) return std::optional<Device>();
    if (result >= 0) result = nl_wait_for_ack(socket_.get());
    if (result < 0) return Annotate(Error(result), std::string("read interface ") + name);
    return answers_.device;
  }

  absl::Status ReadRoutes() {
    answers_.routes.clear();
    for (const unsigned char family : {AF_INET, AF_INET6}) {
      rtmsg request{};
      request.rtm_family = family;
      request.rtm_table = RT_TABLE_MAIN;
      int result =
          nl_send_simple(socket_.get(), RTM_GETROUTE, NLM_F_DUMP, &request, sizeof(request));
      if (result >= 0) result = nl_recvmsgs_default(socket_.get());
      // A kernel without this family, or a namespace without any route.
      if (result == -NLE_OBJ_NOTFOUND || result == -NLE_AF_NOSUPPORT) continue;
      if (result < 0) return Annotate(Error(result), "read routes");
    }
    return absl::OkStatus();
  }

  absl::Status Create(uint32_t mtu) {
    NlMessage message = Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    PutEnd(message.get(), kLocalLink, mtu, LinkAddressOf(owner_));
    nlattr* link = nla_nest_start(message.get(), IFLA_LINKINFO);
    nla_put_string(message.get(), IFLA_INFO_KIND, "veth");
    nlattr* data = nla_nest_start(message.get(), IFLA_INFO_DATA);
    nlattr* peer = nla_nest_start(message.get(), VETH_INFO_PEER);
    PutEnd(message.get(), kLocalLinkFar, mtu, LinkAddressOf(owner_));
    nla_nest_end(message.get(), peer);
    nla_nest_end(message.get(), data);
    nla_nest_end(message.get(), link);
    return Send(std::move(message));
  }

  absl::Status Configure(const char* name, uint32_t mtu) {
    const int index = static_cast<int>(if_nametoindex(name));
    // Without addresses of its own it sends nothing by itself. Before it is up, or it would have
    // one already; where there is no IPv6, there is nothing to say.
    NlMessage quiet = Message(RTM_NEWLINK, 0);
    ifinfomsg info{};
    info.ifi_index = index;
    nlmsg_append(quiet.get(), &info, sizeof(info), NLMSG_ALIGNTO);
    nlattr* families = nla_nest_start(quiet.get(), IFLA_AF_SPEC);
    nlattr* v6 = nla_nest_start(quiet.get(), AF_INET6);
    nla_put_u8(quiet.get(), IFLA_INET6_ADDR_GEN_MODE, kNoAddresses);
    nla_nest_end(quiet.get(), v6);
    nla_nest_end(quiet.get(), families);
    nl_send_sync(socket_.get(), quiet.release());

    NlMessage message = Message(RTM_NEWLINK, 0);
    info.ifi_flags = info.ifi_change = kFlags;
    nlmsg_append(message.get(), &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put_u32(message.get(), IFLA_MTU, mtu);
    return Send(std::move(message));
  }

  // As netlink says.
  int ChangeRoute(int type, int flags, const Cidr& to, const std::optional<IpAddress>& source) {
    const IpAddress& first = to.address;
    rtmsg info{};
    info.rtm_family = first.IsV4() ? AF_INET : AF_INET6;
    info.rtm_dst_len = static_cast<unsigned char>(to.length);
    info.rtm_table = RT_TABLE_MAIN;
    info.rtm_protocol = kProtocol;
    info.rtm_scope = RT_SCOPE_LINK;
    info.rtm_type = RTN_UNICAST;
    NlMessage message = Message(type, flags);
    nlmsg_append(message.get(), &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put(message.get(), RTA_DST, static_cast<int>(first.Size()), first.bytes.data());
    nla_put_u32(message.get(), RTA_OIF, if_nametoindex(kLocalLink));
    if (source.has_value()) {
      nla_put(message.get(), RTA_PREFSRC, static_cast<int>(source->Size()), source->bytes.data());
    }
    return nl_send_sync(socket_.get(), message.release());  // which frees it
  }

  absl::Status Send(NlMessage message) {
    return Error(nl_send_sync(socket_.get(), message.release()));  // which frees it
  }

  Socket socket_;
  const LocalLinkOwner owner_;
  Answers answers_;  // of the last requests
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalClients>> OpenLocalClients(LocalLinkOwner owner) {
  Socket socket(nl_socket_alloc());
  if (socket == nullptr) return absl::InternalError("no memory for a netlink socket");
  if (const int result = nl_connect(socket.get(), NETLINK_ROUTE); result < 0) {
    return absl::UnavailableError(std::string("open a route netlink socket: ") +
                                  nl_geterror(result));
  }
  return std::make_unique<KernelLocalClients>(std::move(socket), owner);
}

}  // namespace kube_lvs::host
