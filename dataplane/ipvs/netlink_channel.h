// The channel to this network namespace's kernel: netlink's own rules upon a socket.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "dataplane/ipvs/channel.h"
#include "dataplane/ipvs/wire.h"

struct nlmsghdr;

namespace kube_lvs::ipvs {

// Opens its wire with the first call, in the network namespace of the calling thread, and anew
// after a failure, so that no late answer is ever taken for that of another request.
//
// Many requests go with one send, each to be answered: at most so many that the answers fit into
// the socket's buffer. Answers are matched by sequence number.
class NetlinkChannel final : public Channel {
 public:
  explicit NetlinkChannel(OpenWire open = OpenNetlink) : open_(std::move(open)) {}

  absl::StatusOr<std::vector<int>> Send(std::span<const Bytes> requests) override;
  absl::StatusOr<Messages> Dump(const Bytes& request) override;
  absl::StatusOr<Bytes> Ask(const Bytes& request) override;

  // Requests sent so far that change something: none when nothing differs.
  uint64_t changes_sent() const { return changes_sent_; }

 private:
  absl::Status Connect();
  uint32_t Append(const Bytes& request, uint16_t flags, Bytes& out);
  absl::Status Exchange(const Bytes& messages, const std::function<bool(const nlmsghdr&)>& take);

  const OpenWire open_;
  std::unique_ptr<Wire> wire_;
  uint32_t sequence_ = 0;
  uint64_t changes_sent_ = 0;
};

}  // namespace kube_lvs::ipvs
