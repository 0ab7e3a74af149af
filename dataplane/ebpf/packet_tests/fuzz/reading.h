// What a reader of its own, with none of the programs' code, makes of a frame.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/ebpf/packet_tests/frame.h"

namespace kube_lvs::ebpf {

inline constexpr size_t kEthernet = 14;

struct Reading {
  int family = 0;  // 4 or 6; 0: neither, or the fixed IP header is not all there
  Mac to = {}, from = {};
  Bytes src, dst;  // 4 or 16 bytes
  uint8_t ttl = 0;
  // Lengths and headers make sense; with TCP and UDP up to the ports. The rest is valid only then.
  bool sound = false;
  size_t begin = 0;   // offset of the IP header in the frame
  size_t header = 0;  // offset in the frame of what the IP header, with its extensions, carries
  size_t length = 0;  // of the IP packet
  uint8_t protocol = 0;
  bool fragment = false, later = false;  // one of several; not the first of them
  uint16_t sport = 0, dport = 0;         // TCP and UDP that are not later fragments

  size_t end() const { return kEthernet + length; }
  bool ported() const { return (protocol == 6 || protocol == 17) && !later; }
};

Reading Read(const Bytes& frame);

// The packet that an ICMP error quotes, as far as it goes: `sound` wants its IP header and 8 bytes.
// `family` is 0 when the frame is none.
Reading ReadQuoted(const Bytes& frame, const Reading& error);

// Offset of the checksum in the header of a TCP, UDP or ICMP message.
size_t ChecksumAt(uint8_t protocol);

// By how much a checksum is wrong: 0 when it is right; of what is cut or a fragment, any number.
// A change of fields and checksum that belong together leaves it as it is.
uint16_t IpError(const Bytes& frame, const Reading& reading);
// As if its message ended at `end`.
uint16_t TransportError(const Bytes& frame, const Reading& reading, size_t end);

}  // namespace kube_lvs::ebpf
