#include "node-agent/facts/routes.h"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace kube_lvs {
namespace {

struct FreeCallbacks {
  void operator()(nl_cb* callbacks) const { nl_cb_put(callbacks); }
};

struct Leg {
  int interface = 0;
  std::optional<IpAddress> gateway;
};

struct Route {
  Cidr destination;
  uint32_t metric = 0;
  std::vector<Leg> legs;
  uint32_t nexthop = 0;  // of a nexthop object whose legs are not told with the route; else 0
};

struct Nexthop {
  std::optional<Leg> leg;
  std::vector<uint32_t> members;  // of a group
};

std::optional<IpAddress> ToAddress(int family, const void* bytes, int length) {
  IpAddress ip;
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  ip.family = family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  if (length != static_cast<int>(ip.Size())) return std::nullopt;
  std::memcpy(ip.bytes.data(), bytes, ip.Size());
  return ip;
}

std::optional<IpAddress> ToAddress(int family, const nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  return ToAddress(family, nla_data(attribute), nla_len(attribute));
}

// A gateway of the route's family, or (RTA_VIA) of another one.
std::optional<IpAddress> GatewayOf(int family, nlattr* const* attributes) {
  if (attributes[RTA_GATEWAY] != nullptr) return ToAddress(family, attributes[RTA_GATEWAY]);
  const nlattr* via = attributes[RTA_VIA];
  constexpr int kFamily = sizeof(rtvia::rtvia_family);
  if (via == nullptr || nla_len(via) < kFamily) return std::nullopt;
  const auto* hop = static_cast<const rtvia*>(nla_data(via));
  return ToAddress(hop->rtvia_family, hop->rtvia_addr, nla_len(via) - kFamily);
}

std::vector<Leg> LegsOf(int family, const nlattr* multipath) {
  std::vector<Leg> legs;
  auto* hop = static_cast<rtnexthop*>(nla_data(multipath));
  for (int left = nla_len(multipath); RTNH_OK(hop, left);) {
    nlattr* attributes[RTA_MAX + 1] = {};
    const int length = hop->rtnh_len - static_cast<int>(RTNH_LENGTH(0));
    if (nla_parse(attributes, RTA_MAX, reinterpret_cast<nlattr*>(RTNH_DATA(hop)), length,
                  nullptr) == 0) {
      legs.push_back({hop->rtnh_ifindex, GatewayOf(family, attributes)});
    }
    left -= static_cast<int>(RTNH_ALIGN(hop->rtnh_len));
    hop = RTNH_NEXT(hop);
  }
  return legs;
}

std::optional<Route> DecodeRoute(nlmsghdr* header) {
  nlattr* attributes[RTA_MAX + 1] = {};
  if (header->nlmsg_type != RTM_NEWROUTE ||
      nlmsg_parse(header, sizeof(rtmsg), attributes, RTA_MAX, nullptr) < 0) {
    return std::nullopt;
  }
  const auto* info = static_cast<const rtmsg*>(nlmsg_data(header));
  const int family = info->rtm_family;
  if (info->rtm_table != RT_TABLE_MAIN || info->rtm_type != RTN_UNICAST ||
      (info->rtm_flags & RTM_F_CLONED) != 0 || (family != AF_INET && family != AF_INET6)) {
    return std::nullopt;
  }
  Route route;
  route.destination.address.family = family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  if (attributes[RTA_DST] != nullptr) {
    const auto ip = ToAddress(family, attributes[RTA_DST]);
    if (!ip.has_value()) return std::nullopt;
    route.destination = {*ip, info->rtm_dst_len};
  }
  if (attributes[RTA_PRIORITY] != nullptr) route.metric = nla_get_u32(attributes[RTA_PRIORITY]);
  if (attributes[RTA_MULTIPATH] != nullptr) {
    route.legs = LegsOf(family, attributes[RTA_MULTIPATH]);
  } else if (attributes[RTA_OIF] != nullptr) {
    route.legs = {
        {static_cast<int>(nla_get_u32(attributes[RTA_OIF])), GatewayOf(family, attributes)}};
  } else if (attributes[RTA_NH_ID] != nullptr) {
    // With net.ipv4.nexthop_compat_mode 0 the kernel tells no more.
    route.nexthop = nla_get_u32(attributes[RTA_NH_ID]);
  }
  return route;
}

std::optional<std::pair<uint32_t, Nexthop>> DecodeNexthop(nlmsghdr* header) {
  nlattr* attributes[NHA_MAX + 1] = {};
  if (header->nlmsg_type != RTM_NEWNEXTHOP ||
      nlmsg_parse(header, sizeof(nhmsg), attributes, NHA_MAX, nullptr) < 0 ||
      attributes[NHA_ID] == nullptr) {
    return std::nullopt;
  }
  const auto* info = static_cast<const nhmsg*>(nlmsg_data(header));
  Nexthop nexthop;
  if (const nlattr* group = attributes[NHA_GROUP]) {
    const auto* members = static_cast<const nexthop_grp*>(nla_data(group));
    const size_t count = static_cast<size_t>(nla_len(group)) / sizeof(*members);
    for (size_t i = 0; i < count; ++i) nexthop.members.push_back(members[i].id);
  } else if (attributes[NHA_OIF] != nullptr) {
    nexthop.leg = {static_cast<int>(nla_get_u32(attributes[NHA_OIF])),
                   ToAddress(info->nh_family, attributes[NHA_GATEWAY])};
  }
  return std::pair(nla_get_u32(attributes[NHA_ID]), std::move(nexthop));
}

int CollectRoute(nl_msg* message, void* out) {
  if (auto route = DecodeRoute(nlmsg_hdr(message))) {
    static_cast<std::vector<Route>*>(out)->push_back(*std::move(route));
  }
  return NL_OK;
}

int CollectNexthop(nl_msg* message, void* out) {
  if (auto nexthop = DecodeNexthop(nlmsg_hdr(message))) {
    static_cast<std::map<uint32_t, Nexthop>*>(out)->insert(*std::move(nexthop));
  }
  return NL_OK;
}

// 0 or a libnl error, negated.
template <typename Request>
int Dump(nl_sock* socket, int type, Request request, nl_recvmsg_msg_cb_t collect, void* out) {
  const std::unique_ptr<nl_cb, FreeCallbacks> callbacks(nl_cb_alloc(NL_CB_DEFAULT));
  if (callbacks == nullptr) return -NLE_NOMEM;
  nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, collect, out);
  const int sent = nl_send_simple(socket, type, NLM_F_DUMP, &request, sizeof(request));
  return sent < 0 ? sent : nl_recvmsgs(socket, callbacks.get());
}

