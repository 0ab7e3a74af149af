#include "dataplane/ebpf/packet_tests/fuzz/oracle.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "dataplane/ebpf/packet_tests/fuzz/changes.h"

namespace kube_lvs::ebpf {
namespace {

Bytes Raw(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  return {bytes, bytes + size};
}

bool IsEcho(const Bytes& frame, const Reading& r) {
  return r.sound && !r.fragment && r.protocol == (r.family == 4 ? 1 : 58) &&
         r.header + 8 <= r.end() && frame[r.header] == (r.family == 4 ? 8 : 128) &&
         frame[r.header + 1] == 0;
}

bool IsIcmp(const Reading& r) { return r.protocol == (r.family == 4 ? 1 : 58); }

// Of the connection that a packet to a VIP, or an error, belongs to; none if nobody can tell.
std::optional<FlowKey> KeyToVip(const Bytes& frame, const Reading& asked) {
  if (!asked.sound || asked.later) return std::nullopt;
  if (asked.ported()) return KeyOf(asked);
  if (!IsIcmp(asked)) return std::nullopt;
  const Reading quoted = ReadQuoted(frame, asked);
  if (!quoted.sound || !quoted.ported()) return std::nullopt;
  const FlowKey key = Reversed(KeyOf(quoted));
  return key.dst == asked.dst ? std::optional(key) : std::nullopt;
}

// Dropped for what is wrong with the packet by itself, or an error of a kind that is for nobody.
bool IsOfItsOwn(uint32_t reason) {
  return reason == KLVS_DROP_SHORT || reason == KLVS_DROP_BAD_HEADER ||
         reason == KLVS_DROP_FRAGMENT || reason == KLVS_DROP_ICMP ||
         reason == KLVS_DROP_PROTOCOL;
}

uint16_t EtherType(const Bytes& frame) {
  return frame.size() < kEthernet ? 0 : static_cast<uint16_t>(frame[12] << 8 | frame[13]);
}

// No client has such an address.
bool IsMartian(const Bytes& a) {
  if (a.size() == 4) return a[0] == 0 || a[0] == 127 || a[0] >= 224;
  if (a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)) return true;
  // With nothing before it, or what says that it is IPv4's.
  const bool ipv4 = a[10] == a[11] && (a[10] == 0 || a[10] == 0xff);
  return ipv4 && std::all_of(a.begin(), a.begin() + 10, [](uint8_t b) { return b == 0; });
}

// Of a frame of the director's own in the place of a client's packet.
std::string AnswerError(const Reading& asked, const Bytes& out, const Reading& answer) {
  if (!answer.sound || answer.src != asked.dst || answer.dst != asked.src ||
      answer.to != asked.from || answer.from != kOwnMac || out.size() != answer.end()) {
    return "the answer has other ends";
  }
  if (IpError(out, answer) != 0 || TransportError(out, answer, answer.end()) != 0) {
    return "the answer's sums are wrong";
  }
  return "";
}

// Of an ICMP error that quotes a packet.
std::string QuoteError(const Bytes& in, const Reading& asked, const Bytes& out,
                       const Reading& answer) {
  if (!IsIcmp(answer)) return "the answer is no error";
  const size_t quoted = std::min<size_t>(asked.length, asked.family == 4 ? 68 : 240);
  const auto begin = out.begin() + static_cast<ptrdiff_t>(answer.header + 8);
  if (out.size() != answer.header + 8 + quoted) return "the answer quotes another length";
  return std::equal(begin, out.end(), in.begin() + kEthernet)
             ? ""
             : "the answer is about another packet";
}

}  // namespace

bool Oracle::IsOfTc(const Reading& asked) const {
  if (director_.stage() != Stage::kXdp) return false;
  const Service* service = site_.Find(asked.dst, asked.dport, asked.protocol);
  return service != nullptr && (service->flags & KLVS_SERVICE_ONE_PACKET) != 0;
}

