#include "dataplane/host/announce.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace kube_lvs::host {
namespace {

using Bytes = std::vector<uint8_t>;

void Append(Bytes& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

void Append16(Bytes& out, uint16_t host_order) {
  out.push_back(static_cast<uint8_t>(host_order >> 8));
  out.push_back(static_cast<uint8_t>(host_order));
}

Bytes Ethernet(const MacAddress& to, const MacAddress& from, uint16_t type) {
  Bytes frame;
  Append(frame, to.bytes.data(), 6);
  Append(frame, from.bytes.data(), 6);
  Append16(frame, type);
  return frame;
}

Bytes GratuitousArp(const IpAddress& address, const MacAddress& mac, uint16_t operation) {
  const MacAddress broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  Bytes frame = Ethernet(broadcast, mac, ETHERTYPE_ARP);
  Append16(frame, 1);  // Ethernet
  Append16(frame, ETHERTYPE_IP);
  frame.push_back(6);
  frame.push_back(4);
  Append16(frame, operation);
  Append(frame, mac.bytes.data(), 6);
  Append(frame, address.bytes.data(), 4);
  Append(frame, operation == 1 ? MacAddress{}.bytes.data() : broadcast.bytes.data(), 6);
  Append(frame, address.bytes.data(), 4);
  return frame;
}

uint16_t InternetChecksum(const Bytes& data) {
  uint32_t sum = 0;
  for (size_t i = 0; i < data.size(); i += 2) {
    sum += static_cast<uint32_t>(data[i]) << 8 | (i + 1 < data.size() ? data[i + 1] : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Bytes UnsolicitedAdvertisement(const IpAddress& address, const MacAddress& mac) {
  const MacAddress all_nodes_mac{{0x33, 0x33, 0, 0, 0, 1}};
  const uint8_t all_nodes[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  Bytes icmp = {136, 0, 0, 0, 0x20, 0, 0, 0};  // neighbour advertisement, override
  Append(icmp, address.bytes.data(), 16);
  icmp.insert(icmp.end(), {2, 1});  // option: target link-layer address
  Append(icmp, mac.bytes.data(), 6);

  Bytes pseudo;
  Append(pseudo, address.bytes.data(), 16);
  Append(pseudo, all_nodes, 16);
  pseudo.insert(pseudo.end(), {0, 0, 0, static_cast<uint8_t>(icmp.size()), 0, 0, 0, 58});
  Append(pseudo, icmp.data(), icmp.size());
  const uint16_t checksum = InternetChecksum(pseudo);
  icmp[2] = static_cast<uint8_t>(checksum >> 8);
  icmp[3] = static_cast<uint8_t>(checksum);

  Bytes frame = Ethernet(all_nodes_mac, mac, ETHERTYPE_IPV6);
  frame.insert(frame.end(), {0x60, 0, 0, 0, 0, static_cast<uint8_t>(icmp.size()), 58, 255});
  Append(frame, address.bytes.data(), 16);
  Append(frame, all_nodes, 16);
  Append(frame, icmp.data(), icmp.size());
  return frame;
}

}  // namespace

std::vector<Bytes> Announcements(const IpAddress& address, const MacAddress& mac) {
  if (!address.IsV4()) return {UnsolicitedAdvertisement(address, mac)};
  return {GratuitousArp(address, mac, 1), GratuitousArp(address, mac, 2)};
}

absl::Status Announce(const Cidr& vips, const std::string& interface) {
  const std::string what = "announce " + vips.ToString() + " on";
  const UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return FileError(errno, what, interface);
  ifreq request{};
  if (interface.size() >= IFNAMSIZ) return absl::NotFoundError("no interface " + interface);
  std::memcpy(request.ifr_name, interface.data(), interface.size());
  if (ioctl(fd.get(), SIOCGIFHWADDR, &request) != 0) return FileError(errno, what, interface);
  MacAddress mac;
  std::memcpy(mac.bytes.data(), request.ifr_hwaddr.sa_data, 6);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  to.sll_halen = 6;
  if (!vips.IsHost() && !vips.address.IsV4()) {
    return absl::InvalidArgumentError(what + " " + interface + ": not IPv4");
  }
  const auto send = [&](const IpAddress& address) {
    return std::ranges::all_of(Announcements(address, mac), [&](const Bytes& frame) {
      return sendto(fd.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                    sizeof(to)) >= 0;
    });
  };
  if (vips.IsHost()) {
    return send(vips.address) ? absl::OkStatus() : FileError(errno, what, interface);
  }
  const uint32_t first = vips.address.V4();
  for (uint32_t i = 0; i <= vips.Last().V4() - first; ++i) {
    if (!send(IpAddress::FromV4(first + i))) return FileError(errno, what, interface);
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::host
