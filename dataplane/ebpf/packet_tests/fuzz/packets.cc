#include "dataplane/ebpf/packet_tests/fuzz/packets.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace kube_lvs::ebpf {
namespace {

std::string Text(const Bytes& address) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(address.size() == 4 ? AF_INET : AF_INET6, address.data(), text, sizeof text);
  return text;
}

Bytes Options(Chance& chance) {
  if (!chance.OneIn(6)) return {};
  return Bytes(4 * (1 + chance.Below(10)), 1);  // no-operations
}

std::string Payload(Chance& chance) {
  // Some do not fit an MTU of 1500, others not a tunnel's.
  const size_t sizes[] = {0, 1, 2, 5, 8, 31, 500, 1400, 1432, 1441, 1460, 1481, 1600};
  std::string out(chance.Of(sizes), 'x');
  for (size_t i = 0; i < std::min<size_t>(out.size(), 8); ++i) {
    out[i] = static_cast<char>(chance.Below(256));
  }
  return out;
}

uint8_t TcpFlags(Chance& chance) {
  const uint8_t common[] = {kSyn, kSyn, kAck, kAck, kAck | kFin, kRst, kRst | kAck, kSyn | kAck};
  return chance.OneIn(10) ? static_cast<uint8_t>(chance.Below(64)) : chance.Of(common);
}

// Of a packet in fragments; few, so that later ones find their first.
uint32_t Number(Chance& chance) { return static_cast<uint32_t>(chance.Below(4)); }

Bytes Extension(uint8_t type, Chance& chance) {
  if (type == 44) return Fragment6(0, false, 9).second;
  Bytes header(8 * (1 + chance.Below(3)), 0);
  header[1] = static_cast<uint8_t>(header.size() / 8 - 1);
  return header;
}

struct Ends {
  FlowKey key;
  Mac from = kClientMac;
  uint8_t flags = 0;  // TCP; 0: any
};

Bytes Build4(const Ends& ends, Chance& chance) {
  Frame frame;
  frame.dst_mac = kOwnMac;
  frame.src_mac = ends.from;
  frame.src = Ip(Text(ends.key.src));
  frame.dst = Ip(Text(ends.key.dst));
  frame.sport = ends.key.sport;
  frame.dport = ends.key.dport;
  frame.protocol = ends.key.protocol;
  frame.flags = ends.flags != 0 ? ends.flags : TcpFlags(chance);
  frame.payload = Payload(chance);
  frame.ip_options = Options(chance);
  frame.tcp_options = Options(chance);
  frame.udp_checksum = !chance.OneIn(8);
  frame.ttl = chance.OneIn(30) ? chance.Below(3) : 64;
  frame.tos = chance.Below(256);
  frame.dont_fragment = !chance.OneIn(4);
  frame.id = static_cast<uint16_t>(Number(chance));
  if (chance.OneIn(12)) frame.padding = chance.Below(60);
  if (chance.OneIn(8)) {
    frame.dont_fragment = false;
    frame.more_fragments = chance.OneIn(2);
    if (chance.OneIn(2)) frame.fragment_offset = 1 + chance.Below(180);
  }
  return frame.Build();
}

Bytes Build6(const Ends& ends, Chance& chance) {
  Frame6 frame;
  frame.dst_mac = kOwnMac;
  frame.src_mac = ends.from;
  frame.src = Text(ends.key.src);
  frame.dst = Text(ends.key.dst);
  frame.sport = ends.key.sport;
  frame.dport = ends.key.dport;
  frame.protocol = ends.key.protocol;
  frame.flags = ends.flags != 0 ? ends.flags : TcpFlags(chance);
  frame.payload = Payload(chance);
  frame.tcp_options = Options(chance);
  frame.hops = chance.OneIn(30) ? chance.Below(3) : 64;
  frame.traffic_class = chance.Below(256);
  frame.udp_checksum = !chance.OneIn(20);
  if (chance.OneIn(12)) frame.padding = chance.Below(60);
  const uint8_t types[] = {0, 43, 44, 60, 60};
  while (chance.OneIn(4)) {
    const uint8_t type = chance.Of(types);
    frame.extensions.emplace_back(type, Extension(type, chance));
  }
  if (chance.OneIn(8)) {
    const bool later = chance.OneIn(2);
    frame.extensions.push_back(
        Fragment6(later ? 1 + chance.Below(180) : 0, !chance.OneIn(3), Number(chance)));
    frame.headless = later;
  }
  return frame.Build();
}

Bytes BuildPacket(const Ends& ends, Chance& chance) {
  return ends.key.src.size() == 4 ? Build4(ends, chance) : Build6(ends, chance);
}

