// Two CPUs that meet at one entry of the connection table. One runs the programs, the other one's part
// is played on the maps.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kOwnCpu = 0, kOtherCpu = 1, kRounds = 5000;
constexpr uint64_t kLive = KLVS_CONN_LIVE << 8, kClaimed = KLVS_CONN_CLAIMED << 8,
                   kPending = KLVS_CONN_PENDING << 8;

// On the one or the other of the CPUs that this process may use.
void StayOn(uint32_t one) {
  static const std::vector<int> cpus = [] {
    cpu_set_t allowed;
    Check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
    std::vector<int> out;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) out.push_back(cpu);
    }
    return out;
  }();
  Check(one < cpus.size(), "two CPUs are needed");
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus[one], &set);
  Check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

// A table of two sets, whose tags say what another CPU has claimed.
class ClaimTest : public testing::TestWithParam<Stage> {
 protected:
  // What a connection is and where it comes in while the table is empty.
  struct Place {
    klvs_conn* entry;
    uint16_t* tag;
    uint32_t set, way;
    klvs_conn is;
    uint16_t has;
  };

  ClaimTest() {
    StayOn(kOwnCpu);
    director_.Add({.reals = {{.address = "10.1.0.2"}}});
    const ConnTables tables = director_.conn_tables();
    sets_ = tables.sets;
    tags_ = tables.tags;
  }
  Place PlaceOf(const Frame& frame) {
    Empty();
    EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
    klvs_conn* entry = &director_.Connection();
    const auto index = static_cast<uint32_t>(entry - sets_[0].ways);
    Place place = {entry, nullptr, index / KLVS_CONN_WAYS, index % KLVS_CONN_WAYS, *entry, 0};
    place.tag = &tags_[place.set].way[place.way];
    place.has = *place.tag;
    Empty();
    return place;
  }
  // A client whose connection's own way is as `wanted`.
  template <typename Wanted>
  Frame ClientWhose(Wanted wanted) {
    for (uint16_t port = 40000;; ++port) {
      Frame frame = ClientFrame("10.1.0.1", port);
      if (wanted(PlaceOf(frame))) return frame;
    }
  }
  void Empty() {
    director_.ForgetConnections();
    director_.ResetRealConns(1);
  }
  // As when it has expired and was taken out.
  void TakeOut(const Place& place) {
    place.entry->ctl &= ~kLive;
    __atomic_store_n(place.tag, 0, __ATOMIC_SEQ_CST);
    director_.ResetRealConns(1);
  }
  // The control word of another CPU's entry of that key which has just come in.
  static uint64_t ClaimedCtl(uint64_t generation) {
    return generation << 32 | kLive | kClaimed | kPending | KLVS_SYN_RECV;
  }
  static bool IsClaimed(const klvs_conn& c) {
    return (~__atomic_load_n(&c.ctl, __ATOMIC_SEQ_CST) & (kLive | kClaimed)) == 0;
  }
  static bool IsThere(const klvs_conn& c) {
    return (__atomic_load_n(&c.ctl, __ATOMIC_SEQ_CST) & (kLive | kClaimed)) == kLive;
  }

  Director director_{GetParam(), 2};
  std::span<klvs_conn_set> sets_;
  std::span<klvs_set_tags> tags_;
};

