// The programs on two CPUs at once, while the backend changes weights and real servers: what must
// hold of tables, counts and thresholds whatever the order of events was.
//   KLVS_PARALLEL_PACKETS=10000000   of each CPU
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/ebpf/packet_tests/two_cpus.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kClients = 24, kPorts = 8;

uint64_t Packets() {
  const char* text = std::getenv("KLVS_PARALLEL_PACKETS");
  return text == nullptr ? 60000 : std::strtoull(text, nullptr, 10);
}

class ParallelTest : public TwoCpusTest {
 protected:
  ParallelTest() : TwoCpusTest(1024) {}

  // False: the tables that changes of the last second left are still resting.
  bool Change(const Step& step) {
    const absl::Status status =
        node_.In([&] { return dataplane_.backend->Apply(std::vector<Step>{step}); })[0];
    if (status.code() == absl::StatusCode::kResourceExhausted) return false;
    EXPECT_TRUE(status.ok()) << ToString(step) << ": " << status;
    return status.ok();
  }

  void ShortenTimeouts() {
    // All but the established expire at once: their end is met by whoever comes by.
    klvs_settings& settings = Array<klvs_settings>(kSettingsMap)[0];
    for (int state = 0; state < KLVS_STATES; ++state) {
      if (state != KLVS_ESTABLISHED) settings.timeouts[state] = std::max(1U, settings.hz / 50);
    }
  }

  // What a real server answers to a connection that may be there. Empty: there is none.
  Bytes Reply(std::mt19937_64& random) const {
    static constexpr uint8_t kFlags[] = {kSyn | kAck, kAck, kFin | kAck, kRst};
    const klvs_conn_set& set = conns_[random() % conns_.size()];
    const klvs_conn c = set.ways[random() % KLVS_CONN_WAYS];
    const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
    if (!(flags & KLVS_CONN_LIVE) || !(flags & KLVS_CONN_NAT) || c.real >= reals_.size()) return {};
    if (ntohl(c.key.src) - Ip("10.1.0.1") >= kClients) return {};  // those are to stay
    return ReplyOf(c, kFlags[random() % std::size(kFlags)]);
  }

  // Of the client's packets that open or end connections, and replies, on one CPU.
  void Pound(uint32_t cpu, const std::vector<Bytes>& packets, Tally& tally) const {
    node_.In([&] {
      StayOn(cpu);
      std::mt19937_64 random(cpu);
      for (uint64_t i = Packets(); i > 0; --i) {
        const Bytes reply = random() % 4 == 0 ? Reply(random) : Bytes();
        Send(reply.empty() ? packets[random() % packets.size()] : reply, tally);
      }
      return 0;
    });
  }

