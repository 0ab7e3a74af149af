// Fragments that come before their first, to a service of all ports whose scheduler asks for none:
// they go where the first will go, whatever the family, the method and the kind of VIP.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "dataplane/ebpf/packet_tests/director.h"
#include "dataplane/ebpf/packet_tests/hash_cells.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kClients = 8;

class EarlyFragmentTest : public testing::TestWithParam<std::tuple<Stage, bool>> {
 protected:
  std::string Host(int number) const {
    return (ipv6_ ? "2001:db8:1::" : "10.1.0.") + std::to_string(number);
  }
  std::string Vip(int number) const {
    return (ipv6_ ? "2001:db8:9::" : "10.9.0.") + std::to_string(number);
  }
  std::string Client(int number) const { return Host(20 + number); }
  // Real servers 1 and 2 at hosts 2 and 3.
  Service Of(uint8_t method, uint8_t scheduler = KLVS_SCHEDULER_SH) const {
    return {.vip = Vip(1),
            .port = 0,
            .last_port = 65535,
            .scheduler = scheduler,
            .method = method,
            .reals = {{.address = Host(2), .port = 0}, {.address = Host(3), .port = 0}}};
  }
  void Add(const Service& service) {
    director_.Add(service);
    FillCellsByTurns(director_);
  }
  void Spread() { director_.Spread(Vip(1), ipv6_ ? "2001:db8:9::/112" : "10.9.0.0/24"); }

  // Of UDP; the first of two, or the last.
  Bytes Fragment(const std::string& client, const std::string& vip, bool first,
                 const Mac& to = kOwnMac, const Mac& from = kClientMac, uint8_t hops = 64) const {
    const std::string payload(first ? 152 : 77, first ? 'a' : 'b');
    if (!ipv6_) {
      Frame frame = ClientFrame(client, 2000, vip);
      frame.protocol = 17;
      frame.dont_fragment = false;
      frame.more_fragments = first;
      frame.fragment_offset = first ? 0 : 20;
      frame.payload = payload;
      frame.dst_mac = to;
      frame.src_mac = from;
      frame.ttl = hops;
      return frame.Build();
    }
    Frame6 frame = ClientFrame6(client, 2000, vip);
    frame.protocol = 17;
    frame.extensions = {Fragment6(first ? 0 : 20, first, 99)};
    frame.headless = !first;
    frame.payload = payload;
    frame.dst_mac = to;
    frame.src_mac = from;
    frame.hops = hops;
    return frame.Build();
  }
  Bytes Later(int client = 1) const { return Fragment(Client(client), Vip(1), false); }
  // As it is on the link behind the director.
  Bytes Linked(const std::string& client, const std::string& vip, bool first, uint8_t hops) const {
    if (director_.stage() == Stage::kTc) {
      return Fragment(client, vip, first, kOwnMac, kClientMac, hops);
    }
    return Fragment(client, vip, first, kRealMac, kOwnMac, hops);
  }
  Bytes Tunnelled(const std::string& client, const std::string& vip, bool first,
                  const Bytes& out) const {
    const std::string to = Host(1 + static_cast<int>(RealByHash(client)));
    const Bytes in = Linked(client, vip, first, 64);
    if (ipv6_) return Encapsulate6(in, Host(254), to);
    return Encapsulate(in, Ip(Host(254)), Ip(to), static_cast<uint16_t>(out[18] << 8 | out[19]));
  }

  size_t Connections() { return director_.Entries().size() + director_.Entries6().size(); }
  // What comes last, and then the first: both to `real`, and only the first opens anything.
  template <typename Expect>
  void ExpectBothGoTo(uint32_t real, const std::string& client, const std::string& vip,
                      Expect expect) {
    SCOPED_TRACE(client + " to " + vip);
    const size_t connections = Connections();
    const klvs_counters before = director_.RealCounters(real);
    const auto drops = director_.Drops();
    for (const bool first : {false, true}) {
      expect(first, director_.RunBoth(Fragment(client, vip, first)));
      const uint64_t opened = first ? 1 : 0;
      EXPECT_EQ(director_.RealCounters(real).packets, before.packets + 1 + opened);
      EXPECT_EQ(director_.RealCounters(real).connections, before.connections + opened);
      EXPECT_EQ(Connections(), connections + opened);
    }
    EXPECT_EQ(director_.Drops(), drops);
  }
  void ExpectBothAged(uint32_t real, const std::string& client, const std::string& vip) {
    ExpectBothGoTo(real, client, vip, [&](bool first, const Outcome& out) {
      EXPECT_EQ(out.verdict, Verdict::kSent);
      EXPECT_EQ(Hex(out.frame), Hex(Linked(client, vip, first, 63)));
    });
  }
  void ExpectDropped(const Bytes& frame) {
    auto expected = director_.Drops();
    ++expected["fragment"];
    EXPECT_EQ(director_.RunBoth(frame).verdict, Verdict::kDropped);
    EXPECT_EQ(director_.Drops(), expected);
    EXPECT_EQ(Connections(), 0U);
  }

