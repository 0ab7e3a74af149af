#include "dataplane/ebpf/packet_tests/frame6.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace kube_lvs::ebpf {
namespace {

constexpr uint8_t kIcmp6 = 58;

void Put16(Bytes& to, uint32_t value) {
  to.push_back(value >> 8 & 0xff);
  to.push_back(value & 0xff);
}

void Put32(Bytes& to, uint32_t value) {
  Put16(to, value >> 16);
  Put16(to, value & 0xffff);
}

template <typename Container>
void Append(Bytes& to, const Container& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void PutAddress(Bytes& to, std::string_view text) {
  const klvs_in6 address = Ip6(text);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&address);
  to.insert(to.end(), bytes, bytes + sizeof address);
}

uint16_t TransportChecksum(const Frame6& frame, const Bytes& message) {
  Bytes all;
  PutAddress(all, frame.src);
  PutAddress(all, frame.dst);
  Put32(all, static_cast<uint32_t>(message.size()));
  Put32(all, frame.protocol);
  Append(all, message);
  return Checksum(all.data(), all.size());
}

void SetChecksum(const Frame6& frame, Bytes& message, size_t at) {
  uint16_t sum = TransportChecksum(frame, message);
  if (sum == 0) sum = 0xffff;
  message[at] = sum >> 8;
  message[at + 1] = sum & 0xff;
}

Bytes Transport(const Frame6& frame) {
  Bytes out;
  if (frame.headless || (frame.protocol != 6 && frame.protocol != 17 && frame.protocol != kIcmp6)) {
    Append(out, frame.payload);
    return out;
  }
  if (frame.protocol == kIcmp6) {
    Append(out, frame.payload);
    if (out.size() >= 4) SetChecksum(frame, out, 2);
    return out;
  }
  Put16(out, frame.sport);
  Put16(out, frame.dport);
  if (frame.protocol == 17) {
    Put16(out, 8 + frame.payload.size());
    Put16(out, 0);
    Append(out, frame.payload);
    if (frame.udp_checksum) SetChecksum(frame, out, 6);
    return out;
  }
  Put32(out, frame.seq);
  Put32(out, frame.flags & kAck ? frame.ack : 0);
  out.push_back((5 + frame.tcp_options.size() / 4) << 4);
  out.push_back(frame.flags);
  Put16(out, frame.window);
  Put32(out, 0);
  Append(out, frame.tcp_options);
  Append(out, frame.payload);
  SetChecksum(frame, out, 16);
  return out;
}

Bytes IpHeader(std::string_view src, std::string_view dst, uint8_t traffic_class, size_t payload,
               uint8_t next, uint8_t hops) {
  Bytes out;
  Put32(out, 6u << 28 | static_cast<uint32_t>(traffic_class) << 20);
  Put16(out, payload);
  out.push_back(next);
  out.push_back(hops);
  PutAddress(out, src);
  PutAddress(out, dst);
  return out;
}

}  // namespace

klvs_in6 Ip6(std::string_view text) {
  klvs_in6 address;
  if (inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1) std::abort();
  return address;
}

Bytes Frame6::Build() const {
  Bytes rest;
  for (size_t i = 0; i < extensions.size(); ++i) {
    Bytes header = extensions[i].second;
    header[0] = i + 1 < extensions.size() ? extensions[i + 1].first : protocol;
    Append(rest, header);
  }
  Append(rest, Transport(*this));
  Bytes out;
  Append(out, dst_mac);
  Append(out, src_mac);
  Put16(out, 0x86dd);
  Append(out, IpHeader(src, dst, traffic_class, rest.size(),
                       extensions.empty() ? protocol : extensions[0].first, hops));
  Append(out, rest);
  out.resize(out.size() + padding);
  return out;
}

std::pair<uint8_t, Bytes> Fragment6(uint16_t offset_units, bool more, uint32_t id) {
  Bytes header = {0, 0};
  Put16(header, offset_units << 3 | (more ? 1 : 0));
  Put32(header, id);
  return {44, header};
}

Frame6 Icmp6(const Frame6& ends, uint8_t type, uint8_t code, const Bytes& body) {
  Frame6 out = ends;
  out.protocol = kIcmp6;
  out.extensions.clear();
  out.payload = {static_cast<char>(type), static_cast<char>(code), 0, 0};
  out.payload.append(body.begin(), body.end());
  return out;
}

Bytes About6(uint32_t word, const Bytes& frame, size_t quoted) {
  Bytes out;
  Put32(out, word);
  const auto packet = frame.begin() + 14;
  out.insert(out.end(), packet, packet + std::min<size_t>(quoted, frame.size() - 14));
  return out;
}

namespace {

// `between`: what is behind the outer header.
Bytes Wrap(const Bytes& frame, std::string_view src, std::string_view dst, uint8_t protocol,
           const Bytes& between) {
  const size_t length = 40 + (frame[18] << 8 | frame[19]);
  const uint8_t traffic_class = (frame[14] & 15) << 4 | frame[15] >> 4;
  Bytes out(frame.begin(), frame.begin() + 14);
  Append(out, IpHeader(src, dst, traffic_class, length + between.size(), protocol, 64));
  Append(out, between);
  out.insert(out.end(), frame.begin() + 14, frame.end());
  return out;
}

}  // namespace

Bytes Encapsulate6(const Bytes& frame, std::string_view src, std::string_view dst) {
  return Wrap(frame, src, dst, 41, {});
}

Bytes EncapsulateGue6(const Bytes& frame, std::string_view src, std::string_view dst,
                      uint16_t sport, uint16_t dport) {
  const size_t length = 40 + (frame[18] << 8 | frame[19]);
  return Wrap(frame, src, dst, 17, GueHeaders(sport, dport, 41, length));
}

}  // namespace kube_lvs::ebpf
