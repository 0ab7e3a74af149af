// Two CPUs' packets that meet at one service, one connection or one port.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <iostream>
#include <latch>
#include <map>
#include <thread>
#include <vector>

#include "dataplane/ebpf/packet_tests/two_cpus.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kClients = 24;

// None has to give way to another.
class MeetingTest : public TwoCpusTest {
 protected:
  MeetingTest() : TwoCpusTest(1U << 17) {}

  // A client's SYN to a port of the second VIP, which no other is like.
  static Bytes NewClient(uint32_t number, uint16_t port) {
    Frame frame;
    frame.dst_mac = kDirectorMac;
    frame.src_mac = kNeighbourMac;
    frame.src = Ip("10.2.0.0") + number % 256;
    frame.dst = Ip(Sorts()[1].vip);
    frame.sport = static_cast<uint16_t>(1024 + number / 256);
    frame.dport = port;
    frame.flags = kSyn;
    return frame.Build();
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, MeetingTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Xdp" : "Tc"; });

// While nothing else changes, each turn is given out once: the shares are those of any one CPU.
TEST_P(MeetingTest, TurnsOfRrAndWrrAreThoseOfSomeSerialOrder) {
  constexpr uint16_t kRoundRobin = 81, kWeighted = 82;
  constexpr uint32_t kWeights = 1 + 2 + 3 + 4, kOpens = 1000 * kWeights;  // of each CPU
  std::vector<Step> steps;
  const auto key = [](uint16_t port) {
    return ServiceKey{Dataplane::kEbpf, Endpoint{*IpAddress::Parse(Sorts()[1].vip), port},
                      Protocol::kTcp};
  };
  for (const uint16_t port : {kRoundRobin, kWeighted}) {
    ServiceConfig config;
    config.scheduler = port == kWeighted ? "wrr" : "rr";
    steps.emplace_back(AddService{key(port), config});
    for (int real = 0; real < kReals; ++real) {
      RealServer server = Server(1, real, port == kWeighted ? 1 + static_cast<uint32_t>(real) : 1);
      server.at.port = port;
      steps.emplace_back(AddReal{key(port), server});
    }
  }
  Apply(steps);

  Tally tallies[kCpus];
  {
    std::latch ready(kCpus);
    std::vector<std::jthread> threads;
    for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
      threads.emplace_back([&, cpu] {
        node_.In([&] {
          StayOn(cpu);
          ready.arrive_and_wait();
          for (uint32_t i = 0; i < kOpens; ++i) {
            for (const uint16_t port : {kRoundRobin, kWeighted}) {
              Send(NewClient(i * kCpus + cpu, port), tallies[cpu]);
            }
          }
          return 0;
        });
      });
    }
  }
  for (const Tally& tally : tallies) EXPECT_EQ(tally.sent, 2 * kOpens);
  const auto stats = node_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok()) << stats.status();
  for (const uint16_t port : {kRoundRobin, kWeighted}) {
    std::vector<uint64_t> got, wanted;
    for (int real = 0; real < kReals; ++real) {
      RealServer server = Server(1, real, 1);
      server.at.port = port;
      got.push_back(stats->reals.at({key(port), server.at}).counters.connections);
      wanted.push_back(port == kWeighted
                           ? uint64_t{kCpus} * kOpens / kWeights * (1 + static_cast<uint64_t>(real))
                           : uint64_t{kCpus} * kOpens / kReals);
    }
    EXPECT_EQ(got, wanted) << "port " << port;
  }
}

// The same first packet on both CPUs at once: one connection, whoever was faster, and the other packet
// goes its way or is dropped.
TEST_P(MeetingTest, AConnectionThatTwoCpusOpenAtOnceIsThereOnce) {
  constexpr uint16_t kPort = 83;
  constexpr uint32_t kOpens = 20000;
  const ServiceKey key{Dataplane::kEbpf, Endpoint{*IpAddress::Parse(Sorts()[1].vip), kPort},
                       Protocol::kTcp};
  ServiceConfig config;
  config.scheduler = "lc";
  std::vector<Step> steps = {AddService{key, config}};
  for (int real = 0; real < kReals; ++real) {
    RealServer server = Server(1, real, 1);
    server.at.port = kPort;
    steps.emplace_back(AddReal{key, server});
  }
  Apply(steps);

  Tally tallies[kCpus];
  SendTogether(kOpens, [](uint32_t, uint32_t i) { return NewClient(i, kPort); }, tallies);
  EXPECT_EQ(Fault(), "");
  uint32_t connections = 0;
  for (const klvs_conn_set& set : conns_) {
    for (const klvs_conn& c : set.ways) connections += (KLVS_CTL_FLAGS(c.ctl) & KLVS_CONN_LIVE) != 0;
  }
  EXPECT_EQ(connections, kOpens);
  const uint64_t dropped = tallies[0].dropped + tallies[1].dropped;
  std::cout << dropped << " packets met the other CPU's claim\n";
  EXPECT_EQ(tallies[0].sent + tallies[1].sent + dropped, uint64_t{kCpus} * kOpens);
  EXPECT_LE(dropped, kOpens);
}