  // How many connections passed a threshold; 0 is none.
  int OverThreshold() const {
    int over = 0;
    for (size_t id = 1; id < reals_.size(); ++id) {
      if (!(reals_[id].flags & KLVS_REAL_VALID) || reals_[id].upper_threshold == 0) continue;
      const uint64_t both =
          __atomic_load_n(reinterpret_cast<const uint64_t*>(&real_conns_[id]), __ATOMIC_RELAXED);
      // One that moves between the two counts may be in neither.
      const auto total = static_cast<int32_t>(static_cast<uint32_t>(both) + (both >> 32));
      over = std::max(over, total - static_cast<int32_t>(reals_[id].upper_threshold));
    }
    return over;
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, ParallelTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Xdp" : "Tc"; });

TEST_P(ParallelTest, WhateverTheOrderCountsAreTheTables) {
  // Established, of clients that nothing else comes from.
  std::vector<FlowKey> held;
  Tally tally;
  for (const Sort& sort : Sorts()) {
    if (!sort.tcp) continue;
    for (int client = 0; client < 8; ++client) {
      for (const uint8_t flags : {kSyn, kAck}) {
        const Bytes frame = ClientPacket(sort, kClients + client, 0, flags);
        node_.In([&] { return Send(frame, tally), 0; });
        if (flags == kAck) held.push_back(KeyOf(Read(frame)));
      }
    }
  }
  ASSERT_EQ(tally.sent, 2 * held.size());
  ShortenTimeouts();

  std::vector<Bytes> packets;
  for (const Sort& sort : Sorts()) {
    for (int client = 0; client < kClients; ++client) {
      for (int port = 0; port < kPorts; ++port) {
        for (const uint8_t flags : {kSyn, kSyn, kAck, uint8_t{kFin | kAck}, kRst}) {
          packets.push_back(ClientPacket(sort, client, port, flags));
        }
      }
    }
  }
  Tally tallies[kCpus];
  std::atomic<uint32_t> running = kCpus;
  std::vector<std::jthread> threads;
  for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
    threads.emplace_back([&, cpu] {
      Pound(cpu, packets, tallies[cpu]);
      --running;
    });
  }
  std::mt19937_64 random(7);
  int over = 0;
  uint64_t changes = 0;
  while (running > 0) {
    const size_t service = random() % Sorts().size();
    // The first two are always there, one of them with a weight.
    const int real = 1 + static_cast<int>(random() % (kReals - 1));
    const RealServer to = Server(service, real, static_cast<uint32_t>(random() % 4));
    if (real == 1 || random() % 2 == 0) {
      Change(SetReal{Key(service), to});
    } else if (Change(RemoveReal{Key(service), to.at})) {
      over = std::max(over, OverThreshold());
      while (!Change(AddReal{Key(service), to}) && !HasFailure()) {
      }
    }
    over = std::max(over, OverThreshold());
    ++changes;
    if (changes % 16 == 0) {
      EXPECT_TRUE(node_.In([&] { return dataplane_.backend->Refresh(); }).ok());
      // Nothing is lost, so that whatever it took for wrong only moved.
      const auto repaired = node_.In([&] { return dataplane_.backend->RepairCounts(); });
      EXPECT_TRUE(repaired.ok()) << repaired.status();
      EXPECT_EQ(repaired.value_or(0), 0U);
    }
    if (HasFailure()) break;
  }
  threads.clear();
  for (const Tally& one : tallies) {
    tally.sent += one.sent;
    tally.dropped += one.dropped;
    tally.answered += one.answered;
    tally.untouched += one.untouched;
    tally.other += one.other;
  }
  std::cout << tally.sent << " sent, " << tally.dropped << " dropped, " << tally.answered
            << " answered, " << tally.untouched << " untouched, " << changes << " changes, " << over
            << " over a threshold\n";
  EXPECT_EQ(tally.other, 0U);
  EXPECT_LE(over, static_cast<int>(kCpus) - 1);
  EXPECT_EQ(Fault(), "");
  for (const FlowKey& key : held) {
    const auto flow = FindFlow(conns_, conns6_, key);
    ASSERT_TRUE(flow.has_value()) << "an established connection was lost: " << Hex(key.dst);
    EXPECT_EQ(flow->state, static_cast<uint32_t>(KLVS_ESTABLISHED));
  }
  const auto stats = node_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok()) << stats.status();
  uint64_t forwarded = 0, dropped = 0;
  for (const auto& [key, counters] : stats->services) {
    forwarded += counters.packets + counters.reply_packets;
  }
  for (const auto& [reason, count] : stats->drops) dropped += count;
  EXPECT_EQ(forwarded, tally.sent);
  EXPECT_EQ(dropped, tally.dropped + tally.answered);

  for (klvs_conn_set& set : conns_) {
    for (klvs_conn& c : set.ways) c.expires = 0;
  }
  for (klvs_conn_set6& set : conns6_) {
    for (klvs_conn6& c : set.ways) c.expires = 0;
  }
  const auto swept = node_.In([&] {
    return dataplane_.objects.programs->SweepConnections(static_cast<uint32_t>(conns_.size()),
                                                         static_cast<uint32_t>(conns6_.size()));
  });
  ASSERT_TRUE(swept.ok()) << swept;
  EXPECT_EQ(Fault(), "");
  for (const klvs_real_conns& c : real_conns_) EXPECT_EQ(c.active + c.inactive, 0U);

  // Connections open in every set.
  Tally after;
  for (int client = 0; client < 200; ++client) {
    for (int port = 0; port < 16; ++port) {
      node_.In([&] { return Send(ClientPacket(Sorts()[1], client, port, 0), after), 0; });
    }
  }
  EXPECT_EQ(after.sent, 3200U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
