// IPv6 packets made and taken apart in user space, with full checksums.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/packet_tests/frame.h"

namespace kube_lvs::ebpf {

// "2001:db8::1" as on the wire; aborts on anything else.
klvs_in6 Ip6(std::string_view text);

// An IPv6 packet in an Ethernet frame.
struct Frame6 {
  Mac dst_mac = {}, src_mac = {};
  std::string src, dst;
  uint16_t sport = 0, dport = 0;
  uint8_t protocol = 6;
  // TCP; `ack` with that flag only.
  uint8_t flags = kSyn;
  uint32_t seq = 0x01020304, ack = 0x05060708;
  uint16_t window = 64240;
  uint8_t hops = 64, traffic_class = 0;
  // Headers between IPv6's and the transport's: type, and all its bytes, of which the first is
  // filled in.
  std::vector<std::pair<uint8_t, Bytes>> extensions;
  Bytes tcp_options;  // a multiple of 4 bytes
  std::string payload = "hello";
  bool headless = false;  // the payload is all that is behind the extensions
  bool udp_checksum = true;
  size_t padding = 0;  // behind the packet

  Bytes Build() const;
};

// A fragment header: type 44.
std::pair<uint8_t, Bytes> Fragment6(uint16_t offset_units, bool more, uint32_t id);

// An ICMPv6 message from `src` to `dst`, whose body is behind type, code and checksum.
Frame6 Icmp6(const Frame6& ends, uint8_t type, uint8_t code, const Bytes& body);

// The body of an ICMPv6 error about a frame: a word, and its first `quoted` bytes from the IPv6
// header on.
Bytes About6(uint32_t word, const Bytes& frame, size_t quoted = 256);

// The frame with another IPv6 header between Ethernet and IPv6; hop limit 64.
Bytes Encapsulate6(const Bytes& frame, std::string_view src, std::string_view dst);
// As that, with GUE to `dport`.
Bytes EncapsulateGue6(const Bytes& frame, std::string_view src, std::string_view dst,
                      uint16_t sport, uint16_t dport);

}  // namespace kube_lvs::ebpf
