#include "cli/names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace kube_lvs::cli {
namespace {

const char* ProtocolName(uint16_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_SCTP:
      return "sctp";
  }
  return nullptr;
}

}  // namespace

std::optional<std::array<uint8_t, 4>> SystemNames::HostAddress(const std::string& name) const {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &raw) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> found(raw, &freeaddrinfo);
  sockaddr_in address{};
  std::memcpy(&address, found->ai_addr, sizeof address);
  std::array<uint8_t, 4> out;
  std::memcpy(out.data(), &address.sin_addr, out.size());
  return out;
}

std::optional<uint16_t> SystemNames::ServicePort(const std::string& name, uint16_t protocol) const {
  const char* text = ProtocolName(protocol);
  if (text == nullptr) return std::nullopt;
  const servent* found = getservbyname(name.c_str(), text);
  if (found == nullptr) return std::nullopt;
  return ntohs(static_cast<uint16_t>(found->s_port));
}

std::optional<std::string> SystemNames::HostName(const IpAddress& ip) const {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (ip.IsV4()) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    std::memcpy(&four.sin_addr, ip.bytes.data(), 4);
    size = sizeof four;
    std::memcpy(&storage, &four, size);
  } else {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    std::memcpy(&six.sin6_addr, ip.bytes.data(), 16);
    size = sizeof six;
    std::memcpy(&storage, &six, size);
  }
  char host[NI_MAXHOST];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&storage), size, host, sizeof host, nullptr, 0,
                  NI_NAMEREQD) != 0) {
    return std::nullopt;
  }
  return host;
}

std::optional<std::string> SystemNames::ServiceName(uint16_t port, uint16_t protocol) const {
  const char* text = ProtocolName(protocol);
  if (text == nullptr) return std::nullopt;
  const servent* found = getservbyport(htons(port), text);
  if (found == nullptr) return std::nullopt;
  return found->s_name;
}

}  // namespace kube_lvs::cli
