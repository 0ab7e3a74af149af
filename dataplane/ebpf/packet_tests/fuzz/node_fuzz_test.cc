// Random packets through a real server's programs, judged by readers that have none of their code:
// what a tunnel's end unpacks, and what the MSS clamp writes. A failure prints seed and packet;
// KLVS_FUZZ_SECONDS and KLVS_FUZZ_SEED are as of fuzz_test.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <string>

#include "base/ip.h"
#include "dataplane/ebpf/packet_tests/director.h"
#include "dataplane/ebpf/packet_tests/fuzz/packets.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kPackets = 20000;  // of a round

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// The kernel runs tc only for a frame with its IP header.
size_t Least(const Bytes& frame) {
  const bool ipv6 = frame.size() >= kEthernet && frame[12] == 0x86 && frame[13] == 0xdd;
  return kEthernet + (ipv6 ? 40 : 20);
}

Bytes LongEnough(Bytes frame) {
  frame.resize(std::max(frame.size(), kEthernet));
  frame.resize(std::max(frame.size(), Least(frame)));
  return frame;
}

const std::array<std::string, 3> kDirectors = {"10.1.0.254", "10.1.0.253", "10.1.0.252"};
const std::array<std::string, 3> kDirectors6 = {"2001:db8:1::fe", "2001:db8:1::fd",
                                                "2001:db8:1::fc"};

// Who may send a tunnel for what, and what is clamped: the last director of each family for
// nothing.
struct Rule {
  std::string director, vips;
  std::string real = "";  // of GUE
  uint16_t port = 0;      // 0: by IPIP
};
const std::array<std::string, 2> kReals = {"10.1.0.2", "10.1.0.3"};
const std::array<std::string, 2> kReals6 = {"2001:db8:1::2", "2001:db8:1::3"};
const std::array<uint16_t, 3> kPorts = {6080, 7000, 53};  // the last of no rule
const std::array<Rule, 12> kTunnels = {{{kDirectors[0], "10.9.0.1"},
                                        {kDirectors[1], "10.9.0.2"},
                                        {kDirectors[0], "10.9.1.64/26"},
                                        {kDirectors6[0], "2001:db8:9::1"},
                                        {kDirectors6[1], "2001:db8:9::2"},
                                        {kDirectors6[0], "2001:db8:9:1::/64"},
                                        {kDirectors[0], "10.9.0.1", kReals[0], kPorts[0]},
                                        {kDirectors[1], "10.9.0.3", kReals[1], kPorts[1]},
                                        {kDirectors[0], "10.9.1.64/26", kReals[0], kPorts[1]},
                                        {kDirectors6[0], "2001:db8:9::1", kReals6[0], kPorts[0]},
                                        {kDirectors6[1], "2001:db8:9::3", kReals6[1], kPorts[1]},
                                        {kDirectors6[0], "2001:db8:9:1::/64", kReals6[0],
                                         kPorts[1]}}};
struct Clamp {
  std::string vips;
  uint32_t mss;
};
// The more specific of two is meant.
const std::array<Clamp, 5> kClamps = {{{"10.9.0.1", 1440},
                                       {"10.9.1.64/26", 1400},
                                       {"10.9.1.64/30", 700},
                                       {"2001:db8:9::1", 1400},
                                       {"2001:db8:9:1::/64", 1300}}};
// Some of no rule.
const std::array<std::string, 6> kVips = {"10.9.0.1",  "10.9.0.2",   "10.9.0.3",
                                          "10.9.1.65", "10.9.1.100", "10.9.1.128"};
const std::array<std::string, 5> kVips6 = {"2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::3",
                                           "2001:db8:9:1::7", "2001:db8:9:2::7"};

IpAddress AddressAt(const Bytes& frame, size_t at, bool ipv6) {
  IpAddress out;
  out.family = ipv6 ? Family::kIpv6 : Family::kIpv4;
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(at), out.Size(), out.bytes.begin());
  return out;
}

bool Holds(const std::string& vips, const IpAddress& vip) {
  const Cidr cidr = vips.find('/') == std::string::npos ? Cidr::Host(*IpAddress::Parse(vips))
                                                        : *Cidr::Parse(vips);
  return cidr.address.family == vip.family && cidr.Contains(vip);
}

size_t Number(const Bytes& frame, size_t at) { return frame[at] << 8U | frame[at + 1]; }

