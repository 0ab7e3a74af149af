// Ethernet frames for packet tests, built from values: a test says what it sends and what it
// expects in the same words, and compares bytes. Checksums are always computed from scratch, so an
// expected frame checks the programs' incremental ones.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kube_lvs::ebpf {

using Bytes = std::vector<uint8_t>;
using Mac = std::array<uint8_t, 6>;

// "10.1.0.1" in host order; aborts on anything else.
uint32_t Ip(std::string_view text);

// TCP flags.
inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

// SCTP: one chunk of `type`, `value` in it. Checksum 0x0a0b0c0d, which nobody changes.
Bytes SctpPacket(uint16_t sport, uint16_t dport, uint8_t type, std::string_view value);

// An IPv4 packet in an Ethernet frame. Addresses and ports in host order.
struct Frame {
  Mac dst_mac = {}, src_mac = {};
  uint16_t ether_type = 0x0800;
  uint32_t src = 0, dst = 0;
  uint16_t sport = 0, dport = 0;
  uint8_t protocol = 6;
  // TCP; `ack` with that flag only.
  uint8_t flags = kSyn;
  uint32_t seq = 0x01020304, ack = 0x05060708;
  uint16_t window = 64240;
  uint8_t chunk = 1;  // SCTP: type of the first one, INIT
  uint8_t ttl = 64, tos = 0;
  uint16_t id = 7;
  bool dont_fragment = true, more_fragments = false;
  uint16_t fragment_offset = 0;   // in units of 8 bytes
  Bytes ip_options, tcp_options;  // multiples of 4 bytes
  std::string payload = "hello";
  bool udp_checksum = true;
  size_t padding = 0;  // behind the packet

  Bytes Build() const;
};

// The payload of an ICMP error about a packet: quotes its IP header and `quoted` bytes behind it,
// all of it when it has fewer.
std::string IcmpError(uint8_t type, uint8_t code, uint32_t rest, const Bytes& about,
                      size_t quoted = 8);

// The frame with an IPIP header between Ethernet and IP: `tos`, don't-fragment and lengths from
// the inner one, ttl 64, id as given.
Bytes Encapsulate(const Bytes& frame, uint32_t src, uint32_t dst, uint16_t id = 0);

// What GUE has between the outer IP header and a packet of that protocol and length: UDP without
// checksum, and variant 0 without options.
Bytes GueHeaders(uint16_t sport, uint16_t dport, uint8_t protocol, size_t length);

// As Encapsulate, with GUE to `dport`.
Bytes EncapsulateGue(const Bytes& frame, uint32_t src, uint32_t dst, uint16_t sport,
                     uint16_t dport);

struct Arp {
  Mac dst_mac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src_mac = {};
  uint16_t operation = 1;
  Mac sender_mac = {}, target_mac = {};
  uint32_t sender = 0, target = 0;

  Bytes Build() const;
};

// The Internet checksum of these bytes, from `sum` on.
uint16_t Checksum(const uint8_t* data, size_t size, uint32_t sum = 0);

// 16 bytes a line, for messages of failed comparisons.
std::string Hex(const Bytes& bytes);

}  // namespace kube_lvs::ebpf
