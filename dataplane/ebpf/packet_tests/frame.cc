#include "dataplane/ebpf/packet_tests/frame.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace kube_lvs::ebpf {
namespace {

void Put16(Bytes& to, uint16_t value) {
  to.push_back(value >> 8);
  to.push_back(value & 0xff);
}

void Put32(Bytes& to, uint32_t value) {
  Put16(to, value >> 16);
  Put16(to, value & 0xffff);
}

void Set16(Bytes& in, size_t at, uint16_t value) {
  in[at] = value >> 8;
  in[at + 1] = value & 0xff;
}

template <typename Container>
void Append(Bytes& to, const Container& from) {
  to.insert(to.end(), from.begin(), from.end());
}

Bytes IpHeader(const Frame& frame, size_t payload) {
  Bytes out;
  const size_t header = 20 + frame.ip_options.size();
  out.push_back(0x40 | header / 4);
  out.push_back(frame.tos);
  Put16(out, header + payload);
  Put16(out, frame.id);
  Put16(out,
        frame.dont_fragment << 14 | frame.more_fragments << 13 | (frame.fragment_offset & 0x1fff));
  out.push_back(frame.ttl);
  out.push_back(frame.protocol);
  Put16(out, 0);
  Put32(out, frame.src);
  Put32(out, frame.dst);
  Append(out, frame.ip_options);
  Set16(out, 10, Checksum(out.data(), out.size()));
  return out;
}

// Sum of the pseudo header.
uint32_t PseudoHeader(const Frame& frame, size_t length) {
  return (frame.src >> 16) + (frame.src & 0xffff) + (frame.dst >> 16) + (frame.dst & 0xffff) +
         frame.protocol + static_cast<uint32_t>(length);
}

Bytes Tcp(const Frame& frame) {
  Bytes out;
  Put16(out, frame.sport);
  Put16(out, frame.dport);
  Put32(out, frame.seq);
  Put32(out, frame.flags & kAck ? frame.ack : 0);
  out.push_back((5 + frame.tcp_options.size() / 4) << 4);
  out.push_back(frame.flags);
  Put16(out, frame.window);
  Put16(out, 0);
  Put16(out, 0);
  Append(out, frame.tcp_options);
  Append(out, frame.payload);
  Set16(out, 16, Checksum(out.data(), out.size(), PseudoHeader(frame, out.size())));
  return out;
}

Bytes Udp(const Frame& frame) {
  Bytes out;
  Put16(out, frame.sport);
  Put16(out, frame.dport);
  Put16(out, 8 + frame.payload.size());
  Put16(out, 0);
  Append(out, frame.payload);
  if (frame.udp_checksum) {
    const uint16_t sum = Checksum(out.data(), out.size(), PseudoHeader(frame, out.size()));
    Set16(out, 6, sum == 0 ? 0xffff : sum);
  }
  return out;
}

Bytes Transport(const Frame& frame) {
  if (frame.fragment_offset != 0) return Bytes(frame.payload.begin(), frame.payload.end());
  if (frame.protocol == 6) return Tcp(frame);
  if (frame.protocol == 17) return Udp(frame);
  if (frame.protocol == 132) {
    return SctpPacket(frame.sport, frame.dport, frame.chunk, frame.payload);
  }
  return Bytes(frame.payload.begin(), frame.payload.end());
}

}  // namespace

uint32_t Ip(std::string_view text) {
  in_addr address;
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) std::abort();
  return ntohl(address.s_addr);
}

Bytes SctpPacket(uint16_t sport, uint16_t dport, uint8_t type, std::string_view value) {
  Bytes out;
  Put16(out, sport);
  Put16(out, dport);
  Put32(out, 0x01020304);  // tag
  Put32(out, 0x0a0b0c0d);
  out.push_back(type);
  out.push_back(0);
  Put16(out, 4 + value.size());
  Append(out, value);
  out.resize((out.size() + 3) / 4 * 4);
  return out;
}

uint16_t Checksum(const uint8_t* data, size_t size, uint32_t sum) {
  for (size_t i = 0; i < size; ++i) sum += i % 2 == 0 ? data[i] << 8 : data[i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

Bytes Frame::Build() const {
  const Bytes transport = Transport(*this);
  Bytes out;
  Append(out, dst_mac);
  Append(out, src_mac);
  Put16(out, ether_type);
  Append(out, IpHeader(*this, transport.size()));
  Append(out, transport);
  out.resize(out.size() + padding);
  return out;
}

std::string IcmpError(uint8_t type, uint8_t code, uint32_t rest, const Bytes& about,
                      size_t quoted) {
  const size_t header = (about[14] & 15) * 4, all = about[16] << 8 | about[17];
  Bytes out = {type, code, 0, 0};
  Put32(out, rest);
  const auto packet = about.begin() + 14;
  out.insert(out.end(), packet, packet + std::min(header + quoted, all));
  Set16(out, 2, Checksum(out.data(), out.size()));
  return std::string(out.begin(), out.end());
}

namespace {

// `between`: what is behind the outer header.
Bytes Wrap(const Bytes& frame, uint32_t src, uint32_t dst, uint16_t id, uint8_t protocol,
           const Bytes& between) {
  const size_t inner_length = frame[16] << 8 | frame[17];
  Frame outer;
  outer.src = src;
  outer.dst = dst;
  outer.protocol = protocol;
  outer.tos = frame[15];
  outer.id = id;
  outer.dont_fragment = frame[20] & 0x40;
  Bytes out(frame.begin(), frame.begin() + 14);
  Append(out, IpHeader(outer, inner_length + between.size()));
  Append(out, between);
  out.insert(out.end(), frame.begin() + 14, frame.end());
  return out;
}

}  // namespace

Bytes Encapsulate(const Bytes& frame, uint32_t src, uint32_t dst, uint16_t id) {
  return Wrap(frame, src, dst, id, 4, {});
}

Bytes GueHeaders(uint16_t sport, uint16_t dport, uint8_t protocol, size_t length) {
  Bytes out;
  Put16(out, sport);
  Put16(out, dport);
  Put16(out, length + 12);
  Put16(out, 0);
  Put16(out, protocol);
  Put16(out, 0);
  return out;
}

Bytes EncapsulateGue(const Bytes& frame, uint32_t src, uint32_t dst, uint16_t sport,
                     uint16_t dport) {
  const size_t length = frame[16] << 8 | frame[17];
  return Wrap(frame, src, dst, 0, 17, GueHeaders(sport, dport, 4, length));
}

Bytes Arp::Build() const {
  Bytes out;
  Append(out, dst_mac);
  Append(out, src_mac);
  Put16(out, 0x0806);
  Put16(out, 1);
  Put16(out, 0x0800);
  out.push_back(6);
  out.push_back(4);
  Put16(out, operation);
  Append(out, sender_mac);
  Put32(out, sender);
  Append(out, target_mac);
  Put32(out, target);
  return out;
}

std::string Hex(const Bytes& bytes) {
  std::string out;
  char text[8];
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::snprintf(text, sizeof text, "%02x%s", bytes[i], i % 16 == 15 ? "\n" : " ");
    out += text;
  }
  return out;
}

}  // namespace kube_lvs::ebpf