  const bool ipv6_ = std::get<1>(GetParam());
  Director director_{std::get<0>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Stages, EarlyFragmentTest,
                         testing::Combine(testing::Values(Stage::kXdp, Stage::kTc),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<1>(info.param) ? "Ipv6" : "Ipv4") +
                                  ToString(std::get<0>(info.param));
                         });

TEST_P(EarlyFragmentTest, DirectRoutingSendsThemWhereTheFirstWillGo) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  for (int i = 1; i <= kClients; ++i) ExpectBothAged(RealByHash(Client(i)), Client(i), Vip(1));
  for (const uint32_t real : {1, 2}) EXPECT_GT(director_.RealCounters(real).packets, 0U) << real;
}

TEST_P(EarlyFragmentTest, TunnelEncapsulatesThemToWhereTheFirstWillGo) {
  Add(Of(KLVS_METHOD_TUNNEL));
  for (int i = 1; i <= kClients; ++i) {
    const std::string client = Client(i);
    ExpectBothGoTo(RealByHash(client), client, Vip(1), [&](bool first, const Outcome& out) {
      EXPECT_EQ(out.verdict, Verdict::kSent);
      ASSERT_GT(out.frame.size(), 20U);
      EXPECT_EQ(Hex(out.frame), Hex(Tunnelled(client, Vip(1), first, out.frame)));
    });
  }
  for (const uint32_t real : {1, 2}) EXPECT_GT(director_.RealCounters(real).packets, 0U) << real;
}

// By either method without NAT it goes to the stack as it is, counted once.
TEST_P(EarlyFragmentTest, ARealServerOnThisNodeGetsThemAsTheyAre) {
  for (const uint8_t method : {KLVS_METHOD_DIRECT_ROUTING, KLVS_METHOD_TUNNEL}) {
    Service service = Of(method);
    for (Real& real : service.reals) real.flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL;
    Add(service);
    for (int i = 1; i <= kClients; ++i) {
      const std::string client = Client(i + kClients * method);
      ExpectBothGoTo(RealByHash(client), client, Vip(1), [&](bool first, const Outcome& out) {
        EXPECT_EQ(out.verdict, Verdict::kUntouched);
        EXPECT_EQ(Hex(out.frame), Hex(Fragment(client, Vip(1), first)));
      });
    }
  }
}

TEST_P(EarlyFragmentTest, EachAddressOfANetworkHasThem) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING));
  Spread();
  for (int i = 1; i <= kClients; ++i) ExpectBothAged(RealByHash(Client(i)), Client(i), Vip(10 * i));
  // No client has one of its addresses, and what is beside it is none of ours.
  EXPECT_EQ(director_.Run(Fragment(Vip(77), Vip(10), false)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"fragment", 1}}));
  const Bytes beside = Fragment(Client(1), ipv6_ ? "2001:db8:8::1" : "10.9.1.1", false);
  EXPECT_EQ(director_.RunBoth(beside).verdict, Verdict::kUntouched);
}

TEST_P(EarlyFragmentTest, DestinationHashingChoosesByTheVeryAddressOfANetwork) {
  Add(Of(KLVS_METHOD_DIRECT_ROUTING, KLVS_SCHEDULER_DH));
  Spread();
  for (int i = 1; i <= kClients; ++i) ExpectBothAged(RealByHash(Vip(i)), Client(1), Vip(i));
  for (const uint32_t real : {1, 2}) EXPECT_GT(director_.RealCounters(real).packets, 0U) << real;
}

TEST_P(EarlyFragmentTest, NobodyElseHasThem) {
  Service service = Of(KLVS_METHOD_DIRECT_ROUTING);
  Add(service);
  ExpectDropped(Fragment(ipv6_ ? "ff02::1" : "127.0.0.1", Vip(1), false));
  ExpectDropped(Fragment(Vip(1), Vip(1), false));
  for (const uint8_t flag : {KLVS_SERVICE_HASH_PORT, KLVS_SERVICE_PERSISTENT}) {
    SCOPED_TRACE(int{flag});
    service.flags = flag;
    director_.Replace(service);
    ExpectDropped(Later());
  }
  service = Of(KLVS_METHOD_NAT);
  director_.Replace(service);
  ExpectDropped(Later());
  for (Real& real : service.reals) real.flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL;
  director_.Replace(service);
  ExpectDropped(Later());
  director_.Replace(Of(KLVS_METHOD_DIRECT_ROUTING, KLVS_SCHEDULER_RR));
  ExpectDropped(Later());
}

TEST_P(EarlyFragmentTest, ARealServerWithoutWeightIsNoChoice) {
  Service service = Of(KLVS_METHOD_DIRECT_ROUTING);
  for (Real& real : service.reals) real.weight = 0;
  Add(service);
  ExpectDropped(Later());
  service.reals[0].weight = 1;
  service.flags = KLVS_SERVICE_HASH_FALLBACK;
  director_.Replace(service);
  int client = 1;
  while (RealByHash(Client(client)) != 2) ++client;
  ExpectBothAged(1, Client(client), Vip(1));
}

}  // namespace
}  // namespace kube_lvs::ebpf
