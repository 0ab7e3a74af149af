#include "node-agent/peers/udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace kube_lvs {
namespace {

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

// For one control message with either family's address.
union Control {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(in6_pktinfo))];
};

socklen_t Fill(SocketAddress& address, const IpAddress& ip, uint16_t port) {
  std::memset(&address, 0, sizeof(address));
  if (ip.IsV4()) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    std::memcpy(&address.v4.sin_addr, ip.bytes.data(), 4);
    return sizeof(address.v4);
  }
  address.v6.sin6_family = AF_INET6;
  address.v6.sin6_port = htons(port);
  std::memcpy(&address.v6.sin6_addr, ip.bytes.data(), 16);
  return sizeof(address.v6);
}

IpAddress AddressFrom(Family family, const void* bytes) {
  IpAddress ip;
  ip.family = family;
  std::memcpy(ip.bytes.data(), bytes, ip.Size());
  return ip;
}

template <typename T>
void Attach(msghdr& message, Control& control, int level, int type, const T& value) {
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof(value));
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof(value));
  std::memcpy(CMSG_DATA(header), &value, sizeof(value));
}

}  // namespace

absl::StatusOr<UdpSocket> UdpSocket::Open(const IpAddress& local, uint16_t port) {
  const auto failed = [] { return absl::UnavailableError(strerror(errno)); };
  UniqueFd fd(
      socket(local.IsV4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.ok()) return failed();
  const int on = 1;
  if (!local.IsV4() && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) {
    return failed();
  }
  if (setsockopt(fd.get(), local.IsV4() ? IPPROTO_IP : IPPROTO_IPV6,
                 local.IsV4() ? IP_PKTINFO : IPV6_RECVPKTINFO, &on, sizeof(on)) != 0) {
    return failed();
  }
  SocketAddress address;
  const socklen_t length = Fill(address, local, port);
  if (bind(fd.get(), &address.any, length) != 0) return failed();
  return UdpSocket(std::move(fd), local.family);
}

std::optional<UdpSocket::Datagram> UdpSocket::Receive(std::span<uint8_t> buffer) {
  SocketAddress from;
  Control control;
  iovec data = {buffer.data(), buffer.size()};
  ssize_t size = -1;
  msghdr message;
  do {
    message = {};
    message.msg_name = &from;
    message.msg_namelen = sizeof(from);
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    size = recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    // Errors of something that we sent.
  } while (size < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH));
  if (size < 0) return std::nullopt;
  Datagram datagram;
  datagram.size = static_cast<size_t>(size);
  if (family_ == Family::kIpv4) {
    datagram.from = AddressFrom(family_, &from.v4.sin_addr);
    datagram.from_port = ntohs(from.v4.sin_port);
  } else {
    datagram.from = AddressFrom(family_, &from.v6.sin6_addr);
    datagram.from_port = ntohs(from.v6.sin6_port);
  }
  datagram.to.family = family_;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof(info));
      datagram.to = AddressFrom(Family::kIpv4, &info.ipi_addr);
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof(info));
      datagram.to = AddressFrom(Family::kIpv6, &info.ipi6_addr);
    }
  }
  return datagram;
}

void UdpSocket::Send(std::span<const uint8_t> bytes, const IpAddress& to, uint16_t port,
                     const std::optional<IpAddress>& source) {
  if (!fd_.ok()) return;
  SocketAddress address;
  Control control = {};
  iovec data = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_name = &address;
  message.msg_namelen = Fill(address, to, port);
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (source.has_value() && source->family == to.family && source->IsV4()) {
    in_pktinfo info = {};
    std::memcpy(&info.ipi_spec_dst, source->bytes.data(), 4);
    Attach(message, control, IPPROTO_IP, IP_PKTINFO, info);
  } else if (source.has_value() && source->family == to.family) {
    in6_pktinfo info = {};
    std::memcpy(&info.ipi6_addr, source->bytes.data(), 16);
    Attach(message, control, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  if (sendmsg(fd_.get(), &message, MSG_DONTWAIT) < 0) return;
}

}  // namespace kube_lvs