// An ICMP error from `from`'s network about a packet, to whom that was from.
Bytes BuildError(const Ends& about, const Mac& from, Chance& chance) {
  const Bytes quoted = BuildPacket(about, chance);
  const size_t length = 8 + chance.Below(60);
  if (about.key.src.size() == 4) {
    const uint8_t types[] = {3, 11, 12, 5};
    Frame frame;
    frame.dst_mac = kOwnMac;
    frame.src_mac = from;
    frame.src = chance.OneIn(2) ? Ip("10.1.77.1") : Ip(Text(about.key.dst));
    frame.dst = Ip(Text(about.key.src));
    frame.protocol = 1;
    frame.ip_options = Options(chance);
    frame.payload = IcmpError(chance.Of(types), chance.Below(5), 1400, quoted, length);
    return frame.Build();
  }
  Frame6 ends;
  ends.dst_mac = kOwnMac;
  ends.src_mac = from;
  ends.src = chance.OneIn(2) ? "2001:db8:77::1" : Text(about.key.dst);
  ends.dst = Text(about.key.src);
  return Icmp6(ends, 1 + chance.Below(5), chance.Below(5), About6(1280, quoted, 40 + length))
      .Build();
}

Bytes Echo(const Ends& ends, Chance& chance) {
  const uint8_t type = ends.key.src.size() == 4 ? 8 : 128;
  if (type == 8) {
    Frame frame = ClientFrame(Text(ends.key.src), 0, Text(ends.key.dst), 0);
    frame.protocol = 1;
    const uint8_t other = chance.OneIn(4) ? chance.Below(256) : type;
    Bytes message = {other, 0, 0, 0, 1, 2, 3, 4};
    message.resize(8 + chance.Below(60), 7);
    const uint16_t sum = Checksum(message.data(), message.size());
    message[2] = sum >> 8;
    message[3] = sum & 0xff;
    frame.payload.assign(message.begin(), message.end());
    frame.ip_options = Options(chance);
    frame.id = static_cast<uint16_t>(Number(chance));
    frame.more_fragments = chance.OneIn(8);
    return frame.Build();
  }
  Frame6 frame;
  frame.dst_mac = kOwnMac;
  frame.src_mac = kClientMac;
  frame.src = Text(ends.key.src);
  frame.dst = Text(ends.key.dst);
  const uint8_t other = chance.OneIn(4) ? 100 + chance.Below(50) : type;
  Frame6 echo = Icmp6(frame, other, 0, Bytes(4 + chance.Below(60), 7));
  // A note of another packet with that number must not carry it.
  if (chance.OneIn(4)) echo.extensions.push_back(Fragment6(0, true, Number(chance)));
  return echo.Build();
}

// Who has this VIP, or anything else?
Bytes Question(const Site& site, Chance& chance) {
  if (chance.OneIn(2)) {
    Arp arp;
    arp.src_mac = arp.sender_mac = kClientMac;
    arp.operation = 1 + chance.Below(2);
    arp.sender = Ip("10.1.0.1");
    arp.target = Ip(chance.OneIn(4) ? std::string("10.1.0.77") : chance.Of(site.vips));
    return arp.Build();
  }
  Frame6 frame;
  frame.dst_mac = chance.OneIn(2) ? kOwnMac : Mac{0x33, 0x33, 0xff, 0, 0, 1};
  frame.src_mac = kClientMac;
  frame.src = "fe80::c";
  frame.hops = chance.OneIn(4) ? 64 : 255;
  const std::string vip = chance.OneIn(4) ? "2001:db8:1::77" : chance.Of(site.vips6);
  frame.dst = chance.OneIn(3) ? vip : "ff02::1:ff00:1";
  Bytes body(4, 0);
  const Bytes target = AddressBytes(vip);
  body.insert(body.end(), target.begin(), target.end());
  if (chance.OneIn(2)) body.insert(body.end(), {1, 1, 2, 0, 0, 0, 0, 0xc});
  return Icmp6(frame, chance.OneIn(4) ? 136 : 135, 0, body).Build();
}

// A client's end and a VIP's; few of both, so that they meet again.
Ends Request(const Site& site, Chance& chance) {
  Ends ends;
  const Service& service = chance.Of(site.services);
  const bool v4 = service.vip.find(':') == std::string::npos;
  const std::string client = std::to_string(1 + chance.Below(9));
  ends.key.src = AddressBytes((v4 ? "10.1.0." : "2001:db8:1::") + client);
  ends.key.dst = AddressBytes(service.vip);
  ends.key.sport = 40000 + chance.Below(4);
  ends.key.dport = service.port;
  ends.key.protocol = service.protocol;
  if (chance.OneIn(20)) ends.key.dport = chance.Below(65536);
  if (chance.OneIn(20)) ends.key.protocol = chance.Below(256);
  if (chance.OneIn(30)) {
    const std::vector<std::string> nobody =
        v4 ? std::vector<std::string>{"127.0.0.1",  "0.0.0.0", "224.0.0.1",
                                      site.vips[0], kDip,      "10.1.200.1"}
           : std::vector<std::string>{"::1",         "::",  "ff02::1",        "fe80::1",
                                      site.vips6[0], kDip6, "2001:db8:1::c:1"};
    ends.key.src = AddressBytes(chance.Of(nobody));
  }
  if (chance.OneIn(20)) ends.from[5] = chance.Below(256);
  return ends;
}

