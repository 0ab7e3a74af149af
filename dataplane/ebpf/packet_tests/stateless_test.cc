// Above the rate of new connections that a CPU remembers, hash schedulers go on without entries: UDP
// as TCP, in both families, and with each method that needs none.
#include <gtest/gtest.h>
#include <sched.h>

#include <string>

#include "dataplane/ebpf/packet_tests/stateless_fixture.h"

namespace kube_lvs::ebpf {
namespace {

class StatelessFlowsTest : public StatelessTest {
 protected:
  // By the CPU that it began on: each has a budget of its own.
  const OnCpu stays_{sched_getcpu()};
};

INSTANTIATE_TEST_SUITE_P(Ways, StatelessFlowsTest, StatelessWays(), StatelessWayName);

// Nobody knows which datagram of a client is the first: each without an entry counts as one.
TEST_P(StatelessFlowsTest, Datagrams) {
  Add(Of(17));
  RememberOnly(3);
  ExpectByHash(1, kClients, 17);
  EXPECT_EQ(Connections(), 3U);
  EXPECT_EQ(director_.ServiceCounters(1).connections, kClients);
  ExpectByHash(1, kClients, 17);
  EXPECT_EQ(Connections(), 3U);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 2 * kClients - 3);
  RememberAll();
  ExpectByHash(1, kClients, 17);
  EXPECT_EQ(Connections(), kClients);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 3 * kClients - 6);
  EXPECT_EQ(director_.ServiceCounters(1).packets, 3 * kClients);
  for (const uint32_t real : {1, 2}) EXPECT_GT(director_.RealCounters(real).packets, 0U) << real;
}

TEST_P(StatelessFlowsTest, ConnectionsOfTcpCountWhenTheyBegin) {
  Add(Of(6));
  RememberOnly(3);
  ExpectByHash(1, kClients, 6);
  ExpectByHash(1, kClients, 6, kAck);
  ExpectByHash(1, kClients, 6, kFin | kAck);
  EXPECT_EQ(Connections(), 3U);
  EXPECT_EQ(director_.ServiceCounters(1).connections, kClients);
  EXPECT_EQ(director_.ServiceCounters(1).packets, 3 * kClients);
  RememberAll();
  ExpectByHash(4, kClients, 6, kAck);
  EXPECT_EQ(Connections(), kClients);
}

TEST_P(StatelessFlowsTest, TheBudgetComesBack) {
  Add(Of(17));
  RememberOnly(2);
  ExpectByHash(1, 5, 17);
  EXPECT_EQ(Connections(), 2U);
  director_.settings().hz = 1;  // a tick earns all
  director_.AwaitTick();
  ExpectByHash(6, 6, 17);
  EXPECT_EQ(Connections(), 3U);
}

TEST_P(StatelessFlowsTest, BothFamiliesHaveOneBudget) {
  Add(Of(17));
  Service other = Of(17);
  other.id = 2;
  other.vip = Vip(!ipv6_);
  other.reals = {{.address = Host(2, !ipv6_)}};
  other.first_real = 3;
  other.table = KLVS_HASH_BUCKETS;
  director_.Add(other);
  for (uint32_t i = 0; i < KLVS_HASH_BUCKETS; ++i) director_.tables()[other.table + i].real = 3;
  RememberOnly(1);
  ExpectByHash(1, 1, 17);
  EXPECT_EQ(Connections(), 1U);
  const Bytes frame = Packet(Host(20, !ipv6_), !ipv6_, 17, 0);
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(3).packets, 1U);
  EXPECT_EQ(Connections(), 1U);
  RememberAll();
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(Connections(), 2U);
}

// Its source port is the client's, with or without an entry.
TEST_P(StatelessFlowsTest, ATunnelByGueKeepsItsSourcePort) {
  Service service = Of(17, KLVS_METHOD_TUNNEL);
  service.gue_port = 6080;
  Add(service);
  RememberOnly(1);
  ExpectByHash(1, 1, 17);
  const Outcome without = director_.Run(Packet(2, 17));
  EXPECT_EQ(Connections(), 1U);
  RememberAll();
  const Outcome opening = director_.Run(Packet(2, 17));
  EXPECT_EQ(Connections(), 2U);
  const Outcome with = director_.Run(Packet(2, 17));
  for (const Outcome* out : {&without, &opening, &with}) {
    ASSERT_EQ(out->verdict, Verdict::kSent);
    const Bytes in = Packet(2, 17);
    const size_t header = ipv6_ ? 40 : 20;
    ASSERT_EQ(out->frame.size(), in.size() + header + 12);
    EXPECT_EQ(Hex(out->frame), Hex(without.frame));
    EXPECT_EQ(Hex({out->frame.begin() + static_cast<ptrdiff_t>(14 + header + 12),
                   out->frame.end()}),
              Hex({in.begin() + 14, in.end()}));
  }
}

// XDP leaves them to tc, which counts them once.
TEST_P(StatelessFlowsTest, ThoseOfARealServerOnThisNodeCountOnce) {
  for (const uint8_t protocol : {6, 17}) {
    Service service = Of(protocol);
    service.id = protocol;
    for (Real& real : service.reals) real.flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL;
    Add(service);
    RememberOnly(1);
    for (int i = 1; i <= kClients; ++i) {
      const Bytes in = Packet(i, protocol);
      const Outcome out = director_.RunBoth(in);
      EXPECT_EQ(out.verdict, Verdict::kUntouched);
      EXPECT_EQ(Hex(out.frame), Hex(in));
    }
    EXPECT_EQ(director_.ServiceCounters(protocol).connections, kClients);
    EXPECT_EQ(director_.ServiceCounters(protocol).packets, kClients);
    EXPECT_EQ(Connections(), 1U);
  }
}

TEST_P(StatelessFlowsTest, LaterFragmentsFollowTheirFirst) {
  Add(Of(17));
  RememberOnly(1);
  const auto fragment = [&](int client, uint16_t offset, bool more) {
    const std::string payload(offset == 0 ? 152 : 160, 'a');
    if (ipv6_) {
      Frame6 frame = ClientFrame6(Client(client), 2000, Vip(true));
      frame.protocol = 17;
      frame.extensions = {Fragment6(offset, more, 7)};
      frame.headless = offset != 0;
      frame.payload = payload;
      return frame.Build();
    }
    Frame frame = ClientFrame(Client(client), 2000, Vip(false));
    frame.protocol = 17;
    frame.dont_fragment = false;
    frame.more_fragments = more;
    frame.fragment_offset = offset;
    frame.payload = payload;
    return frame.Build();
  };
  for (int i = 1; i <= kClients; ++i) {
    const uint32_t real = RealByHash(Client(i));
    EXPECT_EQ(Goes(fragment(i, 0, true)), real);
    EXPECT_EQ(Goes(fragment(i, 20, true)), real);
    EXPECT_EQ(Goes(fragment(i, 40, false)), real);
  }
  EXPECT_EQ(Connections(), 1U);
  EXPECT_EQ(director_.ServiceCounters(1).connections, kClients);
  EXPECT_TRUE(director_.Drops().empty());
}

}  // namespace
}  // namespace kube_lvs::ebpf