// Ethernet to this node, and IP behind it.
bool IsIp(const Bytes& frame, bool ipv6) {
  return std::equal(kOwnMac.begin(), kOwnMac.end(), frame.begin()) &&
         Number(frame, 12) == (ipv6 ? 0x86dd : 0x0800) && frame[14] >> 4 == (ipv6 ? 6 : 4);
}

// How long the headers are that must go, and whether GUE's are among them; nothing: the packet is
// none of ours.
struct Outer {
  size_t length = 0;
  bool gue = false;
};
std::optional<Outer> OuterHeader(const Bytes& frame) {
  const bool ipv6 = IsIp(frame, true);
  if (!ipv6 && !IsIp(frame, false)) return std::nullopt;
  size_t header = ipv6 ? 40 : (frame[14] & 15) * size_t{4};
  const size_t plain = ipv6 ? 40 : 20;
  const size_t length = ipv6 ? 40 + Number(frame, 18) : Number(frame, 16);
  if (header < plain || length < header || kEthernet + length > frame.size()) return std::nullopt;
  const uint8_t carried = frame[ipv6 ? 20 : 23], ip = ipv6 ? 41 : 4;
  size_t port = 0;
  if (carried == 17) {
    const size_t at = kEthernet + header;
    if (length < header + 12 || Number(frame, at + 4) != length - header) return std::nullopt;
    if (Number(frame, at + 6) != 0 || Number(frame, at + 8) != ip) return std::nullopt;
    if (Number(frame, at + 10) != 0) return std::nullopt;
    port = Number(frame, at + 2);
    if (port == 0) return std::nullopt;
    header += 12;
  } else if (carried != ip) {
    return std::nullopt;
  }
  if (length < header + plain) return std::nullopt;
  if (!ipv6 && (Number(frame, 20) & 0x3fff) != 0) return std::nullopt;  // a fragment
  const size_t in = kEthernet + header;
  const size_t inner = ipv6 ? 40 + Number(frame, in + 4) : Number(frame, in + 2);
  if (frame[in] >> 4 != (ipv6 ? 6 : 4) || inner < plain || inner > length - header) {
    return std::nullopt;
  }
  if (!ipv6 && (frame[in] & 15) < 5) return std::nullopt;
  const IpAddress director = AddressAt(frame, ipv6 ? 22 : 26, ipv6);
  const IpAddress vip = AddressAt(frame, in + (ipv6 ? 24 : 16), ipv6);
  const IpAddress real = AddressAt(frame, ipv6 ? 38 : 30, ipv6);
  const bool known = std::ranges::any_of(kTunnels, [&](const Rule& rule) {
    return *IpAddress::Parse(rule.director) == director && Holds(rule.vips, vip) &&
           rule.port == port && (port == 0 || *IpAddress::Parse(rule.real) == real);
  });
  if (!known) return std::nullopt;
  return Outer{header, port != 0};
}

std::string JudgeDecap(Director& node, const Bytes& frame, std::map<std::string, uint64_t>& seen) {
  const Outcome out = node.RunDecap(frame);
  const std::optional<Outer> header = OuterHeader(frame);
  ++seen[header ? std::string("unpacked ") + (frame[12] == 8 ? "IPv4" : "IPv6") +
                      (header->gue ? " by GUE" : "")
                : "no tunnel of ours"];
  Bytes expected = frame;
  if (header) {
    expected.erase(expected.begin() + kEthernet,
                   expected.begin() + static_cast<ptrdiff_t>(kEthernet + header->length));
  }
  const Verdict verdict = header ? Verdict::kToStack : Verdict::kUntouched;
  if (out.verdict == verdict && out.frame == expected) return "";
  return testing::PrintToString(out.verdict) + " of\n" + Hex(frame) + "\nis\n" + Hex(out.frame) +
         "\ninstead of\n" + Hex(expected);
}