Oracle::Delivery Oracle::DeliveryOf(const Bytes& frame, const Reading& asked) {
  const std::optional<FlowKey> key = KeyToVip(frame, asked);
  if (!site_.claims || asked.to != kOwnMac || !key || !site_.IsVip(key->dst) ||
      site_.IsClaimed(key->dst) || IsMartian(asked.src) || IsMartian(key->src)) {
    return Delivery::kNone;
  }
  const Service* service = site_.Find(key->dst, key->dport, key->protocol);
  if (service == nullptr || service->delivers == KLVS_DELIVERS_NOTHING) return Delivery::kNone;
  const bool opening =
      !IsIcmp(asked) &&
      (asked.protocol == 17 || (frame[asked.header + 13] & (kSyn | kRst)) == kSyn);
  if (opening && service->delivers != KLVS_DELIVERS) return Delivery::kNone;
  const std::optional<Flow> flow = FindFlow(director_, *key);
  if (!flow || director_.Now().jiffies > flow->expires) return Delivery::kOfNoConnection;
  if (opening && (flow->state == KLVS_TIME_WAIT || flow->state == KLVS_CLOSE)) {
    return Delivery::kInPlaceOfAClosed;
  }
  // It was opened when the claim was here; its real server sends it back to us.
  const bool back = service->method == KLVS_METHOD_DIRECT_ROUTING && flow->real != service->local &&
                    asked.from == kRealMac && flow->client != asked.from;
  return back ? Delivery::kOfAConnection : Delivery::kNone;
}

std::string Oracle::Delivered(const Bytes& frame, const Reading& asked, Delivery delivery) {
  ++seen_["delivered"];
  if (IsIcmp(asked)) ++seen_["delivered, error"];
  if (delivery == Delivery::kOfAConnection) {
    ++seen_["delivered, has a connection"];
    return "";
  }
  if (delivery == Delivery::kInPlaceOfAClosed) ++seen_["delivered, in place of a closed one"];
  return FindFlow(director_, *KeyToVip(frame, asked)) ? "delivered, and it has a connection" : "";
}

void Oracle::Forwarded::Add(const klvs_counters& counters) {
  packets += counters.packets;
  bytes += counters.bytes;
  reply_packets += counters.reply_packets;
  reply_bytes += counters.reply_bytes;
}

Oracle::Forwarded Oracle::CountedByServices() {
  Forwarded out;
  for (const Service& service : site_.services) out.Add(director_.ServiceCounters(service.id));
  return out;
}

std::string Oracle::AtHome(const Bytes& frame, const Reading& asked, const Forwarded& before) {
  const std::string wrong = "to a VIP of ours, and left alone";
  const bool xdp = director_.stage() == Stage::kXdp;
  if (!asked.sound) return wrong;
  if (asked.later) {
    const bool home = std::any_of(
        site_.services.begin(), site_.services.end(), [&](const Service& service) {
          return service.local != 0 && AddressBytes(service.vip) == asked.dst;
        });
    if (!home) return wrong;
    ++seen_["at home, later fragment"];
    // The rest of what another director balanced is not counted here, whoever balances now.
    if (shared_ && CountedByServices() == before) return "";
  } else {
    const std::optional<FlowKey> key = KeyToVip(frame, asked);
    const Service* service =
        key ? site_.Find(key->dst, key->dport, key->protocol) : nullptr;
    if (service == nullptr || service->local == 0) return wrong;
    const std::optional<Flow> flow = FindFlow(director_, *key);
    if (flow && flow->real != service->local) return wrong;
    // XDP leaves to tc whom a table chooses, and those that are scheduled one by one.
    const bool of_tc = xdp && HasTable(service->scheduler);
    if (!flow && !of_tc && !(service->flags & KLVS_SERVICE_ONE_PACKET)) return wrong;
    ++seen_["at home"];
  }
  if (xdp) return "";  // tc counts it
  ++forwarded_.packets;
  forwarded_.bytes += asked.length;
  return "";
}

