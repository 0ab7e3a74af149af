// Sockets in namespaces, and addresses as sockets have them.
#pragma once

#include <sys/socket.h>

#include "base/ip.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/testing/namespaces.h"

namespace kube_lvs::ebpf {

struct SocketAddress {
  SocketAddress() = default;  // room for any
  explicit SocketAddress(const Endpoint& at);

  Endpoint ToEndpoint() const;
  sockaddr* Get() { return reinterpret_cast<sockaddr*>(&bytes); }
  const sockaddr* Get() const { return reinterpret_cast<const sockaddr*>(&bytes); }

  sockaddr_storage bytes{};
  socklen_t size = sizeof(sockaddr_storage);
};

// Not ok() if this kernel has no such sockets: errno says why.
UniqueFd NewSocket(const Namespace& where, Family family, int type, int protocol = 0);

// No call on it waits longer for a packet.
void LimitWaits(const UniqueFd& socket, int seconds);

// A socket that listens. Aborts if the port is taken.
UniqueFd Listen(const Namespace& where, const Endpoint& at, int protocol = 0);

}  // namespace kube_lvs::ebpf