// Where the MSS is that must be written and what it becomes; 0: nowhere.
struct Mss {
  size_t at = 0;
  uint32_t value = 0;
};
Mss MssToClamp(const Bytes& frame) {
  const bool ipv6 = Number(frame, 12) == 0x86dd && frame[14] >> 4 == 6;
  if (!ipv6 && !(Number(frame, 12) == 0x0800 && frame[14] >> 4 == 4)) return {};
  const size_t l4 = kEthernet + (ipv6 ? 40 : (frame[14] & 15) * size_t{4});
  if (l4 < kEthernet + 20 || frame[ipv6 ? 20 : 23] != 6) return {};
  if (!ipv6 && (Number(frame, 20) & 0x1fff) != 0) return {};  // of another segment's middle
  if (l4 + 20 > frame.size() || (frame[l4 + 13] & (kSyn | kAck)) != (kSyn | kAck)) return {};
  const size_t end = l4 + (frame[l4 + 12] >> 4) * size_t{4};
  if (end > frame.size()) return {};
  const IpAddress vip = AddressAt(frame, ipv6 ? 22 : 26, ipv6);
  const Clamp* clamp = nullptr;
  int best = -1;
  for (const Clamp& candidate : kClamps) {
    const size_t slash = candidate.vips.find('/');
    const int bits = slash == std::string::npos ? 200 : std::stoi(candidate.vips.substr(slash + 1));
    if (bits <= best || !Holds(candidate.vips, vip)) continue;
    best = bits;
    clamp = &candidate;
  }
  if (clamp == nullptr) return {};
  for (size_t at = l4 + 20; at + 1 < end;) {
    const uint8_t kind = frame[at], size = frame[at + 1];
    if (kind == 1) {
      ++at;
    } else if (kind == 0 || size < 2) {
      return {};
    } else if (kind != 2) {
      at += size;
    } else if (size != 4 || at + 4 > end || Number(frame, at + 2) <= clamp->mss) {
      return {};
    } else {
      return {at + 2, clamp->mss};
    }
  }
  return {};
}

// In one's complement, where 0 and 0xffff are the same.
uint16_t SumOf(const Bytes& frame, size_t from, size_t to) {
  const uint16_t sum = Checksum(frame.data() + from, to - from);
  return sum == 0xffff ? 0 : sum;
}

std::string JudgeClamp(Director& node, const Bytes& frame, std::map<std::string, uint64_t>& seen) {
  const Outcome out = node.RunMssClamp(frame);
  const Mss mss = MssToClamp(frame);
  const bool ipv6 = Number(frame, 12) == 0x86dd;
  ++seen[mss.at == 0 ? "no MSS to clamp" : ipv6 ? "clamped IPv6" : "clamped IPv4"];
  std::string wrong;
  Bytes expected = frame;
  if (mss.at != 0 && out.frame.size() == frame.size()) {
    expected[mss.at] = static_cast<uint8_t>(mss.value >> 8);
    expected[mss.at + 1] = static_cast<uint8_t>(mss.value);
    const size_t l4 = kEthernet + (ipv6 ? 40 : (frame[14] & 15) * size_t{4});
    const size_t end = l4 + (frame[l4 + 12] >> 4) * size_t{4};
    // A checksum that was right is right again, one that was wrong as wrong as before.
    if (SumOf(frame, l4, end) != SumOf(out.frame, l4, end)) wrong = "with another sum, ";
    std::copy_n(out.frame.begin() + static_cast<ptrdiff_t>(l4 + 16), 2,
                expected.begin() + static_cast<ptrdiff_t>(l4 + 16));
  }
  if (out.verdict != Verdict::kUntouched) wrong += "with a verdict, ";
  if (wrong.empty() && out.frame == expected) return "";
  return wrong + Hex(frame) + "\nis\n" + Hex(out.frame) + "\ninstead of\n" + Hex(expected);
}

// What a client sends to a VIP, or what has an inner header that lies: of the director itself, from
// a VIP, a tunnel once more.
Bytes RandomInner(bool ipv6, Chance& chance) {
  if (ipv6) {
    Frame6 frame = ClientFrame6("2001:db8:5::" + std::to_string(1 + chance.Below(9)), 40000,
                                chance.Of(kVips6));
    if (chance.OneIn(4)) frame.src = chance.OneIn(2) ? chance.Of(kDirectors6) : chance.Of(kVips6);
    if (chance.OneIn(4)) frame.extensions = {Fragment6(chance.Below(100), chance.OneIn(2), 7)};
    if (chance.OneIn(3)) frame.protocol = 17;
    frame.payload = std::string(chance.Below(100), 'x');
    const Bytes bytes = frame.Build();
    return chance.OneIn(8) ? Encapsulate6(bytes, chance.Of(kDirectors6), chance.Of(kVips6)) : bytes;
  }
  Frame frame =
      ClientFrame("198.51.100." + std::to_string(1 + chance.Below(9)), 40000, chance.Of(kVips));
  if (chance.OneIn(4)) frame.src = Ip(chance.OneIn(2) ? chance.Of(kDirectors) : chance.Of(kVips));
  if (chance.OneIn(4)) frame.ip_options = Bytes(4 * chance.Below(4), 1);
  if (chance.OneIn(4)) frame.fragment_offset = static_cast<uint16_t>(chance.Below(100));
  if (chance.OneIn(3)) frame.protocol = 17;
  frame.payload = std::string(chance.Below(100), 'x');
  const Bytes bytes = frame.Build();
  return chance.OneIn(8) ? Encapsulate(bytes, Ip(chance.Of(kDirectors)), Ip(chance.Of(kVips)))
                         : bytes;
}

