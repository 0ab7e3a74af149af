// The channel to this network namespace's kernel: a generic netlink socket of libnl.
#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/ipvs/channel.h"

namespace kube_lvs::ipvs {

// Opens its socket with the first call, in the network namespace of the calling thread, and anew
// after a failure; the first one makes the kernel load ip_vs. Waits at most 30 s for an answer.
class NetlinkChannel final : public Channel {
 public:
  NetlinkChannel();
  ~NetlinkChannel() override;

  absl::StatusOr<std::vector<int>> Send(std::span<const Bytes> requests) override;
  absl::StatusOr<std::vector<Bytes>> Dump(const Bytes& request) override;
  absl::StatusOr<Bytes> Ask(const Bytes& request) override;

  // Requests sent so far that change something: none when nothing differs.
  uint64_t changes_sent() const { return changes_sent_; }

 private:
  class Socket;
  absl::Status Connect();

  std::unique_ptr<Socket> socket_;
  uint64_t changes_sent_ = 0;
};

}  // namespace kube_lvs::ipvs