std::string Oracle::Judge(const Bytes& frame) {
  const Reading asked = Read(frame);
  const Delivery delivery = DeliveryOf(frame, asked);
  shared_ |= site_.claims;
  const bool to_vip = asked.family != 0 && asked.to == kOwnMac && site_.IsVip(asked.dst);
  const Forwarded counted = to_vip && asked.later ? CountedByServices() : Forwarded{};
  const auto before = director_.DropCounts();
  const Outcome outcome = director_.Run(frame);
  const auto after = director_.DropCounts();
  uint64_t dropped = 0;
  std::string reasons;
  uint32_t reason = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    if (reason == 0 && after[i] != before[i]) reason = static_cast<uint32_t>(i);
    dropped += after[i] - before[i];
    if (after[i] != before[i]) reasons += " reason " + std::to_string(i);
  }
  const auto wrong = [&](const std::string& what) {
    return what + "\nin:\n" + Hex(frame) + "\nout:\n" + Hex(outcome.frame) + reasons;
  };
  for (const uint32_t never : {KLVS_DROP_BAD_REAL, KLVS_DROP_REWRITE, KLVS_DROP_RACE,
                               KLVS_DROP_NO_ROUTE, KLVS_DROP_LOCAL_NAT}) {
    if (after[never] != before[never]) return wrong("dropped for what never happens here");
  }
  switch (outcome.verdict) {
    case Verdict::kToStack:
      return wrong("given to the stack");
    case Verdict::kUntouched:
      ++seen_["untouched"];
      if (outcome.frame != frame) return wrong("untouched, but it changed");
      if (dropped != 0) return wrong("untouched, but counted as dropped");
      if (!to_vip || IsOfTc(asked)) return "";
      {
        const std::string what = delivery != Delivery::kNone ? Delivered(frame, asked, delivery)
                                                             : AtHome(frame, asked, counted);
        return what.empty() ? "" : wrong(what);
      }
    case Verdict::kDropped:
      ++seen_["dropped"];
      if (dropped != 1) return wrong("dropped, and counted " + std::to_string(dropped) + " times");
      if (!to_vip && !(asked.sound && asked.ttl <= 1)) return wrong("not ours, and dropped");
      if (delivery != Delivery::kNone && asked.ttl > 1 && !IsOfItsOwn(reason)) {
        return wrong("for the real server on this node, and dropped");
      }
      return "";
    case Verdict::kSent: {
      if (delivery != Delivery::kNone) return wrong("sent, but it was balanced elsewhere");
      if (dropped > 1) return wrong("sent, and counted as dropped more than once");
      const std::string what = Sent(frame, asked, outcome.frame, reason);
      return what.empty() ? "" : wrong("sent, but " + what);
    }
  }
  return "";
}

std::string Oracle::Sent(const Bytes& in, const Reading& asked, const Bytes& out, uint32_t reason) {
  const Reading sent = Read(out);
  const bool solicitation =
      asked.family == 6 && asked.ttl == 255 && in.size() > 54 && in[20] == 58 && in[54] == 135;
  if (EtherType(in) == 0x0806 || solicitation) {
    if (reason != 0) return "counted as dropped";
    return Answered(in, asked, out, sent);
  }
  if (!asked.sound) return "it makes no sense";
  if (asked.to != kOwnMac) return "it came to somebody else";
  if (reason == KLVS_DROP_TOO_BIG) return TooBig(in, asked, out, sent);
  if (reason == KLVS_DROP_NO_REAL_SERVER) return Unreachable(in, asked, out, sent);
  if (reason == KLVS_DROP_NO_CONNECTION) return Reset(in, asked, out, sent);
  if (reason != 0) return "counted as dropped";
  if (asked.later) return Later(in, asked, out, sent);
  if (!site_.IsVip(asked.dst)) return ToClient(in, asked, out, sent);
  if (!IsEcho(in, asked)) return ToReal(in, asked, out, sent);

  ++seen_["echo"];
  Bytes expected = in;
  std::copy_n(asked.from.begin(), 6, expected.begin());
  std::copy_n(kOwnMac.begin(), 6, expected.begin() + 6);
  const bool v4 = asked.family == 4;
  std::copy(asked.dst.begin(), asked.dst.end(), expected.begin() + kEthernet + (v4 ? 12 : 8));
  std::copy(asked.src.begin(), asked.src.end(), expected.begin() + kEthernet + (v4 ? 16 : 24));
  expected[kEthernet + (v4 ? 8 : 7)] = 64;
  expected[asked.header] = v4 ? 0 : 129;
  if (IpError(in, asked) != IpError(out, sent) ||
      TransportError(in, asked, asked.end()) != TransportError(out, sent, sent.end())) {
    return "the echo's checksums do not match";
  }
  if (v4) std::copy_n(out.begin() + kEthernet + 10, 2, expected.begin() + kEthernet + 10);
  const auto check = static_cast<ptrdiff_t>(asked.header + 2);
  std::copy_n(out.begin() + check, 2, expected.begin() + check);
  return expected == out ? "" : "the echo is none";
}