INSTANTIATE_TEST_SUITE_P(Stages, ClaimTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ClaimTest, OfTwoClaimsOfOneKeyTheOneAtTheLowerHandleStays) {
  uint64_t lost = 0, won = 0;
  for (uint16_t port = 40000; port < 40008; ++port) {
    const Frame frame = ClientFrame("10.1.0.1", port);
    const Place own = PlaceOf(frame);
    for (uint32_t set = 0; set < sets_.size(); ++set) {
      for (uint32_t way = 0; way < KLVS_CONN_WAYS; ++way) {
        klvs_conn& rival = sets_[set].ways[way];
        if (&rival == own.entry) continue;
        SCOPED_TRACE("port " + std::to_string(port) + ", rival at " + std::to_string(set) + "/" +
                     std::to_string(way));
        Empty();
        rival = own.is;
        rival.ctl = ClaimedCtl(5);
        tags_[set].way[way] = own.has;
        const Verdict verdict = director_.Run(frame).verdict;
        EXPECT_EQ(tags_[set].way[way], own.has) << "it is the other CPU's to free";
        if (&rival < own.entry) {
          ++lost;
          EXPECT_EQ(verdict, Verdict::kDropped);
          EXPECT_EQ(rival.ctl, ClaimedCtl(5));
          EXPECT_EQ(own.entry->ctl & kLive, 0u);
          EXPECT_EQ(*own.tag, 0u);
          EXPECT_EQ(director_.real_conns(1).active, 0u);
        } else {
          ++won;
          EXPECT_EQ(verdict, Verdict::kSent);
          EXPECT_EQ(rival.ctl, ClaimedCtl(5) & ~kLive);
          EXPECT_TRUE(IsThere(*own.entry));
          EXPECT_EQ(director_.real_conns(1).active, 1u);
        }
      }
    }
  }
  EXPECT_GT(won, 0u);
  EXPECT_GT(lost, 0u);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"race", lost}}));
  EXPECT_EQ(director_.ServiceCounters(1).connections, won + 8);
}

// The one that is put out holds its client's template no more.
TEST_P(ClaimTest, WhoIsPutOutReleasesItsTemplate) {
  director_.Add({.template_seconds = 300, .reals = {{.address = "10.1.0.2"}}});
  const auto controlled = [this] {
    const auto held = director_.Template(1, "10.1.0.1");
    return held.has_value() ? static_cast<int>(KLVS_TEMPLATE_CONTROLLED(held->word)) : -1;
  };
  const Frame frame = ClientWhose([](const Place& place) { return place.way > 0; });
  const Place own = PlaceOf(frame);
  klvs_template held = *director_.Template(1, "10.1.0.1");
  held.word &= ~uint64_t{0xffffff};  // of no connection
  ASSERT_TRUE(director_.SetTemplate(1, "10.1.0.1", held));
  own.entry[-1] = own.is;
  own.entry[-1].ctl = ClaimedCtl(5);
  tags_[own.set].way[own.way - 1] = own.has;
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kDropped);
  EXPECT_EQ(controlled(), 0);
  Empty();
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(controlled(), 1);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"race", 1}}));
}

// A slot at a higher handle is claimed for the same key again and again: whoever claims it after us
// looks for his rivals after us, too.
TEST_P(ClaimTest, AClaimOfALaterGenerationIsNoRival) {
  const Frame frame = ClientWhose([](const Place& place) { return place.way < 7; });
  const Place own = PlaceOf(frame);
  klvs_conn& rival = own.entry[1];
  rival = own.is;
  rival.ctl = ClaimedCtl(1);
  tags_[own.set].way[own.way + 1] = own.has;
  const std::jthread other([&](const std::stop_token& stop) {
    StayOn(kOtherCpu);
    for (uint32_t generation = 1; !stop.stop_requested(); ++generation) {
      __atomic_store_n(&rival.ctl, ClaimedCtl(generation), __ATOMIC_SEQ_CST);
    }
  });
  for (uint32_t i = 0; i < kRounds && !HasFailure(); ++i) {
    EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent) << "after " << i;
    EXPECT_TRUE(IsThere(*own.entry));
    TakeOut(own);
  }
  EXPECT_TRUE(director_.Drops().empty());
}

