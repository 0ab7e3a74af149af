#include "dataplane/ebpf/testing/sockets.h"

#include <netinet/in.h>
#include <sys/time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace kube_lvs::ebpf {

SocketAddress::SocketAddress(const Endpoint& at) {
  if (at.ip.IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&bytes);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(at.port);
    std::memcpy(&v4->sin_addr, at.ip.bytes.data(), at.ip.Size());
    size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&bytes);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(at.port);
    std::memcpy(&v6->sin6_addr, at.ip.bytes.data(), at.ip.Size());
    size = sizeof(sockaddr_in6);
  }
}

Endpoint SocketAddress::ToEndpoint() const {
  Endpoint out;
  if (bytes.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&bytes);
    out.port = ntohs(v4->sin_port);
    std::memcpy(out.ip.bytes.data(), &v4->sin_addr, sizeof v4->sin_addr);
  } else {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&bytes);
    out.ip.family = Family::kIpv6;
    out.port = ntohs(v6->sin6_port);
    std::memcpy(out.ip.bytes.data(), &v6->sin6_addr, sizeof v6->sin6_addr);
  }
  return out;
}

UniqueFd NewSocket(const Namespace& where, Family family, int type, int protocol) {
  return where.In([&] {
    const int domain = family == Family::kIpv4 ? AF_INET : AF_INET6;
    return UniqueFd(socket(domain, type | SOCK_CLOEXEC, protocol));
  });
}

void LimitWaits(const UniqueFd& socket, int seconds) {
  const timeval limit{.tv_sec = seconds, .tv_usec = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

UniqueFd Listen(const Namespace& where, const Endpoint& at, int protocol) {
  UniqueFd listener = NewSocket(where, at.ip.family, SOCK_STREAM, protocol);
  const int yes = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const SocketAddress address(at);
  if (bind(listener.get(), address.Get(), address.size) != 0 || listen(listener.get(), 128) != 0) {
    std::perror(("a server at " + at.ToString()).c_str());
    std::abort();
  }
  return listener;
}

}  // namespace kube_lvs::ebpf