std::string Oracle::Answered(const Bytes& in, const Reading& asked, const Bytes& out,
                             const Reading& answer) {
  if (EtherType(in) == 0x0806) {
    ++seen_["ARP"];
    Arp expected;
    expected.operation = 2;
    expected.src_mac = expected.sender_mac = kOwnMac;
    std::copy_n(in.begin() + 22, 6, expected.dst_mac.begin());
    expected.target_mac = expected.dst_mac;
    expected.sender = Ip(site_.vips.front());
    expected.target = static_cast<uint32_t>(in[28]) << 24 | in[29] << 16 | in[30] << 8 | in[31];
    Bytes frame = expected.Build();
    frame.insert(frame.end(), in.begin() + static_cast<ptrdiff_t>(frame.size()), in.end());
    return out == frame ? "" : "the ARP answer is another";
  }
  ++seen_["ND"];
  if (!answer.sound || answer.src != AddressBytes(site_.vips6.front()) || answer.dst != asked.src ||
      answer.from != kOwnMac || answer.to != asked.from) {
    return "the advertisement has other ends";
  }
  if (TransportError(out, answer, answer.end()) != 0) return "the advertisement's sum is wrong";
  return out.size() == answer.end() && out[answer.header] == 136 ? "" : "it is no advertisement";
}

std::string Oracle::TooBig(const Bytes& in, const Reading& asked, const Bytes& out,
                           const Reading& answer) {
  ++seen_["too big"];
  const std::string wrong = AnswerError(asked, out, answer);
  return wrong.empty() ? QuoteError(in, asked, out, answer) : wrong;
}

std::string Oracle::Refused(const Reading& asked) const {
  if (!site_.IsVip(asked.dst)) return "it is to no VIP";
  if (asked.later || IsIcmp(asked)) return "such a packet has no answer";
  if (IsMartian(asked.src) || site_.IsVip(asked.src) ||
      asked.src == AddressBytes(asked.family == 4 ? kDip : kDip6)) {
    return "its source has no answer";
  }
  if ((asked.from[0] & 1) != 0) return "many would get the answer";
  return "";
}

std::string Oracle::Unreachable(const Bytes& in, const Reading& asked, const Bytes& out,
                                const Reading& answer) {
  ++seen_["port unreachable"];
  for (const std::string& wrong :
       {Refused(asked), AnswerError(asked, out, answer), QuoteError(in, asked, out, answer)}) {
    if (!wrong.empty()) return wrong;
  }
  const bool v4 = asked.family == 4;
  if (out[answer.header] != (v4 ? 3 : 1) || out[answer.header + 1] != (v4 ? 3 : 4)) {
    return "the answer is another error";
  }
  if (!asked.ported()) return "";  // SCTP
  if (site_.Find(asked.dst, asked.dport, asked.protocol) == nullptr) return "there is no service";
  return FindFlow(director_, KeyOf(asked)) ? "there is a connection" : "";
}