// What the real server of a NAT connection sends, or if `sent`, what it is sent.
Ends AtReal(Director& director, const Flow& flow, bool sent) {
  const Bytes real =
      flow.key.src.size() == 4
          ? Bytes(reinterpret_cast<const uint8_t*>(&director.real(flow.real).address),
                  reinterpret_cast<const uint8_t*>(&director.real(flow.real).address + 1))
          : Bytes(reinterpret_cast<const uint8_t*>(&director.real6(flow.real).address),
                  reinterpret_cast<const uint8_t*>(&director.real6(flow.real).address + 1));
  Ends ends;
  ends.key = {flow.nat, real, flow.nat_port, ntohs(director.real(flow.real).port),
              flow.key.protocol};
  if (!sent) ends.key = Reversed(ends.key);
  ends.from = kRealMac;
  return ends;
}

// Of a connection that was opened while the claim was here, as its real server, who holds the
// claim now, sends it back; none if few looks find none.
std::optional<Ends> SentBack(Director& director, const Site& site, Chance& chance) {
  for (int looks = 0; site.claims && looks < 16; ++looks) {
    const std::optional<Flow> flow = FlowNear(director, chance.OneIn(2), chance.Below(512));
    if (!flow || site.IsClaimed(flow->key.dst)) continue;
    const Service* service = site.Find(flow->key.dst, flow->key.dport, flow->key.protocol);
    if (service == nullptr || service->delivers == KLVS_DELIVERS_NOTHING ||
        service->method != KLVS_METHOD_DIRECT_ROUTING || flow->real == service->local) {
      continue;
    }
    return Ends{.key = flow->key, .from = kRealMac, .flags = kAck};
  }
  return std::nullopt;
}

}  // namespace

Bytes RandomPacket(Director& director, const Site& site, Chance& chance) {
  const size_t kind = chance.Below(19);
  if (kind == 0) return Question(site, chance);
  if (kind == 1) return Echo(Request(site, chance), chance);
  if (kind == 2) {
    Ends other = Request(site, chance);
    const bool v4 = other.key.src.size() == 4;
    other.key.dst = AddressBytes(v4 ? "10.1.0.99" : "2001:db8:1::99");
    return BuildPacket(other, chance);
  }
  if (kind == 3) {
    const std::optional<Ends> back = SentBack(director, site, chance);
    return BuildPacket(back ? *back : Request(site, chance), chance);
  }
  const std::optional<Flow> flow =
      kind < 13 ? FlowNear(director, chance.OneIn(2), chance.Below(512)) : std::nullopt;
  if (!flow) {
    const Ends ends = Request(site, chance);
    // About an answer that we did not see.
    if (chance.OneIn(10)) return BuildError({.key = Reversed(ends.key)}, kClientMac, chance);
    return BuildPacket(ends, chance);
  }
  if (kind < 7) {
    // Now and then as another director sends it, who is a real server of ours.
    const Mac& from = chance.OneIn(4) ? kRealMac : flow->client;
    uint8_t flags = 0;
    if (!(flow->flags & KLVS_CONN_NAT) && chance.OneIn(2)) {
      // What has ended begins again.
      flags = flow->state == KLVS_CLOSE ? kSyn : kRst;
    }
    return BuildPacket({.key = flow->key, .from = from, .flags = flags}, chance);
  }
  // About the answer, which the client got from the VIP.
  if (kind == 7) return BuildError({.key = Reversed(flow->key)}, kClientMac, chance);
  if (!(flow->flags & KLVS_CONN_NAT)) return BuildPacket(Request(site, chance), chance);
  if (kind == 8) return BuildError(AtReal(director, *flow, true), kRealMac, chance);
  return BuildPacket(AtReal(director, *flow, false), chance);
}

Bytes Mutated(Bytes frame, Chance& chance) {
  const size_t times = chance.OneIn(3) ? 1 + chance.Below(3) : 0;
  for (size_t i = 0; i < times; ++i) {
    const size_t headers = std::min<size_t>(frame.size(), 110);
    switch (chance.Below(6)) {
      case 0:
        frame[chance.Below(headers)] ^= 1 << chance.Below(8);
        break;
      case 1:
        frame[chance.Below(headers)] = chance.Below(256);
        break;
      case 2:
        frame.resize(chance.OneIn(3) ? chance.Below(frame.size()) + 1 : chance.Below(headers) + 1);
        break;
      case 3:
        frame.resize(frame.size() + chance.Below(64), static_cast<uint8_t>(chance.Below(256)));
        break;
      case 4: {
        // A length, or what goes for one: of IPv4's header, its packet, IPv6's, TCP's, UDP's.
        const size_t at[] = {14, 16, 17, 18, 19, 46, 38, 39, 58, 59, 66};
        const size_t place = chance.Of(at);
        if (place < frame.size()) frame[place] += chance.Below(32) - 16;
        break;
      }
      case 5:
        if (chance.OneIn(3) && frame.size() > 14) {
          const Bytes tag = {0x81, 0, 0, 7};
          frame.insert(frame.begin() + 12, tag.begin(), tag.end());
        }
        break;
    }
  }
  return frame;
}

}  // namespace kube_lvs::ebpf
