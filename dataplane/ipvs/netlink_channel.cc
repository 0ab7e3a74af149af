#include "dataplane/ipvs/netlink_channel.h"

#include <linux/ip_vs.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "dataplane/ipvs/errors.h"

namespace kube_lvs::ipvs {
namespace {

// So many acknowledgements fit into any receive buffer.
constexpr size_t kBatch = 64;
constexpr int kDumpTries = 8;
constexpr int kReceiveBuffer = 1 << 20;
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
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace

// One connected socket. Whoever meets an error throws it away, so that no late answer is ever taken
// for that of another request.
class NetlinkChannel::Socket {
 public:
  static absl::StatusOr<std::unique_ptr<Socket>> Open() {
    auto out = std::unique_ptr<Socket>(new Socket);
    if (out->socket_ == nullptr) return absl::UnavailableError("no memory for a netlink socket");
    if (const int rc = genl_connect(out->socket_.get()); rc < 0) {
      return LibraryError(rc, "opening a netlink socket");
    }
    nl_socket_enable_msg_peek(out->socket_.get());
    const int fd = nl_socket_get_fd(out->socket_.get());
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0) {
      return absl::UnavailableError(std::string("SO_RCVTIMEO: ") + std::strerror(errno));
    }
    if (const int rc = nl_socket_set_buffer_size(out->socket_.get(), kReceiveBuffer, 0); rc < 0) {
      return LibraryError(rc, "setting the netlink buffer");
    }
    // Answers without the request in them; a kernel that cannot sends longer ones.
    const int on = 1;
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    const int family = genl_ctrl_resolve(out->socket_.get(), IPVS_GENL_NAME);
    if (family < 0) return LibraryError(family, "looking for IPVS");
    out->family_ = static_cast<uint16_t>(family);
    return out;
  }

  // Appends a netlink message to `out` and returns its sequence number.
  uint32_t Append(const Bytes& request, uint16_t flags, Bytes& out) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + request.size());
    header.nlmsg_type = family_;
    header.nlmsg_flags = NLM_F_REQUEST | flags;
    header.nlmsg_seq = ++sequence_;
    header.nlmsg_pid = nl_socket_get_local_port(socket_.get());
    const size_t begin = out.size();
    out.resize(begin + NLMSG_ALIGN(header.nlmsg_len));
    std::memcpy(out.data() + begin, &header, sizeof header);
    std::memcpy(out.data() + begin + NLMSG_HDRLEN, request.data(), request.size());
    return header.nlmsg_seq;
  }

  absl::Status Write(Bytes bytes) {
    const int rc = nl_sendto(socket_.get(), bytes.data(), bytes.size());
    if (rc < 0) return LibraryError(rc, "sending to IPVS");
    return absl::OkStatus();
  }

  // Hands each message that arrives to `take` until it says true: done.
  absl::Status Receive(const std::function<bool(const nlmsghdr&)>& take) {
    for (;;) {
      sockaddr_nl from{};
      unsigned char* raw = nullptr;
      const int got = nl_recv(socket_.get(), &from, &raw, nullptr);
      const std::unique_ptr<unsigned char, decltype(&free)> owned(raw, &free);
      // nl_recv gives 0 for an expired time limit too.
      if (got == 0) return absl::UnavailableError("no answer from IPVS within 30 s");
      if (got < 0) return LibraryError(got, "receiving from IPVS");
      if (from.nl_pid != 0) continue;  // not from the kernel
      int left = got;
      for (auto* header = reinterpret_cast<nlmsghdr*>(raw); nlmsg_ok(header, left);
           header = nlmsg_next(header, &left)) {
        if (header->nlmsg_type == NLMSG_OVERRUN) return absl::UnavailableError("netlink overrun");
        if (take(*header)) return absl::OkStatus();
      }
    }
  }

  uint16_t family() const { return family_; }

 private:
  struct Free {
    void operator()(nl_sock* s) const { nl_socket_free(s); }
  };
  Socket() : socket_(nl_socket_alloc()) {}

  std::unique_ptr<nl_sock, Free> socket_;
  uint16_t family_ = 0;
  uint32_t sequence_ = 0;
};

