#include <linux/ip_vs.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "dataplane/ipvs/wire.h"

namespace kube_lvs::ipvs {
namespace {

constexpr int kReceiveBuffer = 1 << 20;
// No part of a dump is longer, whatever the kernel (SKB_WITH_OVERHEAD(32768) in
// net/netlink/af_netlink.c); so it need not be asked for each part's length first.
constexpr size_t kLongestPart = 32 * 1024;
constexpr timeval kPatience{.tv_sec = 30, .tv_usec = 0};

absl::Status LibraryError(int code, const std::string& doing) {
  const std::string text = doing + ": " + nl_geterror(code);
  switch (-code) {
    case NLE_OBJ_NOTFOUND:
      return absl::FailedPreconditionError(
          "the kernel has no ip_vs: load or install the module ip_vs");
    case NLE_PERM:
    case NLE_NOACCESS:
      return absl::PermissionDeniedError(text);
    case NLE_NOMEM:  // libnl's word for ENOBUFS too
      return absl::UnavailableError(doing + ": out of memory, or of the socket's buffer");
    default:
      return absl::UnavailableError(text);
  }
}

class NetlinkWire final : public Wire {
 public:
  absl::Status Connect() {
    if (socket_ == nullptr) return absl::UnavailableError("no memory for a netlink socket");
    if (const int rc = genl_connect(socket_.get()); rc < 0) {
      return LibraryError(rc, "opening a netlink socket");
    }
    nl_socket_disable_msg_peek(socket_.get());
    if (const int rc = nl_socket_set_msg_buf_size(socket_.get(), kLongestPart); rc < 0) {
      return LibraryError(rc, "setting the length of netlink messages");
    }
    const int fd = nl_socket_get_fd(socket_.get());
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0) {
      return absl::UnavailableError(std::string("SO_RCVTIMEO: ") + std::strerror(errno));
    }
    if (const int rc = nl_socket_set_buffer_size(socket_.get(), kReceiveBuffer, 0); rc < 0) {
      return LibraryError(rc, "setting the netlink buffer");
    }
    // Answers without the request in them; a kernel that cannot sends longer ones.
    const int on = 1;
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    const int family = genl_ctrl_resolve(socket_.get(), IPVS_GENL_NAME);
    if (family < 0) return LibraryError(family, "looking for IPVS");
    family_ = static_cast<uint16_t>(family);
    return absl::OkStatus();
  }

  uint16_t family() const override { return family_; }
  uint32_t port() const override { return nl_socket_get_local_port(socket_.get()); }

  absl::Status Write(const Bytes& messages) override {
    // Which does not change what it is given, whatever its type says.
    const int rc = nl_sendto(socket_.get(), const_cast<uint8_t*>(messages.data()), messages.size());
    if (rc < 0) return LibraryError(rc, "sending to IPVS");
    return absl::OkStatus();
  }

  absl::StatusOr<Bytes> Read() override {
    for (;;) {
      sockaddr_nl from{};
      unsigned char* raw = nullptr;
      const int got = nl_recv(socket_.get(), &from, &raw, nullptr);
      const std::unique_ptr<unsigned char, decltype(&free)> owned(raw, &free);
      // nl_recv gives 0 for an expired time limit too.
      if (got == 0) return absl::UnavailableError("no answer from IPVS within 30 s");
      if (got < 0) return LibraryError(got, "receiving from IPVS");
      if (from.nl_pid == 0) return Bytes(raw, raw + got);  // else not from the kernel
    }
  }

 private:
  struct Free {
    void operator()(nl_sock* s) const { nl_socket_free(s); }
  };
  std::unique_ptr<nl_sock, Free> socket_{nl_socket_alloc()};
  uint16_t family_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Wire>> OpenNetlink() {
  auto out = std::make_unique<NetlinkWire>();
  if (absl::Status status = out->Connect(); !status.ok()) return status;
  return std::unique_ptr<Wire>(std::move(out));
}

}  // namespace kube_lvs::ipvs
