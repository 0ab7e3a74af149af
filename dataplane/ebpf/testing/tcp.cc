#include "dataplane/ebpf/testing/tcp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace kube_lvs::ebpf {
namespace {

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* Get() { return reinterpret_cast<sockaddr*>(&bytes); }
};

Address AddressOf(const Endpoint& at) {
  Address out;
  if (at.ip.IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.bytes);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(at.port);
    std::memcpy(&v4->sin_addr, at.ip.bytes.data(), at.ip.Size());
    out.size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.bytes);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(at.port);
    std::memcpy(&v6->sin6_addr, at.ip.bytes.data(), at.ip.Size());
    out.size = sizeof(sockaddr_in6);
  }
  return out;
}

std::string TextOf(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* ip = address.bytes.ss_family == AF_INET
                       ? static_cast<const void*>(
                             &reinterpret_cast<const sockaddr_in*>(&address.bytes)->sin_addr)
                       : &reinterpret_cast<const sockaddr_in6*>(&address.bytes)->sin6_addr;
  inet_ntop(address.bytes.ss_family, ip, text.data(), text.size());
  return text.data();
}

UniqueFd Stream(const Namespace& where, Family family) {
  return where.In([&] {
    const int domain = family == Family::kIpv4 ? AF_INET : AF_INET6;
    return UniqueFd(socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0));
  });
}

void Limit(const UniqueFd& connection) {
  const timeval limit{.tv_sec = 3, .tv_usec = 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

TcpServer::TcpServer(const Namespace& where, std::string name, const Endpoint& at)
    : name_(std::move(name)), listener_(Stream(where, at.ip.family)) {
  Address address = AddressOf(at);
  if (bind(listener_.get(), address.Get(), address.size) != 0 ||
      listen(listener_.get(), 128) != 0) {
    std::perror("server");
    std::abort();
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void TcpServer::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd wait{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 50) <= 0) continue;
    Address from;
    const UniqueFd connection(accept4(listener_.get(), from.Get(), &from.size, SOCK_CLOEXEC));
    if (!connection.ok()) continue;
    Limit(connection);
    std::array<char, 65536> buffer;
    std::string request;
    while (!request.ends_with('\n')) {
      const ssize_t got = recv(connection.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      request.append(buffer.data(), static_cast<size_t>(got));
    }
    if (!request.ends_with('\n')) continue;
    const std::string answer = name_ + " sees " + TextOf(from) + "\n" + request;
    send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  }
}

std::string AskTcp(const Namespace& from, const Endpoint& to, const std::string& request) {
  const UniqueFd connection = Stream(from, to.ip.family);
  Limit(connection);
  Address address = AddressOf(to);
  if (connect(connection.get(), address.Get(), address.size) != 0) return "";
  if (send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string answer;
  std::array<char, 65536> buffer;
  ssize_t got = 0;
  while ((got = recv(connection.get(), buffer.data(), buffer.size(), 0)) > 0) {
    answer.append(buffer.data(), static_cast<size_t>(got));
  }
  return answer;
}

}  // namespace kube_lvs::ebpf