// The same, again where the tables changed meanwhile: parts of such an answer may be missing.
template <typename Request, typename Collected>
int DumpWhole(nl_sock* socket, int type, Request request, nl_recvmsg_msg_cb_t collect,
              Collected& out) {
  int result = -NLE_DUMP_INTR;
  for (int tries = 0; tries < 5 && result == -NLE_DUMP_INTR; ++tries) {
    out.clear();
    result = Dump(socket, type, request, collect, &out);
  }
  return result;
}

// Whether the kernel knows of none, for it has no such family, table or objects.
bool KnowsNone(int result) {
  return result == -NLE_OBJ_NOTFOUND || result == -NLE_AF_NOSUPPORT || result == -NLE_OPNOTSUPP;
}

absl::Status Error(const char* what, int result) {
  return absl::UnavailableError(std::string(what) + ": " + nl_geterror(result));
}

std::vector<Leg> LegsOf(uint32_t id, const std::map<uint32_t, Nexthop>& nexthops) {
  const auto found = nexthops.find(id);
  if (found == nexthops.end()) return {};
  if (found->second.leg.has_value()) return {*found->second.leg};
  std::vector<Leg> legs;
  for (const uint32_t member : found->second.members) {
    const auto object = nexthops.find(member);  // the kernel has no groups of groups
    if (object != nexthops.end() && object->second.leg) legs.push_back(*object->second.leg);
  }
  return legs;
}

}  // namespace

absl::StatusOr<std::vector<RouteFacts>> ReadRoutes(nl_sock* socket,
                                                   const std::map<int, std::string>& names) {
  // So that the kernel hands out the one table that is asked for (Linux 4.20); one that cannot
  // hands out all.
  const int on = 1;
  setsockopt(nl_socket_get_fd(socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
  std::vector<Route> routes, of_family;
  for (const unsigned char family : {AF_INET, AF_INET6}) {
    rtmsg request{};
    request.rtm_family = family;
    request.rtm_table = RT_TABLE_MAIN;
    const int result = DumpWhole(socket, RTM_GETROUTE, request, CollectRoute, of_family);
    if (result < 0 && !KnowsNone(result)) return Error("reading the routes", result);
    std::ranges::move(of_family, std::back_inserter(routes));
  }
  std::map<uint32_t, Nexthop> nexthops;
  bool asked = false;
  std::vector<RouteFacts> out;
  for (Route& route : routes) {
    if (route.nexthop != 0) {
      if (!std::exchange(asked, true)) {
        const int result = DumpWhole(socket, RTM_GETNEXTHOP, nhmsg{}, CollectNexthop, nexthops);
        if (result < 0 && !KnowsNone(result)) return Error("reading the nexthop objects", result);
      }
      route.legs = LegsOf(route.nexthop, nexthops);
    }
    for (const Leg& leg : route.legs) {
      const auto name = names.find(leg.interface);
      if (name == names.end()) continue;
      out.push_back({route.destination, route.metric, name->second, leg.gateway});
    }
  }
  return out;
}

}  // namespace kube_lvs