Bytes RandomTunnelled(Chance& chance) {
  const bool ipv6 = chance.OneIn(2);
  const Bytes inner = RandomInner(ipv6, chance);
  Bytes out;
  switch (chance.Below(12)) {
    case 0:
      return inner;
    case 2:
    case 3:
    case 4:
    case 5: {
      const Rule any = {chance.Of(ipv6 ? kDirectors6 : kDirectors), "",
                        chance.Of(ipv6 ? kReals6 : kReals), chance.Of(kPorts)};
      const Rule& to = chance.OneIn(2) ? any : kTunnels[(ipv6 ? 9 : 6) + chance.Below(3)];
      const auto source = static_cast<uint16_t>(chance.Below(65536));
      out = ipv6 ? EncapsulateGue6(inner, to.director, to.real, source, to.port)
                 : EncapsulateGue(inner, Ip(to.director), Ip(to.real), source, to.port);
      const size_t gue = kEthernet + (ipv6 ? 40 : 20);
      if (chance.OneIn(4)) {
        out[gue + 4 + chance.Below(8)] ^= static_cast<uint8_t>(1 << chance.Below(8));
      }
      break;
    }
    case 1:  // of the other family, as by sit or ip6tnl
      out = ipv6 ? Encapsulate(inner, Ip(chance.Of(kDirectors)), Ip("10.1.0.2"))
                 : Encapsulate6(inner, chance.Of(kDirectors6), "2001:db8:1::2");
      break;
    default:
      out = ipv6 ? Encapsulate6(inner, chance.Of(kDirectors6), "2001:db8:1::2")
                 : Encapsulate(inner, Ip(chance.Of(kDirectors)), Ip("10.1.0.2"));
  }
  if (!ipv6 && chance.OneIn(6) && out.size() > 34) {  // options of the outer header
    const size_t words = 1 + chance.Below(10);
    out[14] = static_cast<uint8_t>(out[14] + words);
    const size_t length = Number(out, 16) + 4 * words;
    out[16] = static_cast<uint8_t>(length >> 8);
    out[17] = static_cast<uint8_t>(length);
    out.insert(out.begin() + 34, 4 * words, 1);
  }
  if (!ipv6 && chance.OneIn(10)) out[20] |= 0x20;  // more fragments
  if (chance.OneIn(10)) out.resize(out.size() + chance.Below(30));
  return out;
}

// Sound options, or any bytes.
Bytes RandomOptions(Chance& chance) {
  Bytes out;
  while (out.size() < 40 && !chance.OneIn(6)) {
    switch (chance.Below(6)) {
      case 0:
      case 1: {
        const auto mss = static_cast<uint16_t>(chance.OneIn(3) ? chance.Below(65536)
                                                               : 1200 + chance.Below(300));
        out.insert(out.end(), {2, 4, static_cast<uint8_t>(mss >> 8), static_cast<uint8_t>(mss)});
        break;
      }
      case 2:
        out.push_back(1);
        break;
      case 3:
        out.insert(out.end(), {3, 3, 7});
        break;
      case 4:
        out.insert(out.end(), {8, 10, 1, 2, 3, 4, 5, 6, 7, 8});
        break;
      case 5:
        if (chance.OneIn(4)) out.push_back(static_cast<uint8_t>(chance.Below(256)));
        break;
    }
  }
  while (out.size() % 4 != 0) out.push_back(static_cast<uint8_t>(chance.OneIn(2)));
  out.resize(std::min<size_t>(out.size(), 40));
  return out;
}

