// What the beginning of an Ethernet frame says, for people and programs. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/ip.h"

namespace kube_lvs::cli {

// As far as it could be read: what is empty was beyond the end.
struct PacketView {
  std::string protocol;  // "TCP", "UDP", "SCTP", "ICMP", "ICMPv6"; others by number
  std::optional<IpAddress> source, destination;
  std::optional<uint16_t> source_port, destination_port;
  std::string detail;  // of TCP its flags, "SYN,ACK"; of ICMP "type 3 code 4"; "fragment at 1480"
  bool operator==(const PacketView&) const = default;
};

PacketView ViewOf(std::span<const uint8_t> frame);

// "10.1.0.1:40000 > 192.0.2.1:80 TCP SYN".
std::string ToString(const PacketView& packet);

}  // namespace kube_lvs::cli
