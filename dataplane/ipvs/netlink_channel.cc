#include "dataplane/ipvs/netlink_channel.h"

#include <linux/netlink.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "dataplane/ipvs/errors.h"

namespace kube_lvs::ipvs {
namespace {

// So many answers fit into any receive buffer: each takes about 1 KiB of it, also the longer ones
// of kernels that repeat the request in them.
constexpr size_t kBatch = 64;
// And so many bytes into any send buffer, which a larger send would never pass.
constexpr size_t kBatchBytes = 32 * 1024;
constexpr int kDumpTries = 8;

// The errno in an acknowledgement or at the end of a dump.
int ErrorIn(const nlmsghdr& header) {
  if (header.nlmsg_len < NLMSG_HDRLEN + sizeof(int)) return 0;
  int code;
  std::memcpy(&code, NLMSG_DATA(&header), sizeof code);
  return -code;
}

ByteView Payload(const nlmsghdr& header) {
  const auto* begin = reinterpret_cast<const uint8_t*>(&header);
  return ByteView(begin + NLMSG_HDRLEN, begin + header.nlmsg_len);
}

}  // namespace

absl::Status NetlinkChannel::Connect() {
  if (wire_ != nullptr) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(wire_, open_());
  return absl::OkStatus();
}

// Appends a netlink message to `out` and returns its sequence number.
uint32_t NetlinkChannel::Append(const Bytes& request, uint16_t flags, Bytes& out) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + request.size());
  header.nlmsg_type = wire_->family();
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_seq = ++sequence_;
  header.nlmsg_pid = wire_->port();
  const size_t begin = out.size();
  out.resize(begin + NLMSG_ALIGN(header.nlmsg_len));
  std::memcpy(out.data() + begin, &header, sizeof header);
  std::memcpy(out.data() + begin + NLMSG_HDRLEN, request.data(), request.size());
  return header.nlmsg_seq;
}

// Sends, and hands each message that arrives to `take` until it says true: done. Whatever fails
// costs the wire.
absl::Status NetlinkChannel::Exchange(const Bytes& messages,
                                      const std::function<bool(const nlmsghdr&)>& take) {
  absl::Status status = wire_->Write(messages);
  while (status.ok()) {
    const absl::StatusOr<Bytes> arrived = wire_->Read();
    if (!arrived.ok()) {
      status = arrived.status();
      break;
    }
    size_t at = 0;
    while (status.ok() && at + sizeof(nlmsghdr) <= arrived->size()) {
      const auto* header = reinterpret_cast<const nlmsghdr*>(arrived->data() + at);
      if (header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > arrived->size() - at) {
        status = absl::InternalError("netlink: a message that is cut off");
      } else if (header->nlmsg_type == NLMSG_OVERRUN) {
        status = absl::UnavailableError("netlink overrun");
      } else if (take(*header)) {
        return absl::OkStatus();
      }
      at += NLMSG_ALIGN(header->nlmsg_len);
    }
  }
  wire_.reset();
  return status;
}

absl::StatusOr<std::vector<int>> NetlinkChannel::Send(std::span<const Bytes> requests) {
  std::vector<int> results;
  results.reserve(requests.size());
  while (results.size() < requests.size()) {
    KUBE_LVS_RETURN_IF_ERROR(Connect());
    Bytes messages;
    const uint32_t first = sequence_ + 1;
    size_t batch = 0;
    for (const Bytes& request : requests.subspan(results.size())) {
      if (batch == kBatch || (batch > 0 && messages.size() + request.size() > kBatchBytes)) break;
      Append(request, NLM_F_ACK, messages);
      ++batch;
    }
    changes_sent_ += batch;

    std::vector<std::optional<int>> answers(batch);
    size_t missing = batch;
    KUBE_LVS_RETURN_IF_ERROR(Exchange(messages, [&](const nlmsghdr& header) {
      const uint32_t index = header.nlmsg_seq - first;
      if (header.nlmsg_type != NLMSG_ERROR || index >= answers.size()) return false;
      if (!answers[index]) --missing;
      answers[index] = ErrorIn(header);
      return missing == 0;
    }));
    for (const auto& answer : answers) results.push_back(*answer);
  }
  return results;
}

absl::StatusOr<Messages> NetlinkChannel::Dump(const Bytes& request) {
  for (int tries = 0; tries < kDumpTries; ++tries) {
    KUBE_LVS_RETURN_IF_ERROR(Connect());
    Bytes message;
    const uint32_t sequence = Append(request, NLM_F_DUMP, message);
    const uint16_t family = wire_->family();
    Messages out;
    bool interrupted = false;
    int error = 0;
    KUBE_LVS_RETURN_IF_ERROR(Exchange(message, [&](const nlmsghdr& header) {
      if (header.nlmsg_seq != sequence) return false;
      if (header.nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
      if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
        error = ErrorIn(header);
        return true;
      }
      if (header.nlmsg_type == family) out.Add(Payload(header));
      return false;
    }));
    if (error != 0) return StatusOf(error, Command::kGetService);
    if (!interrupted) return out;
  }
  return absl::UnavailableError("IPVS changed during each of " + std::to_string(kDumpTries) +
                                " readings");
}

absl::StatusOr<Bytes> NetlinkChannel::Ask(const Bytes& request) {
  KUBE_LVS_RETURN_IF_ERROR(Connect());
  Bytes message;
  // With an acknowledgement, so that a request without an answer ends too.
  const uint32_t sequence = Append(request, NLM_F_ACK, message);
  const uint16_t family = wire_->family();
  std::optional<Bytes> answer;
  int error = 0;
  KUBE_LVS_RETURN_IF_ERROR(Exchange(message, [&](const nlmsghdr& header) {
    if (header.nlmsg_seq != sequence) return false;
    if (header.nlmsg_type == NLMSG_ERROR) {
      error = ErrorIn(header);
      return true;
    }
    if (header.nlmsg_type == family) {
      const ByteView payload = Payload(header);
      answer.emplace(payload.begin(), payload.end());
    }
    return false;
  }));
  if (error != 0) return StatusOf(error, Command::kGetService);
  if (!answer) return absl::InternalError("IPVS acknowledged a question without an answer");
  return *std::move(answer);
}

}  // namespace kube_lvs::ipvs
