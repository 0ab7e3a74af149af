#include "cli/packet_view.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>

namespace kube_lvs::cli {
namespace {

constexpr size_t kEthernet = 14;
constexpr uint16_t kIpv4Type = 0x0800, kIpv6Type = 0x86dd;

using Bytes = std::span<const uint8_t>;

uint16_t Word(Bytes bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

IpAddress Address(Bytes bytes, size_t at, Family family) {
  IpAddress out{.family = family};
  std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), out.Size(), out.bytes.begin());
  return out;
}

std::string NameOf(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "TCP";
    case IPPROTO_UDP:
      return "UDP";
    case IPPROTO_SCTP:
      return "SCTP";
    case IPPROTO_ICMP:
      return "ICMP";
    case IPPROTO_ICMPV6:
      return "ICMPv6";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

std::string TcpFlags(uint8_t flags) {
  static constexpr std::array<const char*, 6> kNames = {"FIN", "SYN", "RST", "PSH", "ACK", "URG"};
  std::string out;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if ((flags >> i & 1) != 0) out += (out.empty() ? "" : ",") + std::string(kNames[i]);
  }
  return out.empty() ? "no flags" : out;
}

void ReadTransport(uint8_t protocol, Bytes rest, PacketView& out) {
  if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
    if (rest.size() < 2) return;
    out.detail = "type " + std::to_string(rest[0]) + " code " + std::to_string(rest[1]);
    return;
  }
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP) return;
  if (rest.size() < 4) return;
  out.source_port = Word(rest, 0);
  out.destination_port = Word(rest, 2);
  if (protocol == IPPROTO_TCP && rest.size() > 13) out.detail = TcpFlags(rest[13]);
}

// `offset` in bytes. Of a fragment that is not the first, nothing more can be said.
void ReadRest(uint8_t protocol, uint32_t offset, Bytes rest, PacketView& out) {
  out.protocol = NameOf(protocol);
  if (offset == 0) return ReadTransport(protocol, rest, out);
  out.detail = "fragment at " + std::to_string(offset);
}

void ReadIpv4(Bytes ip, PacketView& out) {
  if (ip.size() < 20) return;
  out.source = Address(ip, 12, Family::kIpv4);
  out.destination = Address(ip, 16, Family::kIpv4);
  const size_t header = std::clamp<size_t>(size_t{ip[0]} % 16 * 4, 20, ip.size());
  ReadRest(ip[9], Word(ip, 6) % 0x2000 * 8, ip.subspan(header), out);
}

// RFC 8200, section 4.
void ReadIpv6(Bytes ip, PacketView& out) {
  if (ip.size() < 40) return;
  out.source = Address(ip, 8, Family::kIpv6);
  out.destination = Address(ip, 24, Family::kIpv6);
  uint8_t next = ip[6];
  uint32_t offset = 0;
  Bytes rest = ip.subspan(40);
  while (offset == 0 && (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
                         next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT)) {
    if (rest.size() < 8) return;
    const size_t length = next == IPPROTO_FRAGMENT ? 8 : 8 + size_t{rest[1]} * 8;
    if (next == IPPROTO_FRAGMENT) offset = Word(rest, 2) / 8 * 8;
    next = rest[0];
    rest = rest.subspan(std::min(length, rest.size()));
  }
  ReadRest(next, offset, rest, out);
}

std::string End(const std::optional<IpAddress>& ip, const std::optional<uint16_t>& port) {
  return port ? Endpoint{*ip, *port}.ToString() : ip->ToString();
}

}  // namespace

PacketView ViewOf(std::span<const uint8_t> frame) {
  PacketView out;
  if (frame.size() < kEthernet) return out;
  const Bytes ip = frame.subspan(kEthernet);
  const uint16_t type = Word(frame, kEthernet - 2);
  if (type == kIpv4Type) ReadIpv4(ip, out);
  if (type == kIpv6Type) ReadIpv6(ip, out);
  return out;
}

std::string ToString(const PacketView& packet) {
  if (!packet.source) return "too short to read";
  std::string out = End(packet.source, packet.source_port) + " > " +
                    End(packet.destination, packet.destination_port);
  if (!packet.protocol.empty()) out += " " + packet.protocol;
  if (!packet.detail.empty()) out += " " + packet.detail;
  return out;
}

}  // namespace kube_lvs::cli
