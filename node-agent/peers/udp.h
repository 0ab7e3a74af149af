// A UDP socket that never blocks and answers from the address that was asked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "base/unique_fd.h"

namespace kube_lvs {

class UdpSocket {
 public:
  UdpSocket() = default;  // closed: it receives and sends nothing

  // 0.0.0.0 or :: (which then takes no IPv4) hears on all addresses. kUnavailable: errno's text.
  static absl::StatusOr<UdpSocket> Open(const IpAddress& local, uint16_t port);

  struct Datagram {
    IpAddress from;
    uint16_t from_port = 0;
    IpAddress to;     // the address of ours that it was sent to
    size_t size = 0;  // what is beyond the buffer is cut off
  };
  // nullopt: there is none now.
  std::optional<Datagram> Receive(std::span<uint8_t> buffer);

  // What cannot be sent is as good as lost, with which all our messages reckon. `source`: one of
  // our addresses; without it the kernel chooses.
  void Send(std::span<const uint8_t> bytes, const IpAddress& to, uint16_t port,
            const std::optional<IpAddress>& source = std::nullopt);

  int fd() const { return fd_.get(); }  // -1 if closed

 private:
  UdpSocket(UniqueFd fd, Family family) : fd_(std::move(fd)), family_(family) {}

  UniqueFd fd_;
  Family family_ = Family::kIpv4;
};

}  // namespace kube_lvs
