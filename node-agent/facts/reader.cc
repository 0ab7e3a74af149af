#include "node-agent/facts/reader.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/model/state.h"
#include "node-agent/facts/routes.h"

namespace kube_lvs {
namespace {

struct FreeSocket {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct FreeCache {
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
};
using CachePtr = std::unique_ptr<nl_cache, FreeCache>;

absl::Status NlError(const char* what, int error) {
  return absl::UnavailableError(std::string(what) + ": " + nl_geterror(error));
}

std::optional<IpAddress> ToAddress(const nl_addr* address) {
  if (address == nullptr) return std::nullopt;
  IpAddress ip;
  const int family = nl_addr_get_family(address);
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  ip.family = family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  if (nl_addr_get_len(address) != ip.Size()) return std::nullopt;
  std::memcpy(ip.bytes.data(), nl_addr_get_binary_addr(address), ip.Size());
  return ip;
}

bool SitsOnParent(std::string_view kind) {
  return kind == "vlan" || kind == "macvlan" || kind == "macvtap" || kind == "ipvlan";
}

void ReadLinks(nl_cache* links, NodeFacts& facts, std::map<int, std::string>& names) {
  std::vector<std::pair<std::string, int>> masters, parents;
  for (nl_object* object = nl_cache_get_first(links); object != nullptr;
       object = nl_cache_get_next(object)) {
    auto* link = reinterpret_cast<rtnl_link*>(object);
    const char* name = rtnl_link_get_name(link);
    // A bridge itself comes as AF_BRIDGE; so do entries about its ports, which say less.
    const char* kind = rtnl_link_get_type(link);
    const bool bridge = kind != nullptr && std::string_view(kind) == "bridge";
    if (name == nullptr || (rtnl_link_get_family(link) != AF_UNSPEC && !bridge)) continue;
    // Ours, and the routes into it: not what the node is by itself.
    if (std::string_view(name) == kLocalLink || std::string_view(name) == kLocalLinkFar) continue;
    InterfaceFacts interface;
    interface.name = name;
    interface.index = static_cast<uint32_t>(rtnl_link_get_ifindex(link));
    interface.mtu = rtnl_link_get_mtu(link);
    const unsigned flags = rtnl_link_get_flags(link);
    interface.up = (flags & IFF_UP) != 0;
    interface.loopback = (flags & IFF_LOOPBACK) != 0;
    if (kind != nullptr) interface.kind = kind;
    const int master = rtnl_link_get_master(link);
    if (master != 0) masters.emplace_back(name, master);
    // Of others it is a peer (veth), or a tunnel's way; of another namespace, a number there.
    int elsewhere = 0;
    if (SitsOnParent(interface.kind) && rtnl_link_get_link_netnsid(link, &elsewhere) != 0) {
      parents.emplace_back(name, rtnl_link_get_link(link));
    }
    const nl_addr* mac = rtnl_link_get_addr(link);
    if (mac != nullptr && nl_addr_get_len(mac) == interface.mac.bytes.size()) {
      std::memcpy(interface.mac.bytes.data(), nl_addr_get_binary_addr(mac),
                  interface.mac.bytes.size());
    }
    names[static_cast<int>(interface.index)] = interface.name;
    facts.interfaces[interface.name] = std::move(interface);
  }
  for (const auto& [name, master] : masters) {
    const auto found = names.find(master);
    if (found == names.end()) continue;
    InterfaceFacts& whole = facts.interfaces[found->second];
    facts.interfaces[name].master_kind = whole.kind;
    whole.below.insert(name);
  }
  for (const auto& [name, parent] : parents) {
    const auto found = names.find(parent);
    if (found != names.end()) facts.interfaces[name].below.insert(found->second);
  }
}

void ReadAddresses(nl_cache* addresses, const std::map<int, std::string>& names, NodeFacts& facts) {
  for (nl_object* object = nl_cache_get_first(addresses); object != nullptr;
       object = nl_cache_get_next(object)) {
    auto* address = reinterpret_cast<rtnl_addr*>(object);
    const auto name = names.find(rtnl_addr_get_ifindex(address));
    const auto ip = ToAddress(rtnl_addr_get_local(address));
    if (name == names.end() || !ip.has_value()) continue;
    facts.interfaces[name->second].addresses.push_back({*ip, rtnl_addr_get_prefixlen(address)});
  }
}

void ReadPorts(NodeFacts& facts) {
  const auto range = ReadFile("/proc/sys/net/ipv4/ip_local_port_range");
  const auto reserved = ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports");
  unsigned first = 0, last = 0;
  if (!range.ok() || !reserved.ok() || sscanf(range->c_str(), "%u %u", &first, &last) != 2) return;
  facts.local_ports = {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
  facts.reserved_ports = reserved->substr(0, reserved->find('\n'));
}

class KernelFactsReader final : public FactsReader {
 public:
  KernelFactsReader(std::string node_name, std::optional<IpAddress> node_address)
      : node_name_(std::move(node_name)), node_address_(node_address) {}

  absl::StatusOr<NodeFacts> Read() override {
    const std::unique_ptr<nl_sock, FreeSocket> socket(nl_socket_alloc());
    if (socket == nullptr) return absl::ResourceExhaustedError("no memory for a netlink socket");
    if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) {
      return NlError("opening a netlink socket", error);
    }
    nl_cache* raw = nullptr;
    if (const int error = rtnl_link_alloc_cache(socket.get(), AF_UNSPEC, &raw); error < 0) {
      return NlError("reading the links", error);
    }
    const CachePtr links(std::exchange(raw, nullptr));
    if (const int error = rtnl_addr_alloc_cache(socket.get(), &raw); error < 0) {
      return NlError("reading the addresses", error);
    }
    const CachePtr addresses(std::exchange(raw, nullptr));

    NodeFacts facts;
    facts.node_name = node_name_;
    utsname kernel = {};
    if (uname(&kernel) == 0) facts.kernel_release = kernel.release;
    facts.has_btf = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
    facts.has_ipvs = access("/proc/net/ip_vs", F_OK) == 0;
    std::map<int, std::string> names;
    ReadLinks(links.get(), facts, names);
    ReadAddresses(addresses.get(), names, facts);
    KUBE_LVS_ASSIGN_OR_RETURN(facts.routes, ReadRoutes(socket.get(), names));
    ReadPorts(facts);
    facts.node_address = node_address_.has_value() ? node_address_ : PreferredAddress(facts);
    return facts;
  }

 private:
  const std::string node_name_;
  const std::optional<IpAddress> node_address_;
};

}  // namespace

std::unique_ptr<FactsReader> NewKernelFactsReader(std::string node_name,
                                                  std::optional<IpAddress> node_address) {
  return std::make_unique<KernelFactsReader>(std::move(node_name), node_address);
}

absl::Status WatchNetlink(std::stop_token stop, const std::function<void()>& changed) {
  const UniqueFd socket_fd(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  const UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!socket_fd.ok() || !wake.ok()) {
    return absl::UnavailableError(std::string("opening a netlink socket: ") + strerror(errno));
  }
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups =
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (bind(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(std::string("listening on netlink: ") + strerror(errno));
  }
  // A nexthop object may change with no word of the routes that use it.
  const int nexthops = RTNLGRP_NEXTHOP;
  if (setsockopt(socket_fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nexthops,
                 sizeof(nexthops)) != 0) {
    return absl::UnavailableError(std::string("listening for nexthops: ") + strerror(errno));
  }
  const std::stop_callback on_stop(stop, [&wake] {
    const uint64_t one = 1;
    // The counter cannot overflow with one write, and there is nothing else to do about it.
    if (write(wake.get(), &one, sizeof(one)) < 0) return;
  });
  std::vector<char> buffer(64 * 1024);
  while (!stop.stop_requested()) {
    pollfd fds[2] = {{socket_fd.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) {
      return absl::UnavailableError(std::string("waiting on netlink: ") + strerror(errno));
    }
    if ((fds[0].revents & POLLIN) == 0) continue;
    // ENOBUFS means that messages were lost: a change too.
    while (recv(socket_fd.get(), buffer.data(), buffer.size(), 0) > 0 || errno == ENOBUFS) {
      errno = 0;
    }
    changed();
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs
