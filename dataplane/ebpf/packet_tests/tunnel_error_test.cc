// ICMP errors about a tunnel's outer packet, of both families and by IPIP and GUE: the client gets
// them about his own packet. Whatever is not surely about a connection of ours goes to the stack.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint16_t kGuePort = 6080;
constexpr uint16_t kSourcePort = 0xc123;  // of GUE; errors are found by what is inside
constexpr uint32_t kMtu = 1400;

struct Type {
  uint8_t type = 0, code = 0;
};

// What may be wrong with an error.
struct Lie {
  std::string to = {}, from = {};  // the outer packet's ends
  uint16_t gue_port = kGuePort;
  uint16_t client_port = 2000;
  uint16_t port = 80;
  uint8_t protocol = 6;
  uint32_t word = kMtu;
};

class TunnelErrorTest : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  TunnelErrorTest() {
    director_.Add({.vip = vip_,
                   .method = KLVS_METHOD_TUNNEL,
                   .gue_port = gue_ ? kGuePort : uint16_t{0},
                   .reals = {{.address = real_}}});
    director_.SetAddress(dip_, KLVS_ADDRESS_TUNNEL);
    director_.settings().flags = KLVS_SETTING_TUNNELS;
    director_.RunTc(Request(2000, 80, 6, kSyn));
  }
  // The client's packet.
  Bytes Request(uint16_t sport, uint16_t dport, uint8_t protocol, uint8_t flags = kAck,
                bool cuttable = false, size_t size = 900) {
    const auto fill = [&](auto frame) {
      frame.protocol = protocol;
      frame.flags = flags;
      frame.payload = std::string(size, 'x');
      return frame;
    };
    if (ipv6_) return fill(ClientFrame6(client_, sport, vip_, dport)).Build();
    Frame frame = fill(ClientFrame(client_, sport, vip_, dport));
    frame.dont_fragment = !cuttable;
    return frame.Build();
  }
  // What we made of it.
  Bytes Outer(const Bytes& request, const std::string& from, const std::string& to,
              uint16_t gue_port) {
    if (ipv6_) {
      return gue_ ? EncapsulateGue6(request, from, to, kSourcePort, gue_port)
                  : Encapsulate6(request, from, to);
    }
    return gue_ ? EncapsulateGue(request, Ip(from), Ip(to), kSourcePort, gue_port)
                : Encapsulate(request, Ip(from), Ip(to));
  }
  // A router's answer to it, which quotes so many bytes.
  Bytes Error(const Bytes& outer, Type type, uint32_t word, size_t quoted = 500) {
    if (ipv6_) {
      return Icmp6(ClientFrame6(router_, 0, dip_, 0), type.type, type.code,
                   About6(word, outer, quoted))
          .Build();
    }
    Frame frame = ClientFrame(router_, 0, dip_, 0);
    frame.protocol = 1;
    frame.payload = IcmpError(type.type, type.code, word, outer, quoted - 20);
    return frame.Build();
  }
  Bytes Error(const Lie& lie, Type type, size_t quoted = 500) {
    return Error(Outer(Request(lie.client_port, lie.port, lie.protocol),
                       lie.from.empty() ? dip_ : lie.from, lie.to.empty() ? real_ : lie.to,
                       lie.gue_port),
                 type, lie.word, quoted);
  }
  // What the client gets, with so many bytes of `request` in it. The neighbour's address is the
  // kernel's to find.
  Bytes Answer(const Bytes& request, Type type, uint32_t word, size_t quoted) {
    if (ipv6_) {
      Frame6 frame;
      frame.dst_mac = next_hop_;
    frame.src_mac = kOwnMac;
      frame.src = vip_;
      frame.dst = client_;
      return Icmp6(frame, type.type, type.code, About6(word, request, std::min(quoted, kMost6)))
          .Build();
    }
    Frame frame;
    frame.dst_mac = next_hop_;
    frame.src_mac = kOwnMac;
    frame.src = Ip(vip_);
    frame.dst = Ip(client_);
    frame.protocol = 1;
    frame.id = 0;
    frame.tos = 0xc0;
    frame.payload =
        IcmpError(type.type, type.code, word, request, std::min(quoted, kMost4) - 20);
    return frame.Build();
  }
  void ExpectSent(const Bytes& error, const Bytes& answer) {
    const Outcome out = director_.RunTc(error);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(answer));
    EXPECT_TRUE(director_.Drops().empty());
  }
  void ExpectUntouched(const Bytes& frame) {
    const Outcome out = director_.RunTc(frame);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(frame));
    EXPECT_TRUE(director_.Drops().empty());
  }
  size_t Header() const { return ipv6_ ? 40 : 20; }
  size_t Overhead() const { return Header() + (gue_ ? 12 : 0); }
  // What a router says whose next link takes less.
  Type TooBig() const { return ipv6_ ? Type{2, 0} : Type{3, 4}; }

  static constexpr size_t kMost4 = 68, kMost6 = 240;

  const bool ipv6_ = std::get<0>(GetParam()), gue_ = std::get<1>(GetParam());
  const std::string vip_ = ipv6_ ? "2001:db8:9::1" : "10.9.0.1";
  const std::string client_ = ipv6_ ? "2001:db8:1::1" : "10.1.0.1";
  const std::string real_ = ipv6_ ? "2001:db8:1::2" : "10.1.0.2";
  std::string dip_ = ipv6_ ? "2001:db8:1::254" : "10.1.0.254";
  const std::string router_ = ipv6_ ? "2001:db8:7::9" : "203.0.113.9";
  Mac next_hop_ = {};
  Director director_{Stage::kXdp};
};

INSTANTIATE_TEST_SUITE_P(Tunnels, TunnelErrorTest,
                         testing::Combine(testing::Bool(), testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) ? "Ipv6" : "Ipv4") +
                                  (std::get<1>(info.param) ? "Gue" : "Ipip");
                         });

TEST_P(TunnelErrorTest, WhatFitsReachesTheClientLessTheTunnelsHeaders) {
  for (const uint32_t fits : {1500u, 1400u, 1333u}) {
    SCOPED_TRACE(fits);
    ExpectSent(Error({.word = fits}, TooBig()),
               Answer(Request(2000, 80, 6), TooBig(), fits - Overhead(), 500));
  }
}

TEST_P(TunnelErrorTest, OtherErrorsReachTheClientAsTheyAre) {
  const std::vector<Type> types =
      ipv6_ ? std::vector<Type>{{1, 0}, {1, 1}, {1, 4}, {3, 0}}
            : std::vector<Type>{{3, 0}, {3, 1}, {3, 3}, {3, 13}, {11, 0}};
  for (const Type type : types) {
    SCOPED_TRACE(std::to_string(type.type) + "/" + std::to_string(type.code));
    // RFC 4884: a length of what is quoted, which is another one in the answer.
    ExpectSent(Error({.word = 0x00100000}, type), Answer(Request(2000, 80, 6), type, 0, 500));
  }
}

// IPv6 has the whole word for it, and no packet is so long.
TEST_P(TunnelErrorTest, WhatFitsIsSixteenBitsOfIpv4) {
  const Bytes error = Error({.word = 0x00100000 | kMtu}, TooBig());
  if (ipv6_) {
    ExpectUntouched(error);
  } else {
    ExpectSent(error, Answer(Request(2000, 80, 6), TooBig(), kMtu - Overhead(), 500));
  }
}

TEST_P(TunnelErrorTest, ItQuotesWhatIsThere) {
  const size_t least = Overhead() + Header() + 8;
  for (size_t quoted = Header(); quoted < least + 300; ++quoted) {
    SCOPED_TRACE(quoted);
    const Bytes error = Error({}, TooBig(), quoted);
    if (quoted < least) {
      ExpectUntouched(error);
    } else {
      ExpectSent(error, Answer(Request(2000, 80, 6), TooBig(), kMtu - Overhead(),
                               quoted - Overhead()));
      director_.AwaitTick();
    }
  }
}

// No more than the packet that it is about was long.
TEST_P(TunnelErrorTest, AShortPacketIsQuotedWhole) {
  const Bytes request = Request(2000, 80, 6, kAck, false, 1);
  ExpectSent(Error(Outer(request, dip_, real_, kGuePort), TooBig(), kMtu),
             Answer(request, TooBig(), kMtu - Overhead(), 500));
}

TEST_P(TunnelErrorTest, AFrameThatEndsTooEarlyGoesToTheStack) {
  const Bytes whole = Error({}, TooBig(), Overhead() + Header() + 8);
  for (size_t size = 14 + Header(); size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_EQ(director_.RunTc(Bytes(whole.begin(), whole.begin() + size)).verdict,
              Verdict::kUntouched);
  }
  EXPECT_TRUE(director_.Drops().empty());
  EXPECT_EQ(director_.RunTc(whole).verdict, Verdict::kSent);
}

TEST_P(TunnelErrorTest, WhatIsNoConnectionsGoesToTheStack) {
  const std::string other = ipv6_ ? "2001:db8:1::3" : "10.1.0.3";
  const uint32_t least = ipv6_ ? 1280 : 68;
  std::map<std::string, Lie> lies = {
      {"another real server", {.to = other}},
      {"another source", {.from = other}},
      {"another client", {.client_port = 2001}},
      {"another port", {.port = 81}},
      {"another protocol", {.protocol = 17}},
      {"nothing fits", {.word = 0}},
      {"hardly anything fits", {.word = least + static_cast<uint32_t>(Overhead()) - 1}},
      {"more fits than there is", {.word = 0x10000}},
  };
  if (gue_) lies["another port of GUE"] = {.gue_port = kGuePort + 1};
  for (const auto& [name, lie] : lies) {
    SCOPED_TRACE(name);
    ExpectUntouched(Error(lie, TooBig()));
  }
  // Neither errors nor of those that are passed on.
  for (const Type type : ipv6_ ? std::vector<Type>{{4, 0}, {128, 0}, {129, 0}, {0, 0}, {100, 0}}
                               : std::vector<Type>{{0, 0}, {4, 0}, {5, 0}, {8, 0}, {12, 0}}) {
    SCOPED_TRACE(int{type.type});
    ExpectUntouched(Error({}, type));
  }
  EXPECT_EQ(director_.RunTc(Error({}, TooBig())).verdict, Verdict::kSent);
}

