#include "dataplane/ebpf/packet_tests/fuzz/changes.h"

#include <algorithm>

namespace kube_lvs::ebpf {
namespace {

void Blank(Bytes& frame, size_t at, size_t size) {
  for (size_t i = at; i < std::min(at + size, frame.size()); ++i) frame[i] = 0;
}

void BlankHop(Bytes& frame, const Reading& ip) {
  Blank(frame, 0, 12);
  Blank(frame, ip.begin + (ip.family == 4 ? 8 : 7), 1);
  if (ip.family == 4) Blank(frame, ip.begin + 10, 2);
}

void BlankAddresses(Bytes& frame, const Reading& ip) {
  const bool v4 = ip.family == 4;
  Blank(frame, ip.begin + (v4 ? 12 : 8), v4 ? 8 : 32);
  if (v4) Blank(frame, ip.begin + 10, 2);
}

// Ports and checksum, as far as they are before `end`.
void BlankTransport(Bytes& frame, const Reading& ip, size_t end) {
  Blank(frame, ip.header, std::min<size_t>(4, end - ip.header));
  const size_t check = ip.header + ChecksumAt(ip.protocol);
  if (check + 2 <= end) Blank(frame, check, 2);
}

bool HasNoChecksum(const Bytes& frame, const Reading& ip) {
  return ip.protocol == 17 && frame[ip.header + 6] == 0 && frame[ip.header + 7] == 0;
}

// A checksum of fields that end at `end`.
std::string SameError(const Bytes& in, const Reading& before, const Bytes& out,
                      const Reading& after, size_t end) {
  if (HasNoChecksum(in, before)) {
    return HasNoChecksum(out, after) ? "" : "a checksum where there was none";
  }
  if (HasNoChecksum(out, after)) return "no checksum where there was one";
  if (TransportError(in, before, end) == TransportError(out, after, end)) return "";
  return "the transport's checksum does not match the change";
}

std::string Hop(const Bytes& in, const Reading& before, const Bytes& out, const Reading& after) {
  if (in.size() != out.size()) return "its size changed";
  if (before.header != after.header) return "its headers changed";
  if (after.ttl + 1 != before.ttl) return "not one hop fewer";
  if (IpError(in, before) != IpError(out, after)) return "IP's checksum does not match the change";
  return "";
}

}  // namespace

std::string AgedOnly(const Bytes& in, const Reading& before, const Bytes& out,
                     const Reading& after) {
  std::string wrong = Hop(in, before, out, after);
  if (!wrong.empty()) return wrong;
  Bytes one = in, two = out;
  BlankHop(one, before);
  BlankHop(two, after);
  return one == two ? "" : "more than the hops changed";
}

std::string Translated(const Bytes& in, const Reading& before, const Bytes& out,
                       const Reading& after, const FlowKey& key) {
  std::string wrong = Hop(in, before, out, after);
  if (!wrong.empty()) return wrong;
  if (after.src != key.src || after.dst != key.dst) return "it has other addresses than the rule";
  Bytes one = in, two = out;
  for (auto [frame, reading] : {std::pair(&one, &before), std::pair(&two, &after)}) {
    BlankHop(*frame, *reading);
    BlankAddresses(*frame, *reading);
    if (!before.later) BlankTransport(*frame, *reading, reading->end());
  }
  if (one != two) return "more than addresses, ports and checksums changed";
  if (before.later) return "";
  if (after.sport != key.sport || after.dport != key.dport) return "it has other ports";
  return SameError(in, before, out, after, before.end());
}

std::string ErrorTranslated(const Bytes& in, const Reading& before, const Bytes& out,
                            const Reading& after, const Bytes& from, const Bytes& to,
                            const FlowKey& about) {
  std::string wrong = Hop(in, before, out, after);
  if (!wrong.empty()) return wrong;
  if (after.src != from || after.dst != to) return "the error has other addresses than the rule";
  const Reading asked = ReadQuoted(in, before), quoted = ReadQuoted(out, after);
  if (!quoted.sound || KeyOf(quoted) != about) return "the error is about another packet";
  Bytes one = in, two = out;
  for (auto [frame, outer, inner] :
       {std::tuple(&one, &before, &asked), std::tuple(&two, &after, &quoted)}) {
    BlankHop(*frame, *outer);
    BlankAddresses(*frame, *outer);
    Blank(*frame, outer->header + 2, 2);
    BlankAddresses(*frame, *inner);
    BlankTransport(*frame, *inner, outer->end());
  }
  if (one != two) return "more than addresses, ports and checksums changed";
  if (TransportError(in, before, before.end()) != TransportError(out, after, after.end())) {
    return "ICMP's checksum does not match the change";
  }
  if (IpError(in, asked) != IpError(out, quoted)) return "the quoted IP checksum does not match";
  if (asked.header + ChecksumAt(asked.protocol) + 2 > before.end()) return "";
  wrong = SameError(in, asked, out, quoted, before.end());
  return wrong.empty() ? "" : "of the quoted packet: " + wrong;
}

std::string Encapsulated(const Bytes& in, const Reading& before, const Bytes& out,
                         const Bytes& from, const Bytes& to, uint16_t gue_port) {
  const Reading outer = Read(out);
  const size_t plain = before.family == 4 ? 20 : 40;
  const size_t header = gue_port != 0 ? plain + 12 : plain;
  const uint8_t tunnelled = before.family == 4 ? 4 : 41;
  if (outer.family != before.family || outer.header - outer.begin != plain) {
    return "no plain outer header";
  }
  if (outer.protocol != (gue_port != 0 ? 17 : tunnelled)) return "the outer header says no tunnel";
  if (outer.length != before.length + header) return "the outer length is wrong";
  if (gue_port != 0) {
    const size_t at = kEthernet + plain;
    if (out.size() < at + 12) return "no headers of GUE";
    const uint16_t sport = static_cast<uint16_t>(out[at] << 8 | out[at + 1]);
    const Bytes headers = GueHeaders(sport, gue_port, tunnelled, before.length);
    const auto begin = out.begin() + static_cast<ptrdiff_t>(at);
    if (sport < 0xc000 || !std::equal(headers.begin(), headers.end(), begin)) {
      return "the headers of GUE are others";
    }
  }
  if (outer.src != from || outer.dst != to) return "the tunnel is another than the rule's";
  if (IpError(out, outer) != 0) return "the outer checksum is wrong";
  if (out.size() != in.size() + header) return "its size is wrong";
  return std::equal(in.begin() + kEthernet, in.end(), out.begin() + kEthernet + header)
             ? ""
             : "what is inside changed";
}

}  // namespace kube_lvs::ebpf