// Both ends say FIN at the same time: the connection is over, whichever came first.
TEST_P(MeetingTest, NeitherEndsFinIsLost) {
  constexpr uint32_t kConnections = 20000;
  const Sort& sort = Sorts()[2];
  Tally opened;
  std::vector<Bytes> fins[kCpus];
  node_.In([&] {
    for (uint32_t i = 0; i < kConnections; ++i) {
      const int port = static_cast<int>(i) / kClients;
      Send(ClientPacket(sort, static_cast<int>(i) % kClients, port, kSyn), opened);
    }
    return 0;
  });
  ASSERT_EQ(opened.sent, kConnections);
  for (klvs_conn_set& set : conns_) {
    for (klvs_conn& c : set.ways) {
      const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
      if (!(flags & KLVS_CONN_LIVE) || (flags & KLVS_CONN_REPLY)) continue;
      const Bytes reply = ReplyOf(c, kAck);
      Tally tally;
      node_.In([&] { return Send(reply, tally), 0; });
      c.ctl = (c.ctl & ~0xffULL) | KLVS_ESTABLISHED;
      fins[0].push_back(ClientPacket(sort, static_cast<int>(ntohl(c.key.src) - Ip("10.1.0.1")),
                                     ntohs(c.key.sport) - 20000, kFin | kAck));
      fins[1].push_back(ReplyOf(c, kFin | kAck));
    }
  }
  ASSERT_EQ(fins[0].size(), kConnections);
  Tally tallies[kCpus];
  SendTogether(kConnections, [&](uint32_t cpu, uint32_t i) { return fins[cpu][i]; }, tallies);
  for (const Tally& tally : tallies) EXPECT_EQ(tally.sent, kConnections);
  std::map<uint32_t, uint32_t> states;
  for (const klvs_conn_set& set : conns_) {
    for (const klvs_conn& c : set.ways) {
      const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
      if ((flags & KLVS_CONN_LIVE) && !(flags & KLVS_CONN_REPLY)) ++states[KLVS_CTL_STATE(c.ctl)];
    }
  }
  EXPECT_EQ(states[KLVS_TIME_WAIT], kConnections) << testing::PrintToString(states);
}

// A new connection tries the port that another one has, again and again: the replies of that one pass.
TEST_P(MeetingTest, RepliesPassWhileTheirPortIsTried) {
  constexpr uint32_t kReplies = 30000;
  const Sort& sort = Sorts()[0];
  klvs_settings& settings = Array<klvs_settings>(kSettingsMap)[0];
  int client = 0;
  // Which entry is looked at first goes by the hash of the key.
  for (uint16_t port = 1025; port < 1031; ++port) {
    settings.snat_port_base = port;
    settings.snat_port_count = 1;
    Tally opened;
    while (opened.dropped + opened.answered == 0) {
      node_.In([&] { return Send(ClientPacket(sort, client++, 0, kSyn), opened), 0; });
      // One that goes on gives its port to nobody.
      for (klvs_conn_set& set : conns_) {
        for (klvs_conn& c : set.ways) {
          if (KLVS_CTL_FLAGS(c.ctl) & KLVS_CONN_NAT) c.ctl = (c.ctl & ~0xffULL) | KLVS_ESTABLISHED;
        }
      }
    }
    std::vector<klvs_conn> with_port;
    for (const klvs_conn_set& set : conns_) {
      for (const klvs_conn& c : set.ways) {
        const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
        if ((flags & KLVS_CONN_LIVE) && (flags & KLVS_CONN_NAT) && ntohs(c.nat_port) == port) {
          with_port.push_back(c);
        }
      }
    }
    ASSERT_EQ(with_port.size(), opened.sent);
    ASSERT_FALSE(with_port.empty());

    Tally tries, replies;
    std::atomic<bool> stop = false;
    std::jthread trying([&] {
      node_.In([&] {
        StayOn(1);
        for (int other = 5000; !stop; ++other) Send(ClientPacket(sort, other, 0, kSyn), tries);
        return 0;
      });
    });
    std::jthread replying([&] {
      node_.In([&] {
        StayOn(0);
        for (uint32_t i = 0; i < kReplies; ++i) {
          Send(ReplyOf(with_port[i % with_port.size()], kAck), replies);
        }
        return 0;
      });
      stop = true;
    });
    replying.join();
    trying.join();
    EXPECT_EQ(replies.sent, kReplies) << "port " << port;
    EXPECT_EQ(tries.sent, 0U) << "port " << port;
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