TEST_P(TunnelErrorTest, TheTunnelIsTheOneThatTheConnectionHas) {
  const Bytes error = Error({}, TooBig());
  klvs_real& real = director_.real(1);
  real.gue_port = htons(gue_ ? 0 : kGuePort);
  ExpectUntouched(error);
  real.gue_port = htons(gue_ ? kGuePort : 0);
  real.method = KLVS_METHOD_DIRECT_ROUTING;
  ExpectUntouched(error);
  real.method = KLVS_METHOD_TUNNEL;
  // The way to it was another one meanwhile.
  __be32& source = ipv6_ ? director_.real6(1).source.word[3] : real.source;
  source ^= htonl(1);
  ExpectUntouched(error);
  source ^= htonl(1);
  EXPECT_EQ(director_.RunTc(error).verdict, Verdict::kSent);
  director_.ExpireAll();
  ExpectUntouched(error);
}

// An outer header and what is in it that make no sense, byte by byte.
TEST_P(TunnelErrorTest, AHeaderThatIsNotOursGoesToTheStack) {
  const size_t outer = 14 + Header() + 8, inner = outer + Overhead();
  std::map<std::string, std::pair<size_t, uint8_t>> changes = {
      {"version of the outer header", {outer, 0x55}},
      {"version of the packet", {inner, 0x55}},
      {"protocol of the outer header", {outer + (ipv6_ ? 6 : 9), 47}},
      {"protocol of the packet", {inner + (ipv6_ ? 6 : 9), 47}},
  };
  if (gue_) {
    changes["variant or options"] = {inner - 4, 1};
    changes["what GUE carries"] = {inner - 3, 47};
  }
  if (!ipv6_) {
    changes["length of the outer header"] = {outer, 0x44};
    changes["a piece of the outer packet"] = {outer + 7, 1};
    changes["a later piece"] = {inner + 7, 1};
    changes["a packet that may be cut"] = {inner + 6, 0};
    changes["length of the packet"] = {inner + 2, 0};
  }
  for (const auto& [name, change] : changes) {
    SCOPED_TRACE(name);
    Bytes error = Error({}, TooBig());
    error[change.first] = change.second;
    if (name == "length of the packet") error[change.first + 1] = 27;
    ExpectUntouched(error);
  }
}

// It goes by the interface that the client's packets come from.
TEST_P(TunnelErrorTest, XdpLeavesItToTc) {
  const Bytes error = Error({}, TooBig());
  const Outcome out = director_.Run(error);
  EXPECT_EQ(out.verdict, Verdict::kUntouched);
  EXPECT_EQ(Hex(out.frame), Hex(error));
}

TEST_P(TunnelErrorTest, WhatElseComesToTheSourceGoesToTheStack) {
  for (const bool also_snat : {false, true}) {
    if (also_snat) director_.SetAddress(dip_, KLVS_ADDRESS_TUNNEL | KLVS_ADDRESS_SNAT);
    for (const uint8_t protocol : {6, 17}) {
      const auto fill = [&](auto frame) {
        frame.protocol = protocol;
        return frame.Build();
      };
      ExpectUntouched(ipv6_ ? fill(ClientFrame6(client_, 2000, dip_, 80))
                            : fill(ClientFrame(client_, 2000, dip_, 80)));
    }
    ExpectUntouched(Error({}, ipv6_ ? Type{128, 0} : Type{8, 0}));
  }
  EXPECT_EQ(director_.RunTc(Error({}, TooBig())).verdict, Verdict::kSent);
}

// As with lvsadm's own dataplane on a host of one address.
TEST_P(TunnelErrorTest, TheVipMayBeTheSource) {
  director_.settings().flags |= KLVS_SETTING_SHARED_VIPS;
  if (ipv6_) {
    director_.real6(1).source = Ip6(vip_);
  } else {
    director_.real(1).source = htonl(Ip(vip_));
  }
  dip_ = vip_;
  next_hop_ = kClientMac;  // the sender's, until the kernel has found it
  ExpectSent(Error({}, TooBig()),
             Answer(Request(2000, 80, 6), TooBig(), kMtu - Overhead(), 500));
  ExpectUntouched(Error({.port = 81}, TooBig()));
}

TEST_P(TunnelErrorTest, TheyAreAsFewAsOtherAnswers) {
  const Bytes error = Error({}, TooBig());
  director_.settings().hz = 1000000;  // nothing comes back
  int sent = 0;
  for (int i = 0; i < 200; ++i) sent += director_.RunTc(error).verdict == Verdict::kSent;
  EXPECT_LT(sent, 200);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"icmp", 200 - sent}}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
