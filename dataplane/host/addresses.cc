#include "dataplane/host/addresses.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/status.h"

namespace kube_lvs::host {
namespace {

constexpr std::string_view kLabelSuffix = ":klvs";
constexpr uint8_t kProtocol = 187;
// Newer than the build machine's headers; include/uapi/linux/if_addr.h since Linux 5.18.
constexpr int kIfaProto = 11;

struct SocketDeleter {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct MessageDeleter {
  void operator()(nl_msg* message) const { nlmsg_free(message); }
};
using Socket = std::unique_ptr<nl_sock, SocketDeleter>;
using NlMessage = std::unique_ptr<nl_msg, MessageDeleter>;

// Any full-length address of an interface, ours or not.
struct Found {
  OwnedAddress address;
  bool ours = false;
};

std::string LabelOf(const std::string& device) {
  return device.substr(0, IFNAMSIZ - 1 - kLabelSuffix.size()) + std::string(kLabelSuffix);
}

std::optional<Found> Decode(nlmsghdr* header) {
  if (header->nlmsg_type != RTM_NEWADDR) return std::nullopt;
  nlattr* attrs[kIfaProto + 1] = {};
  if (nlmsg_parse(header, sizeof(ifaddrmsg), attrs, kIfaProto, nullptr) < 0) return std::nullopt;
  const auto* info = static_cast<const ifaddrmsg*>(nlmsg_data(header));
  const nlattr* raw = attrs[IFA_LOCAL] != nullptr ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
  Found found;
  found.address.address.family = info->ifa_family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  IpAddress& ip = found.address.address;
  if (raw == nullptr || nla_len(raw) != static_cast<int>(ip.Size())) return std::nullopt;
  if (info->ifa_prefixlen != ip.Bits()) return std::nullopt;
  std::memcpy(ip.bytes.data(), nla_data(raw), ip.Size());
  char name[IFNAMSIZ];
  if (if_indextoname(info->ifa_index, name) == nullptr) return std::nullopt;
  found.address.device = name;
  if (attrs[kIfaProto] != nullptr && nla_get_u8(attrs[kIfaProto]) == kProtocol) found.ours = true;
  if (attrs[IFA_LABEL] != nullptr && nla_get_string(attrs[IFA_LABEL]) == LabelOf(name)) {
    found.ours = true;
  }
  return found;
}

int Collect(nl_msg* message, void* out) {
  if (auto found = Decode(nlmsg_hdr(message))) {
    static_cast<std::vector<Found>*>(out)->push_back(*std::move(found));
  }
  return NL_OK;
}

class KernelAddresses final : public Addresses {
 public:
  explicit KernelAddresses(Socket socket) : socket_(std::move(socket)) {
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, Collect, &found_);
  }

  absl::StatusOr<std::vector<OwnedAddress>> Read() override {
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    std::vector<OwnedAddress> out;
    for (const Found& found : found_) {
      if (found.ours) out.push_back(found.address);
    }
    return out;
  }

  absl::Status Add(const OwnedAddress& address) override {
    const std::string what = "address " + address.address.ToString() + " on " + address.device;
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    if (const Found* there = Find(address)) return there->ours ? absl::OkStatus() : Foreign(what);
    KUBE_LVS_RETURN_IF_ERROR(Annotate(Change(RTM_NEWADDR, address), "add " + what));
    if (address.address.IsV4()) return absl::OkStatus();
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    if (const Found* there = Find(address); there != nullptr && there->ours) {
      return absl::OkStatus();
    }
    Change(RTM_DELADDR, address).IgnoreError();  // the reason below matters more
    return absl::FailedPreconditionError(
        "add " + what +
        ": this kernel cannot mark IPv6 addresses as ours; use Linux 5.18 or newer");
  }

  absl::Status Remove(const OwnedAddress& address) override {
    const std::string what = "address " + address.address.ToString() + " on " + address.device;
    KUBE_LVS_RETURN_IF_ERROR(Dump());
    const Found* there = Find(address);
    if (there == nullptr) return absl::OkStatus();
    if (!there->ours) return Foreign(what);
    return Annotate(Change(RTM_DELADDR, address), "remove " + what);
  }

 private:
  static absl::Status Foreign(const std::string& what) {
    return absl::AlreadyExistsError(what +
                                    " was set by somebody else and is left alone; remove it "
                                    "there, or give the service another VIP");
  }

  const Found* Find(const OwnedAddress& address) const {
    const auto it = std::ranges::find(found_, address, &Found::address);
    return it == found_.end() ? nullptr : &*it;
  }

  absl::Status Dump() {
    found_.clear();
    rtgenmsg request{};
    request.rtgen_family = AF_UNSPEC;
    int result = nl_send_simple(socket_.get(), RTM_GETADDR, NLM_F_DUMP, &request, sizeof(request));
    if (result >= 0) result = nl_recvmsgs_default(socket_.get());
    if (result < 0) {
      return absl::UnavailableError(std::string("read addresses: ") + nl_geterror(result));
    }
    return absl::OkStatus();
  }

  absl::Status Change(int type, const OwnedAddress& address) {
    const unsigned index = if_nametoindex(address.device.c_str());
    if (index == 0) return absl::NotFoundError("no interface " + address.device);
    const IpAddress& ip = address.address;
    ifaddrmsg info{};
    info.ifa_family = ip.IsV4() ? AF_INET : AF_INET6;
    info.ifa_prefixlen = static_cast<uint8_t>(ip.Bits());
    info.ifa_flags = ip.IsV4() ? 0 : IFA_F_NODAD;
    info.ifa_index = index;
    NlMessage message(
        nlmsg_alloc_simple(type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0));
    nlmsg_append(message.get(), &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put(message.get(), IFA_LOCAL, static_cast<int>(ip.Size()), ip.bytes.data());
    nla_put(message.get(), IFA_ADDRESS, static_cast<int>(ip.Size()), ip.bytes.data());
    if (type == RTM_NEWADDR) {
      if (ip.IsV4()) nla_put_string(message.get(), IFA_LABEL, LabelOf(address.device).c_str());
      nla_put_u8(message.get(), kIfaProto, kProtocol);
      if (!ip.IsV4()) {
        ifa_cacheinfo deprecated{};
        deprecated.ifa_valid = 0xffffffff;  // for ever, but never a source address
        nla_put(message.get(), IFA_CACHEINFO, sizeof(deprecated), &deprecated);
      }
    }
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

absl::StatusOr<std::unique_ptr<Addresses>> OpenAddresses() {
  Socket socket(nl_socket_alloc());
  if (socket == nullptr) return absl::InternalError("no memory for a netlink socket");
  if (const int result = nl_connect(socket.get(), NETLINK_ROUTE); result < 0) {
    return absl::UnavailableError(std::string("open a route netlink socket: ") +
                                  nl_geterror(result));
  }
  return std::make_unique<KernelAddresses>(std::move(socket));
}

}  // namespace kube_lvs::host