namespace {

// The errno in an acknowledgement or at the end of a dump.
int ErrorIn(const nlmsghdr& header) {
  if (header.nlmsg_len < NLMSG_HDRLEN + sizeof(int)) return 0;
  int code;
  std::memcpy(&code, nlmsg_data(&header), sizeof code);
  return -code;
}

Bytes Payload(const nlmsghdr& header) {
  const auto* begin = static_cast<const uint8_t*>(nlmsg_data(&header));
  return Bytes(begin, begin + nlmsg_datalen(&header));
}

}  // namespace

NetlinkChannel::NetlinkChannel() = default;
NetlinkChannel::~NetlinkChannel() = default;

absl::Status NetlinkChannel::Connect() {
  if (socket_ != nullptr) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(socket_, Socket::Open());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int>> NetlinkChannel::Send(std::span<const Bytes> requests) {
  std::vector<int> results;
  results.reserve(requests.size());
  while (results.size() < requests.size()) {
    KUBE_LVS_RETURN_IF_ERROR(Connect());
    const auto batch =
        requests.subspan(results.size(), std::min(kBatch, requests.size() - results.size()));
    Bytes bytes;
    uint32_t last = 0;
    for (const Bytes& request : batch) last = socket_->Append(request, NLM_F_ACK, bytes);
    const uint32_t first = last - static_cast<uint32_t>(batch.size()) + 1;
    changes_sent_ += batch.size();

    std::vector<std::optional<int>> answers(batch.size());
    size_t missing = batch.size();
    absl::Status status = socket_->Write(std::move(bytes));
    if (status.ok()) {
      status = socket_->Receive([&](const nlmsghdr& header) {
        const uint32_t index = header.nlmsg_seq - first;
        if (header.nlmsg_type != NLMSG_ERROR || index >= answers.size()) return false;
        if (!answers[index]) --missing;
        answers[index] = ErrorIn(header);
        return missing == 0;
      });
    }
    if (!status.ok()) {
      socket_.reset();
      return status;
    }
    for (const auto& answer : answers) results.push_back(*answer);
  }
  return results;
}

absl::StatusOr<std::vector<Bytes>> NetlinkChannel::Dump(const Bytes& request) {
  for (int tries = 0; tries < kDumpTries; ++tries) {
    KUBE_LVS_RETURN_IF_ERROR(Connect());
    Bytes bytes;
    const uint32_t sequence = socket_->Append(request, NLM_F_DUMP, bytes);
    std::vector<Bytes> out;
    bool interrupted = false;
    int error = 0;
    absl::Status status = socket_->Write(std::move(bytes));
    if (status.ok()) {
      status = socket_->Receive([&](const nlmsghdr& header) {
        if (header.nlmsg_seq != sequence) return false;
        if (header.nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
        if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
          error = ErrorIn(header);
          return true;
        }
        if (header.nlmsg_type == socket_->family()) out.push_back(Payload(header));
        return false;
      });
    }
    if (!status.ok()) {
      socket_.reset();
      return status;
    }
    if (error != 0) return StatusOf(error, Command::kGetService);
    if (!interrupted) return out;
  }
  return absl::UnavailableError("IPVS changed during each of " + std::to_string(kDumpTries) +
                                " readings");
}

absl::StatusOr<Bytes> NetlinkChannel::Ask(const Bytes& request) {
  KUBE_LVS_RETURN_IF_ERROR(Connect());
  Bytes bytes;
  // With an acknowledgement, so that a request without an answer ends too.
  const uint32_t sequence = socket_->Append(request, NLM_F_ACK, bytes);
  std::optional<Bytes> answer;
  int error = 0;
  absl::Status status = socket_->Write(std::move(bytes));
  if (status.ok()) {
    status = socket_->Receive([&](const nlmsghdr& header) {
      if (header.nlmsg_seq != sequence) return false;
      if (header.nlmsg_type == NLMSG_ERROR) {
        error = ErrorIn(header);
        return true;
      }
      if (header.nlmsg_type == socket_->family()) answer = Payload(header);
      return false;
    });
  }
  if (!status.ok()) {
    socket_.reset();
    return status;
  }
  if (error != 0) return StatusOf(error, Command::kGetService);
  if (!answer) return absl::InternalError("IPVS acknowledged a question without an answer");
  return *std::move(answer);
}

}  // namespace kube_lvs::ipvs