// The other CPU has found no rival, and says so while we put it out.
TEST_P(ClaimTest, OfAClaimThatIsDoneAndOneThatPutsItOutOneStays) {
  const Frame frame = ClientWhose([](const Place& place) { return place.way < 7; });
  const Place own = PlaceOf(frame);
  klvs_conn& rival = own.entry[1];
  rival = own.is;
  std::atomic<uint32_t> begun = 0, ended = 0, done = 0;
  uint32_t theirs = 0, both = 0, neither = 0, wrong = 0;
  const uint32_t seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  {
    const std::jthread other([&] {
      StayOn(kOtherCpu);
      std::minstd_rand random(seed);
      for (uint32_t round = 1; round <= kRounds; ++round) {
        const uint32_t delay = random() % 64;
        while (begun < round) {
        }
        while (!IsClaimed(*own.entry) && ended < round) {
        }
        for (uint32_t i = 0; i < delay; ++i) asm volatile("");
        __u64 was = ClaimedCtl(round);
        __atomic_compare_exchange_n(&rival.ctl, &was, was & ~(kClaimed | kPending), false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        done = round;
      }
    });
    for (uint32_t round = 1; round <= kRounds; ++round) {
      __atomic_store_n(&rival.ctl, ClaimedCtl(round), __ATOMIC_SEQ_CST);
      tags_[own.set].way[own.way + 1] = own.has;
      begun = round;
      const Verdict verdict = director_.Run(frame).verdict;
      ended = round;
      while (done < round) {
      }
      const bool ours = IsThere(*own.entry);
      if (IsThere(rival)) {
        ++theirs;
        both += ours;
      } else {
        neither += !ours;
      }
      wrong += (verdict == Verdict::kSent) != ours;
      TakeOut(own);
    }
  }
  std::cout << "the other CPU's stayed in " << theirs << " of " << kRounds << " rounds\n";
  EXPECT_EQ(both, 0u);
  EXPECT_EQ(neither, 0u);
  EXPECT_EQ(wrong, 0u);
  std::map<std::string, uint64_t> races;
  if (theirs != 0) races["race"] = theirs;
  EXPECT_EQ(director_.Drops(), races);
}

// The other CPU has taken the entry out and has another connection in its place, to another real
// server, before the first one's packet is sent.
TEST_P(ClaimTest, WhoGaveWayBeforeItsFirstPacketLeftHasItDropped) {
  constexpr uint64_t kWanted = 3, kMost = 50000;
  director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
  for (const uint8_t method : {KLVS_METHOD_DIRECT_ROUTING, KLVS_METHOD_TUNNEL, KLVS_METHOD_NAT}) {
    SCOPED_TRACE("method " + std::to_string(method));
    director_.Add({.method = method, .reals = {{.address = "10.1.0.2"}}});
    director_.Add({.id = 2,
                   .port = 81,
                   .method = method,
                   .reals = {{.address = "10.1.0.3"}},
                   .first_real = 2});
    const Frame frame = ClientFrame();
    const Place own = PlaceOf(frame);
    const uint64_t before = director_.DropCounts()[KLVS_DROP_RACE];
    const klvs_counters counted = director_.ServiceCounters(1);
    std::atomic<uint64_t> begun = 0, ended = 0, done = 0;
    std::atomic<bool> replaced = false;
    uint64_t round = 0, dropped = 0, sent = 0;
    {
      const std::jthread other([&](const std::stop_token& stop) {
        StayOn(kOtherCpu);
        for (uint64_t next = 1;; ++next) {
          while (begun < next) {
            if (stop.stop_requested()) return;
          }
          __u64 ctl = 0;
          do {
            ctl = __atomic_load_n(&own.entry->ctl, __ATOMIC_SEQ_CST);
          } while ((ctl & (kLive | kClaimed | kPending)) != kLive && ended < next);
          replaced = (ctl & (kLive | kClaimed | kPending)) == kLive &&
                     __atomic_compare_exchange_n(&own.entry->ctl, &ctl, ctl & ~kLive, false,
                                                 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
          if (replaced) {
            own.entry->key.dport = htons(81);
            own.entry->real = own.entry->service = 2;
            __atomic_store_n(&own.entry->ctl, ctl + (uint64_t{1} << 32), __ATOMIC_SEQ_CST);
          }
          done = next;
        }
      });
      while (dropped < kWanted && round < kMost && !HasFailure()) {
        begun = ++round;
        const Verdict verdict = director_.Run(frame).verdict;
        ended = round;
        while (done < round) {
        }
        if (verdict == Verdict::kDropped) {
          ++dropped;
          EXPECT_TRUE(replaced);
          EXPECT_EQ(own.entry->key.dport, htons(81));
          EXPECT_TRUE(IsThere(*own.entry));
        } else {
          ++sent;
        }
        Empty();
      }
    }
    std::cout << dropped << " of " << round << " packets dropped\n";
    ASSERT_EQ(dropped, kWanted);
    EXPECT_EQ(director_.DropCounts()[KLVS_DROP_RACE] - before, dropped);
    EXPECT_LE(director_.ServiceCounters(1).packets - counted.packets, sent);
    EXPECT_LE(director_.ServiceCounters(1).connections - counted.connections, sent);
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