std::string Oracle::Reset(const Bytes& in, const Reading& asked, const Bytes& out,
                          const Reading& answer) {
  ++seen_["reset"];
  for (const std::string& wrong : {Refused(asked), AnswerError(asked, out, answer)}) {
    if (!wrong.empty()) return wrong;
  }
  if (asked.protocol != 6 || asked.fragment) return "no whole packet of TCP has the answer";
  const uint8_t* tcp = in.data() + asked.header;
  const uint8_t* rst = out.data() + answer.header;
  if ((tcp[13] & (kSyn | kRst)) != 0) return "it is not in mid-stream";
  if (answer.protocol != 6 || answer.sport != asked.dport || answer.dport != asked.sport ||
      answer.end() != answer.header + 20) {
    return "the answer is of another connection";
  }
  if (FindFlow(director_, KeyOf(asked))) return "there is a connection";
  const auto word = [](const uint8_t* at) {
    return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
  };
  const bool acked = (tcp[13] & kAck) != 0;
  const uint32_t length = static_cast<uint32_t>(asked.end() - asked.header) -
                          static_cast<uint32_t>(tcp[12] >> 4) * 4 + (tcp[13] & kFin);
  const uint32_t seq = acked ? word(tcp + 8) : 0, ack = acked ? 0 : word(tcp + 4) + length;
  const uint8_t flags = acked ? kRst : kRst | kAck;
  const bool right = word(rst + 4) == seq && word(rst + 8) == ack && rst[12] == 0x50 &&
                     rst[13] == flags &&
                     std::all_of(rst + 14, rst + 16, [](uint8_t b) { return b == 0; });
  return right ? "" : "the reset has other numbers";
}

std::string Oracle::ToReal(const Bytes& in, const Reading& asked, const Bytes& out,
                           const Reading& sent) {
  FlowKey key = KeyOf(asked);
  const bool error = IsIcmp(asked);
  if (error) {
    const Reading quoted = ReadQuoted(in, asked);
    if (!quoted.sound || !quoted.ported()) return "it is an error about nothing";
    key = Reversed(KeyOf(quoted));
    if (key.dst != asked.dst) return "it is an error about somebody else's packet";
  }
  const Service* service = site_.Find(key.dst, key.dport, key.protocol);
  if (service == nullptr) return "there is no service";
  if (IsMartian(asked.src)) return "nobody has its source";
  const std::optional<Flow> flow = FindFlow(director_, key);
  const bool once = (service->flags & KLVS_SERVICE_ONE_PACKET) != 0;
  if (!flow && !once) return "there is no connection";
  if (flow && flow->service != service->id) return "the connection is another service's";
  if (flow && (flow->real < service->first_real ||
               flow->real >= service->first_real + service->reals.size())) {
    return "the real server is another service's";
  }
  if (flow && flow->real == service->local) return "its real server is on this node";
  std::string macs = Macs(sent, kRealMac);
  if (!macs.empty()) return macs;
  ++forwarded_.packets;
  forwarded_.bytes += asked.length;

  const Bytes dip = AddressBytes(asked.family == 4 ? kDip : kDip6);
  if (service->method == KLVS_METHOD_DIRECT_ROUTING) {
    ++seen_["direct routing"];
    return AgedOnly(in, asked, out, sent);
  }
  if (service->method == KLVS_METHOD_TUNNEL) {
    ++seen_[service->gue_port != 0 ? "tunnel by GUE" : "tunnel"];
    if (flow) {
      return Encapsulated(in, asked, out, dip, RealAddress(flow->real), service->gue_port);
    }
    if (!IsReal(sent.dst, service->id)) return "it is no real server of its service";
    return Encapsulated(in, asked, out, dip, sent.dst, service->gue_port);
  }
  if (!flow) return "NAT without connection";
  if (flow->flags & KLVS_CONN_SNAT ? flow->nat != dip : flow->nat != key.src) {
    return "its source is not the rule's";
  }
  const Real& real = service->reals[flow->real - service->first_real];
  const FlowKey to{flow->nat, RealAddress(flow->real), flow->nat_port, real.port, key.protocol};
  ++seen_[error ? "NAT, error to a real server" : "NAT"];
  if (!error) return Translated(in, asked, out, sent, to);
  const Bytes from = flow->flags & KLVS_CONN_SNAT ? flow->nat : asked.src;
  return ErrorTranslated(in, asked, out, sent, from, to.dst, Reversed(to));
}

