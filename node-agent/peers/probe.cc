#include "node-agent/peers/probe.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

// The same for both families: type, code, checksum, identifier, sequence; then our own nonce, by
// which answers to other programs' requests are told apart.
struct Echo {
  uint8_t type = 0;
  uint8_t code = 0;
  uint16_t checksum = 0;
  uint16_t id = 0;
  uint16_t sequence = 0;
  std::array<uint8_t, 8> nonce = {};
};
static_assert(sizeof(Echo) == 16);

uint16_t Checksum(const Echo& echo) {
  std::array<uint16_t, sizeof(Echo) / 2> words;
  std::memcpy(words.data(), &echo, sizeof(echo));
  uint32_t sum = 0;
  for (const uint16_t word : words) sum += word;
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~(sum + (sum >> 16)));
}

class IcmpProber final : public Prober {
 public:
  IcmpProber(UniqueFd v4, UniqueFd v6, Echo pattern)
      : v4_(std::move(v4)), v6_(std::move(v6)), pattern_(pattern) {}

  void Probe(const IpAddress& to) override {
    Echo echo = pattern_;
    echo.sequence = ++sequence_;
    ssize_t sent = 0;
    if (to.IsV4()) {
      echo.type = ICMP_ECHO;
      echo.checksum = Checksum(echo);
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      std::memcpy(&address.sin_addr, to.bytes.data(), 4);
      sent = sendto(v4_.get(), &echo, sizeof(echo), MSG_DONTWAIT,
                    reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    } else if (v6_.ok()) {
      echo.type = ICMP6_ECHO_REQUEST;  // the kernel fills in this family's checksum
      sockaddr_in6 address = {};
      address.sin6_family = AF_INET6;
      std::memcpy(&address.sin6_addr, to.bytes.data(), 16);
      sent = sendto(v6_.get(), &echo, sizeof(echo), MSG_DONTWAIT,
                    reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    }
    if (sent < 0) return;  // no route, no neighbour: no answer either
  }

  std::optional<IpAddress> NextAnswer() override {
    std::array<uint8_t, 512> packet;
    while (true) {
      sockaddr_in from = {};
      socklen_t length = sizeof(from);
      const ssize_t size = recvfrom(v4_.get(), packet.data(), packet.size(), MSG_DONTWAIT,
                                    reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 0) break;
      const size_t header = static_cast<size_t>(packet[0] & 0xf) * 4;
      if (size < 1 ||
          !Ours(packet.data() + header, static_cast<size_t>(size), header, ICMP_ECHOREPLY)) {
        continue;
      }
      IpAddress ip;
      std::memcpy(ip.bytes.data(), &from.sin_addr, 4);
      return ip;
    }
    while (v6_.ok()) {
      sockaddr_in6 from = {};
      socklen_t length = sizeof(from);
      const ssize_t size = recvfrom(v6_.get(), packet.data(), packet.size(), MSG_DONTWAIT,
                                    reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 0) break;
      if (!Ours(packet.data(), static_cast<size_t>(size), 0, ICMP6_ECHO_REPLY)) continue;
      IpAddress ip;
      ip.family = Family::kIpv6;
      std::memcpy(ip.bytes.data(), &from.sin6_addr, 16);
      return ip;
    }
    return std::nullopt;
  }

  int Fd(Family family) const override { return family == Family::kIpv4 ? v4_.get() : v6_.get(); }

 private:
  // `size` counts from the start of the packet, of which `header` bytes come before `icmp`.
  bool Ours(const uint8_t* icmp, size_t size, size_t header, uint8_t type) const {
    Echo echo;
    if (size < header + sizeof(echo)) return false;
    std::memcpy(&echo, icmp, sizeof(echo));
    return echo.type == type && echo.id == pattern_.id && echo.nonce == pattern_.nonce;
  }

  const UniqueFd v4_, v6_;
  const Echo pattern_;
  uint16_t sequence_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Prober>> NewIcmpProber() {
  UniqueFd v4(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (!v4.ok()) {
    return absl::PermissionDeniedError(
        std::string("cannot open an ICMP socket (it needs CAP_NET_RAW): ") + strerror(errno));
  }
  UniqueFd v6(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6));
  Echo pattern;
  if (getrandom(&pattern.id, sizeof(pattern.id), 0) < 0 ||
      getrandom(pattern.nonce.data(), pattern.nonce.size(), 0) < 0) {
    return absl::InternalError(std::string("no random numbers: ") + strerror(errno));
  }
  return std::unique_ptr<Prober>(
      std::make_unique<IcmpProber>(std::move(v4), std::move(v6), pattern));
}

}  // namespace kube_lvs