Bytes RandomReply(Chance& chance) {
  const uint8_t flags = chance.OneIn(4) ? static_cast<uint8_t>(chance.Below(64)) : kSyn | kAck;
  if (chance.OneIn(2)) {
    Frame6 frame = ClientFrame6(chance.Of(kVips6), 80, "2001:db8:5::1", 40000);
    frame.flags = flags;
    frame.tcp_options = RandomOptions(chance);
    frame.payload = std::string(chance.Below(20), 'x');
    if (chance.OneIn(8)) frame.protocol = 17;
    return frame.Build();
  }
  Frame frame = ClientFrame(chance.Of(kVips), 80, "198.51.100.1", 40000);
  frame.flags = flags;
  frame.tcp_options = RandomOptions(chance);
  frame.payload = std::string(chance.Below(20), 'x');
  if (chance.OneIn(6)) frame.ip_options = Bytes(4 * (1 + chance.Below(10)), 1);
  if (chance.OneIn(8)) frame.protocol = 17;
  if (chance.OneIn(8)) frame.more_fragments = true;
  return frame.Build();
}

class NodeFuzzTest : public testing::Test {
 protected:
  using Judge = std::string (*)(Director&, const Bytes&, std::map<std::string, uint64_t>&);
  using Make = Bytes (*)(Chance&);

  NodeFuzzTest() {
    for (const Rule& rule : kTunnels) {
      if (rule.port == 0) {
        node_.AddTunnelPeer(rule.director, rule.vips);
      } else {
        node_.AddGuePeer(rule.director, rule.vips, rule.real, rule.port);
      }
    }
    for (const Clamp& clamp : kClamps) node_.AddMssClamp(clamp.vips, clamp.mss);
  }

  void Rounds(Make make, Judge judge) {
    const uint64_t seconds = Setting("KLVS_FUZZ_SECONDS", 0);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    uint64_t seed = Setting("KLVS_FUZZ_SEED", 1);
    do {
      std::cout << "KLVS_FUZZ_SEED=" << seed << std::endl;
      SCOPED_TRACE("KLVS_FUZZ_SEED=" + std::to_string(seed));
      Chance chance(seed);
      for (int i = 0; i < kPackets && !HasFailure(); ++i) {
        const Bytes frame = LongEnough(Mutated(make(chance), chance));
        EXPECT_EQ(judge(node_, frame, seen_), "") << "packet " << i;
      }
      ++seed;
    } while (!HasFailure() && std::chrono::steady_clock::now() < end);
    for (const auto& [what, count] : seen_) std::cout << count << " " << what << "\n";
  }

  // Each cut at every byte.
  void Cuts(Make make, Judge judge) {
    const uint64_t seed = Setting("KLVS_FUZZ_SEED", 1);
    SCOPED_TRACE("KLVS_FUZZ_SEED=" + std::to_string(seed));
    Chance chance(seed);
    for (int i = 0; i < 150 && !HasFailure(); ++i) {
      const Bytes whole = make(chance);
      for (size_t size = Least(whole); size <= whole.size() && !HasFailure(); ++size) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
        EXPECT_EQ(judge(node_, cut, seen_), "") << "cut to " << size << " bytes";
      }
    }
  }

  void ExpectSeen(const std::vector<std::string>& all) {
    for (const std::string& what : all) EXPECT_GT(seen_[what], 100U) << what;
  }

  Director node_{Stage::kTc};
  std::map<std::string, uint64_t> seen_;
};

TEST_F(NodeFuzzTest, OnlyWhatARuleNamesIsUnpackedAndNothingElseOfItChanges) {
  Rounds(RandomTunnelled, JudgeDecap);
  if (HasFailure()) return;
  ExpectSeen({"unpacked IPv4", "unpacked IPv6", "unpacked IPv4 by GUE", "unpacked IPv6 by GUE",
              "no tunnel of ours"});
}

TEST_F(NodeFuzzTest, ATunnelledPacketCutAtEveryByte) { Cuts(RandomTunnelled, JudgeDecap); }

TEST_F(NodeFuzzTest, OnlyAnMssAndTheChecksumChange) {
  Rounds(RandomReply, JudgeClamp);
  if (!HasFailure()) ExpectSeen({"clamped IPv4", "clamped IPv6", "no MSS to clamp"});
}

TEST_F(NodeFuzzTest, AReplyCutAtEveryByte) { Cuts(RandomReply, JudgeClamp); }

}  // namespace
}  // namespace kube_lvs::ebpf