std::string Oracle::ToClient(const Bytes& in, const Reading& asked, const Bytes& out,
                             const Reading& sent) {
  FlowKey key = KeyOf(asked);
  const bool error = IsIcmp(asked);
  if (error) {
    const Reading quoted = ReadQuoted(in, asked);
    if (!quoted.sound || !quoted.ported()) return "it is an error about nothing";
    key = Reversed(KeyOf(quoted));
    if (key.dst != asked.dst) return "it is an error about somebody else's packet";
  }
  const std::optional<Flow> flow = FindFlowOfReply(director_, key);
  if (!flow) return "no connection has such replies";
  std::string macs = Macs(sent, flow->client);
  if (!macs.empty()) return macs;
  ++forwarded_.reply_packets;
  forwarded_.reply_bytes += asked.length;
  ++seen_[error ? "NAT, error to a client" : "NAT, reply"];
  const FlowKey to = Reversed(flow->key);
  if (!error) return Translated(in, asked, out, sent, to);
  return ErrorTranslated(in, asked, out, sent, to.src, to.dst, flow->key);
}

std::string Oracle::Later(const Bytes& in, const Reading& asked, const Bytes& out,
                          const Reading& sent) {
  const Bytes dip = AddressBytes(asked.family == 4 ? kDip : kDip6);
  if (!site_.IsVip(asked.dst)) {
    ++seen_["later fragment of a reply"];
    ++forwarded_.reply_packets;
    forwarded_.reply_bytes += asked.length;
    if (!site_.IsVip(sent.src)) return "a fragment of a reply is from no VIP";
    return Translated(in, asked, out, sent, {.src = sent.src, .dst = sent.dst});
  }
  ++seen_["later fragment"];
  ++forwarded_.packets;
  forwarded_.bytes += asked.length;
  std::string macs = Macs(sent, kRealMac);
  if (!macs.empty()) return macs;
  for (const Service& service : site_.services) {
    if (AddressBytes(service.vip) != asked.dst) continue;
    std::string wrong;
    if (service.method == KLVS_METHOD_DIRECT_ROUTING) {
      wrong = AgedOnly(in, asked, out, sent);
    } else if (!IsReal(sent.dst, service.id)) {
      continue;
    } else if (service.method == KLVS_METHOD_TUNNEL) {
      wrong = Encapsulated(in, asked, out, dip, sent.dst, service.gue_port);
    } else if (sent.src != asked.src && sent.src != dip) {
      continue;
    } else {
      wrong = Translated(in, asked, out, sent, {.src = sent.src, .dst = sent.dst});
    }
    if (wrong.empty()) return "";
  }
  return "the later fragment went by no rule";
}

std::string Oracle::Macs(const Reading& sent, const Mac& to) const {
  if (director_.stage() != Stage::kXdp) return "";  // the kernel sets them behind tc
  if (sent.to != to) return "it goes to another's link address";
  return sent.from == kOwnMac ? "" : "it is not from our link address";
}

Bytes Oracle::RealAddress(uint32_t id) const {
  const klvs_real& real = director_.real(id);
  if (!(real.flags & KLVS_REAL_IPV6)) return Raw(&real.address, sizeof real.address);
  return Raw(&director_.real6(id).address, sizeof(klvs_in6));
}

bool Oracle::IsReal(const Bytes& address, uint32_t service) const {
  const Service& of = site_.services[service - 1];
  return std::any_of(of.reals.begin(), of.reals.end(),
                     [&](const Real& real) { return AddressBytes(real.address) == address; });
}

std::string Oracle::JudgeCounters() {
  Forwarded reals;
  for (const Service& service : site_.services) {
    for (uint32_t i = 0; i < service.reals.size(); ++i) {
      reals.Add(director_.RealCounters(service.first_real + i));
    }
  }
  if (CountedByServices() != forwarded_) return "services counted other packets than were forwarded";
  if (reals != forwarded_) return "real servers counted other packets than were forwarded";
  return "";
}

}  // namespace kube_lvs::ebpf
