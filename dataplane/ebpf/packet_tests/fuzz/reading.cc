#include "dataplane/ebpf/packet_tests/fuzz/reading.h"

#include <algorithm>

namespace kube_lvs::ebpf {
namespace {

uint16_t At16(const Bytes& frame, size_t at) {
  return static_cast<uint16_t>(frame[at] << 8 | frame[at + 1]);
}

Bytes Part(const Bytes& frame, size_t at, size_t size) {
  return {frame.begin() + static_cast<ptrdiff_t>(at),
          frame.begin() + static_cast<ptrdiff_t>(at + size)};
}

// The folded ones' complement sum, where both zeros are one.
uint16_t Sum(const Bytes& bytes, uint64_t sum) {
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? bytes[i] << 8 : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff ? 0 : static_cast<uint16_t>(sum);
}

// IPv6's headers before the transport's. False: they make no sense.
bool WalkExtensions(const Bytes& frame, size_t end, Reading& reading) {
  for (;;) {
    const uint8_t next = reading.protocol;
    if (next != 0 && next != 43 && next != 44 && next != 60) return true;
    const size_t at = reading.header;
    if (at + 8 > end) return false;
    if (next == 44) {
      const uint16_t offset = At16(frame, at + 2);
      reading.fragment = (offset & 0xfff9) != 0;
      reading.later = offset >> 3 != 0;
      reading.header = at + 8;
    } else {
      reading.header = at + (frame[at + 1] + size_t{1}) * 8;
    }
    reading.protocol = frame[at];
    if (reading.header > end) return false;
    if (reading.later) return true;
  }
}

void ReadTransport(const Bytes& frame, size_t end, Reading& reading) {
  reading.sound = true;
  if (!reading.ported()) return;
  const size_t room = end - reading.header;
  const bool tcp = reading.protocol == 6;
  if (room < (tcp ? 20U : 8U)) {
    reading.sound = false;
    return;
  }
  reading.sport = At16(frame, reading.header);
  reading.dport = At16(frame, reading.header + 2);
  if (tcp) {
    const size_t words = frame[reading.header + 12] >> 4;
    reading.sound = words >= 5 && words * 4 <= room;
  } else {
    const size_t length = At16(frame, reading.header + 4);
    // RFC 8200, section 8.1: with IPv6 there is no other checksum.
    const bool summed = reading.family == 4 || At16(frame, reading.header + 6) != 0;
    reading.sound = summed && length >= 8 && (length <= room || reading.fragment);
  }
}

// From the IP header at `at` on. All of its packet must be there, if `whole`.
Reading ReadIp(const Bytes& frame, size_t at, bool whole) {
  Reading reading;
  const int version = frame.size() > at ? frame[at] >> 4 : 0;
  const size_t fixed = version == 6 ? 40 : 20;
  if (frame.size() < at + fixed) return reading;
  const bool v6 = version == 6;
  reading.family = v6 ? 6 : 4;
  reading.begin = at;
  reading.src = v6 ? Part(frame, at + 8, 16) : Part(frame, at + 12, 4);
  reading.dst = v6 ? Part(frame, at + 24, 16) : Part(frame, at + 16, 4);
  reading.ttl = frame[at + (v6 ? 7 : 8)];
  reading.protocol = frame[at + (v6 ? 6 : 9)];
  reading.length = At16(frame, at + (v6 ? 4 : 2)) + (v6 ? size_t{40} : 0);
  size_t header = 40;
  if (!v6) {
    header = (frame[at] & 15) * size_t{4};
    const uint16_t fragment = At16(frame, at + 6);
    reading.fragment = (fragment & 0x3fff) != 0;
    reading.later = (fragment & 0x1fff) != 0;
  }
  reading.header = at + header;
  if (version != 4 && version != 6) return reading;
  if (header < fixed || reading.length < header) return reading;
  if (!whole) {
    reading.sound =
        !reading.later && reading.header + 8 <= frame.size() && reading.length >= header + 8;
    if (!reading.sound || !reading.ported()) return reading;
    reading.sport = At16(frame, reading.header);
    reading.dport = At16(frame, reading.header + 2);
    return reading;
  }
  if (at + reading.length > frame.size()) return reading;
  if (v6 && !WalkExtensions(frame, at + reading.length, reading)) return reading;
  ReadTransport(frame, at + reading.length, reading);
  return reading;
}

}  // namespace

Reading Read(const Bytes& frame) {
  Reading reading;
  if (frame.size() < kEthernet) return reading;
  const uint16_t type = At16(frame, 12);
  if (type == 0x0800 || type == 0x86dd) {
    const size_t fixed = type == 0x0800 ? 20 : 40;
    // The Ethernet header says which it is; a version that contradicts it makes it unsound.
    if (frame.size() >= kEthernet + fixed) {
      Bytes typed = frame;
      typed[kEthernet] =
          static_cast<uint8_t>((type == 0x0800 ? 0x40 : 0x60) | (frame[kEthernet] & 15));
      reading = ReadIp(typed, kEthernet, true);
      reading.sound = reading.sound && typed[kEthernet] == frame[kEthernet];
    }
  }
  std::copy_n(frame.begin(), 6, reading.to.begin());
  std::copy_n(frame.begin() + 6, 6, reading.from.begin());
  return reading;
}

Reading ReadQuoted(const Bytes& frame, const Reading& error) {
  const bool icmp = error.sound && !error.fragment &&
                    error.protocol == (error.family == 4 ? 1 : 58) &&
                    error.header + 8 < error.end();
  if (!icmp) return {};
  const Bytes message = Part(frame, 0, error.end());
  const Reading quoted = ReadIp(message, error.header + 8, false);
  return quoted.family == error.family ? quoted : Reading{};
}

size_t ChecksumAt(uint8_t protocol) {
  if (protocol == 6) return 16;
  return protocol == 17 ? 6 : 2;
}

uint16_t IpError(const Bytes& frame, const Reading& reading) {
  if (reading.family != 4) return 0;
  return Sum(Part(frame, reading.begin, reading.header - reading.begin), 0);
}

uint16_t TransportError(const Bytes& frame, const Reading& reading, size_t end) {
  Bytes all;
  if (reading.protocol != 1) {
    all.insert(all.end(), reading.src.begin(), reading.src.end());
    all.insert(all.end(), reading.dst.begin(), reading.dst.end());
  }
  const size_t length = end - reading.header;
  const Bytes message = Part(frame, reading.header, length);
  all.insert(all.end(), message.begin(), message.end());
  return Sum(all, reading.protocol == 1 ? 0 : length + reading.protocol);
}

}  // namespace kube_lvs::ebpf
