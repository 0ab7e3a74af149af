#include "dataplane/host/local_routes.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/status.h"

namespace kube_lvs::host {
namespace {

constexpr uint8_t kProtocol = 142;

struct SocketDeleter {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct MessageDeleter {
  void operator()(nl_msg* message) const { nlmsg_free(message); }
};
using Socket = std::unique_ptr<nl_sock, SocketDeleter>;
using NlMessage = std::unique_ptr<nl_msg, MessageDeleter>;

// Any local route, ours or not.
struct Found {
  LocalRoute route;
  bool ours = false;
};

// A real server's on lo and a director's may be of the same prefix: the kernel keeps both if their
// priorities differ.
uint32_t PriorityOf(const LocalRoute& route) { return route.device == "lo" ? 2 : 1; }

std::optional<Found> Decode(nlmsghdr* header) {
  if (header->nlmsg_type != RTM_NEWROUTE) return std::nullopt;
  nlattr* attrs[RTA_MAX + 1] = {};
  if (nlmsg_parse(header, sizeof(rtmsg), attrs, RTA_MAX, nullptr) < 0) return std::nullopt;
  const auto* info = static_cast<const rtmsg*>(nlmsg_data(header));
  if (info->rtm_type != RTN_LOCAL || info->rtm_table != RT_TABLE_LOCAL) return std::nullopt;
  Found found;
  IpAddress& ip = found.route.vips.address;
  ip.family = info->rtm_family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  const nlattr* to = attrs[RTA_DST];
  if (to == nullptr || nla_len(to) != static_cast<int>(ip.Size())) return std::nullopt;
  std::memcpy(ip.bytes.data(), nla_data(to), ip.Size());
  found.route.vips.length = info->rtm_dst_len;
  char name[IFNAMSIZ];
  if (attrs[RTA_OIF] == nullptr || if_indextoname(nla_get_u32(attrs[RTA_OIF]), name) == nullptr) {
    return std::nullopt;
  }
  found.route.device = name;
  found.ours = info->rtm_protocol == kProtocol;
  return found;
}

int Collect(nl_msg* message, void* out) {
  if (auto found = Decode(nlmsg_hdr(message))) {
    static_cast<std::vector<Found>*>(out)->push_back(*std::move(found));
  }
  return NL_OK;
}

class KernelLocalRoutes final : public LocalRoutes {
 public:
  explicit KernelLocalRoutes(Socket socket) : socket_(std::move(socket)) {
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, Collect, &found_);
    // So that the kernel hands out the one table that is asked for (Linux 4.20); one that cannot
    // hands out all.
    const int on = 1;
    setsockopt(nl_socket_get_fd(socket_.get()), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
               sizeof(on));
  }

  absl::StatusOr<std::vector<LocalRoute>> Read() override {
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    std::vector<LocalRoute> out;
    for (const Found& found : found_) {
      if (found.ours) out.push_back(found.route);
    }
    return out;
  }

  absl::Status Add(const LocalRoute& route) override {
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    if (IsThere(route)) return absl::OkStatus();
    for (const Found& found : found_) {
      if (found.ours || found.route.vips != route.vips) continue;
      return absl::AlreadyExistsError("local route " + route.vips.ToString() + " on " +
                                      found.route.device +
                                      " was set by somebody else and is left alone; remove it "
                                      "there, or give the service another CIDR");
    }
    return Annotate(Change(RTM_NEWROUTE, route), "add " + Text(route));
  }

  absl::Status Remove(const LocalRoute& route) override {
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    if (!IsThere(route)) return absl::OkStatus();
    return Annotate(Change(RTM_DELROUTE, route), "remove " + Text(route));
  }

 private:
  static std::string Text(const LocalRoute& route) {
    return "local route " + route.vips.ToString() + " on " + route.device;
  }

  bool IsThere(const LocalRoute& route) const {
    return std::ranges::any_of(
        found_, [&](const Found& found) { return found.ours && found.route == route; });
  }

  absl::Status Dump() {
    found_.clear();
    for (const unsigned char family : {AF_INET, AF_INET6}) {
      rtmsg request{};
      request.rtm_family = family;
      request.rtm_table = RT_TABLE_LOCAL;
      int result =
          nl_send_simple(socket_.get(), RTM_GETROUTE, NLM_F_DUMP, &request, sizeof(request));
      if (result >= 0) result = nl_recvmsgs_default(socket_.get());
      // A kernel without this family, or a namespace without any local route.
      if (result == -NLE_OBJ_NOTFOUND || result == -NLE_AF_NOSUPPORT) continue;
      if (result < 0) {
        return absl::UnavailableError(std::string("read local routes: ") + nl_geterror(result));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Change(int type, const LocalRoute& route) {
    const unsigned index = if_nametoindex(route.device.c_str());
    if (index == 0) return absl::NotFoundError("no interface " + route.device);
    const IpAddress& ip = route.vips.address;
    rtmsg info{};
    info.rtm_family = ip.IsV4() ? AF_INET : AF_INET6;
    info.rtm_dst_len = static_cast<unsigned char>(route.vips.length);
    info.rtm_table = RT_TABLE_LOCAL;
    info.rtm_protocol = kProtocol;
    info.rtm_scope = RT_SCOPE_HOST;
    info.rtm_type = RTN_LOCAL;
    NlMessage message(
        nlmsg_alloc_simple(type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_EXCL : 0));
    nlmsg_append(message.get(), &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put(message.get(), RTA_DST, static_cast<int>(ip.Size()), ip.bytes.data());
    nla_put_u32(message.get(), RTA_OIF, index);
    nla_put_u32(message.get(), RTA_PRIORITY, PriorityOf(route));
    const int result = nl_send_sync(socket_.get(), message.release());  // which frees it
    if (result >= 0) return absl::OkStatus();
    if (result == -NLE_PERM) {
      return absl::PermissionDeniedError("not permitted: the agent needs NET_ADMIN");
    }
    return absl::UnavailableError(nl_geterror(result));
  }

  Socket socket_;
  std::vector<Found> found_;  // of the last dump
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalRoutes>> OpenLocalRoutes() {
  Socket socket(nl_socket_alloc());
  if (socket == nullptr) return absl::InternalError("no memory for a netlink socket");
  if (const int result = nl_connect(socket.get(), NETLINK_ROUTE); result < 0) {
    return absl::UnavailableError(std::string("open a route netlink socket: ") +
                                  nl_geterror(result));
  }
  return std::make_unique<KernelLocalRoutes>(std::move(socket));
}

}  // namespace kube_lvs::host
