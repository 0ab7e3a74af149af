// Schedulers that go by the counts of connections, and thresholds: the choices that Linux 6.1's
// IPVS was seen to make for the same history, and the counts on the way.
#include <sched.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "dataplane/ebpf/packet_tests/schedule_fixture.h"

namespace kube_lvs::ebpf {
namespace {

using ScheduleCountsTest = ScheduleTest;

// Keeps the calling thread on the CPU that it is on.
class OneCpu {
 public:
  OneCpu() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
  }
  ~OneCpu() { sched_setaffinity(0, sizeof before_, &before_); }
  OneCpu(const OneCpu&) = delete;

 private:
  cpu_set_t before_;
};

INSTANTIATE_TEST_SUITE_P(Stages, ScheduleCountsTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

struct Golden {
  uint8_t scheduler;
  std::vector<uint32_t> weights;
  std::string chosen;
};

int Length(const std::string& chosen) { return static_cast<int>(chosen.size() + 1) / 2; }

TEST_P(ScheduleCountsTest, TcpConnectionsThatStayOpen) {
  const Golden kGolden[] = {
      {KLVS_SCHEDULER_LC, {3, 1, 2}, "3 2 1 3 2 1 3 2 1"},
      {KLVS_SCHEDULER_WLC, {3, 1, 2}, "3 2 1 1 3 1 3 2 1 1 3 1 3 2 1 1 3 1"},
      {KLVS_SCHEDULER_SED, {3, 1, 2}, "1 3 1 3 2 1 1 3 1 3 2 1"},
      {KLVS_SCHEDULER_NQ, {3, 1, 2}, "3 2 1 1 3 1 1 3 1 3 2 1 1 3 1 3 2 1"},
      {KLVS_SCHEDULER_OVF, {3, 1, 2}, "1 1 1 1 3 3 3 2 2 - -"},
      {KLVS_SCHEDULER_FO, {3, 1, 2}, "1 1 1 1"},
  };
  for (const Golden& golden : kGolden) {
    SCOPED_TRACE("scheduler " + std::to_string(golden.scheduler));
    director_.Add(KernelTcp(golden.scheduler, golden.weights));
    EXPECT_EQ(Held(Length(golden.chosen)), golden.chosen);
    Forget();
  }
}

TEST_P(ScheduleCountsTest, UdpIsNeverActive) {
  const Golden kGolden[] = {
      {KLVS_SCHEDULER_WLC, {3, 1, 2}, "3 2 1 1 3 1 3 2 1 1 3 1"},
      {KLVS_SCHEDULER_SED, {3, 1, 2}, "1 1 1 1"},
      {KLVS_SCHEDULER_NQ, {3, 1, 2}, "3 3 3 3"},
      {KLVS_SCHEDULER_OVF, {3, 1, 2}, "1 1 1 1 1 1"},
      {KLVS_SCHEDULER_FO, {3, 1, 2}, "1 1 1 1"},
  };
  for (const Golden& golden : kGolden) {
    SCOPED_TRACE("scheduler " + std::to_string(golden.scheduler));
    director_.Add(Kernel(golden.scheduler, golden.weights));
    EXPECT_EQ(Choices(Length(golden.chosen)), golden.chosen);
    Forget();
  }
}

TEST_P(ScheduleCountsTest, NobodyIsChosenWhenAllAreQuiesced) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_RR, KLVS_SCHEDULER_WRR, KLVS_SCHEDULER_LC,
                                  KLVS_SCHEDULER_WLC, KLVS_SCHEDULER_SED, KLVS_SCHEDULER_NQ,
                                  KLVS_SCHEDULER_FO, KLVS_SCHEDULER_OVF, KLVS_SCHEDULER_TWOS}) {
    SCOPED_TRACE("scheduler " + std::to_string(scheduler));
    director_.Add(Kernel(scheduler, {0, 0}));
    EXPECT_EQ(Choices(1), "-");
    director_.Add(Kernel(scheduler, {0, 1}));
    EXPECT_EQ(Choices(1), "2");
    director_.Add(Kernel(scheduler, {1, 0}));
    Forget();
    EXPECT_EQ(Choices(1), "1");
    Forget();
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_real_server", 9}}));
}

// An active connection is as 257 inactive ones.
TEST_P(ScheduleCountsTest, ActiveConnectionsWeighMore) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_LC, KLVS_SCHEDULER_WLC}) {
    SCOPED_TRACE("scheduler " + std::to_string(scheduler));
    director_.Add(Kernel(scheduler, {1, 1}));
    director_.SetRealConns(Id(2), 1, 0);
    director_.SetRealConns(Id(1), 0, 256);
    EXPECT_EQ(Choices(1), "1");
    Forget();
    director_.SetRealConns(Id(2), 1, 0);
    director_.SetRealConns(Id(1), 0, 257);
    EXPECT_EQ(Choices(1), "2");  // of equals, the first of the list
    Forget();
  }
}

// Products of more than 32 bits.
TEST_P(ScheduleCountsTest, GreatCountsAndWeightsDoNotOverflow) {
  director_.Add(Kernel(KLVS_SCHEDULER_WLC, {65535, 65534}));
  director_.SetRealConns(Id(1), 10000000, 0);
  director_.SetRealConns(Id(2), 10000000, 0);
  EXPECT_EQ(Choices(1), "1");
  Forget();
  director_.Add(Kernel(KLVS_SCHEDULER_SED, {65534, 65535}));
  director_.SetRealConns(Id(1), 4000000000u, 0);
  director_.SetRealConns(Id(2), 4000000000u, 0);
  EXPECT_EQ(Choices(1), "2");
}

TEST_P(ScheduleCountsTest, CountsFollowEachChangeOfAConnection) {
  director_.Add(KernelTcp(KLVS_SCHEDULER_WLC, {1, 1}));
  EXPECT_EQ(Held(3), "2 1 2");
  EXPECT_EQ(Counts(), "1+0 2+0");
  director_.Run(Tcp(0, kFin | kAck));
  EXPECT_EQ(Counts(), "1+0 1+1");
  director_.Run(Tcp(2, kRst));
  EXPECT_EQ(Counts(), "1+0 0+2");
  EXPECT_EQ(Held(1), "2");  // 257 against 2
  EXPECT_EQ(Counts(), "1+0 1+2");
  director_.Run(Tcp(2, kSyn));  // anew, on its own port: 258 against 257
  EXPECT_EQ(Counts(), "2+0 1+1");
  director_.Run(Tcp(3, kAck));
  EXPECT_EQ(Counts(), "2+0 1+1");
}

// The kernel's timer takes the old connection out after the choice for the new one.
TEST_P(ScheduleCountsTest, APortThatIsUsedAgainIsStillCountedAtTheChoice) {
  director_.Add(KernelTcp(KLVS_SCHEDULER_LC, {1, 1}));
  EXPECT_EQ(Held(1), "2");
  director_.Run(Tcp(0, kRst));
  EXPECT_EQ(Counts(), "0+0 0+1");
  director_.Run(Tcp(0, kSyn));
  EXPECT_EQ(ChoiceOf(Tcp(0, kSyn)), "1");
  EXPECT_EQ(Counts(), "1+0 0+0");
}

TEST_P(ScheduleCountsTest, NewConnectionsTakeOutWhatHasExpired) {
  // Each CPU goes over the table by itself.
  const OneCpu pinned;
  director_.Add(KernelTcp(KLVS_SCHEDULER_LC, {1, 1}));
  EXPECT_EQ(Held(20).substr(0, 3), "2 1");
  EXPECT_EQ(Counts(), "10+0 10+0");
  director_.ExpireAll();
  // Two sets each of the table's 64.
  for (int i = 0; i < 32; ++i) Held(1);
  EXPECT_EQ(Counts(), "16+0 16+0");
}

TEST_P(ScheduleCountsTest, AWeightThatChangesCountsFromNowOn) {
  Service service = KernelTcp(KLVS_SCHEDULER_WLC, {1, 1});
  director_.Add(service);
  EXPECT_EQ(Held(4), "2 1 2 1");
  service.reals[0].weight = 3;  // number 2
  director_.Replace(service);
  EXPECT_EQ(Held(6), "2 2 2 2 2 1");  // 7 for weight 3 are more than 2 for weight 1
  service.reals[0].weight = 0;
  director_.Replace(service);
  EXPECT_EQ(Held(2), "1 1");
  EXPECT_EQ(Counts(), "5+0 7+0");
}

TEST_P(ScheduleCountsTest, TwoChoicesFallAsTheirDrawsSay) {
  // Of draws 0, 1, 2, 3: the first of the list (weight 1) has 0 and 1, the other (weight 2) 2
  // and 3.
  director_.Add(Kernel(KLVS_SCHEDULER_TWOS, {2, 1}));
  const int kDraws = 4000;
  int first = 0;
  for (int i = 0; i < kDraws; ++i) {
    const std::string choice = Choices(1);
    ASSERT_NE(choice, "-");
    if (choice == "2") ++first;
    Forget();
  }
  // Neither has connections: the first draw decides.
  EXPECT_NEAR(first, kDraws / 2, 4 * std::sqrt(kDraws / 4));
  // The first is busy: it is taken only when both draws name it.
  first = 0;
  for (int i = 0; i < kDraws; ++i) {
    director_.SetRealConns(Id(2), 10, 0);
    if (Choices(1) == "2") ++first;
    Forget();
  }
  EXPECT_NEAR(first, kDraws / 4, 4 * std::sqrt(kDraws * 3 / 16));
}

TEST_P(ScheduleCountsTest, TwoChoicesNeverTakeOneThatIsOverloaded) {
  Service service = Kernel(KLVS_SCHEDULER_TWOS, {5, 1, 0});
  service.reals[2].upper = 3;  // number 1
  director_.Add(service);
  director_.SetRealConns(Id(1), 0, 3, 1);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Choices(1, static_cast<uint16_t>(2000 + i)), "2");
  }
}

TEST_P(ScheduleCountsTest, EachPacketOfOnePacketSchedulingIsScheduled) {
  Service service = Kernel(KLVS_SCHEDULER_RR, {1, 1});
  service.flags = KLVS_SERVICE_ONE_PACKET;
  director_.Add(service);
  Frame frame = ClientFrame();
  frame.protocol = 17;
  // Also where XDP could send to one of them only.
  director_.real(Id(1)).flags &= static_cast<uint8_t>(~KLVS_REAL_L2);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(director_.RunBoth(frame.Build()).verdict, Verdict::kSent);
  }
  EXPECT_TRUE(director_.Entries().empty());
  EXPECT_EQ(Counts(), "0+0 0+0");
  EXPECT_EQ(director_.RealCounters(Id(2)).connections, 3u);
  EXPECT_EQ(director_.RealCounters(Id(2)).packets, 3u);
  EXPECT_EQ(director_.RealCounters(Id(1)).packets, 2u);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 5u);
  EXPECT_EQ(director_.ServiceCounters(1).packets, 5u);
}

TEST_P(ScheduleCountsTest, OnePacketSchedulingKeepsToThresholds) {
  Service service = Kernel(KLVS_SCHEDULER_RR, {1, 1});
  service.flags = KLVS_SERVICE_ONE_PACKET;
  service.reals[0].upper = 4;  // number 2
  director_.Add(service);
  Frame frame = ClientFrame();
  frame.protocol = 17;
  // The fourth connection while three are there; the lower threshold is 3.
  director_.SetRealConns(Id(2), 0, 3);
  for (int i = 0; i < 4; ++i) director_.RunBoth(frame.Build());
  EXPECT_EQ(director_.real_conns(Id(2)).overloaded, 1u);
  EXPECT_EQ(director_.RealCounters(Id(2)).packets, 1u);
  EXPECT_EQ(director_.RealCounters(Id(1)).packets, 3u);
}

Service WithThresholds(Service service, uint32_t upper, uint32_t lower) {
  for (Real& real : service.reals) {
    real.upper = upper;
    real.lower = lower;
  }
  return service;
}

TEST_P(ScheduleCountsTest, TheUpperThresholdStopsEveryScheduler) {
  const Golden kGolden[] = {
      {KLVS_SCHEDULER_RR, {3, 1, 2}, "3 2 1 3 2 1 -"},
      {KLVS_SCHEDULER_WRR, {3, 1, 2}, "1 3 1 3 2 2 -"},
      {KLVS_SCHEDULER_LC, {3, 1, 2}, "3 2 1 3 2 1 -"},
      {KLVS_SCHEDULER_WLC, {3, 1, 2}, "3 2 1 1 3 2 -"},
      {KLVS_SCHEDULER_SED, {3, 1, 2}, "1 3 1 3 2 2 -"},
      {KLVS_SCHEDULER_NQ, {3, 1, 2}, "3 2 1 1 3 2 -"},
      {KLVS_SCHEDULER_FO, {3, 1, 2}, "1 1 3 3 2 2 -"},
      {KLVS_SCHEDULER_OVF, {3, 1, 2}, "1 1 3 3 2 2 -"},
  };
  for (const Golden& golden : kGolden) {
    SCOPED_TRACE("scheduler " + std::to_string(golden.scheduler));
    director_.Add(WithThresholds(KernelTcp(golden.scheduler, golden.weights), 2, 1));
    EXPECT_EQ(Held(Length(golden.chosen)), golden.chosen);
    Forget();
  }
  EXPECT_EQ(director_.Drops().at("no_real_server"), std::size(kGolden));
}

TEST_P(ScheduleCountsTest, BelowTheLowerThresholdItIsTakenAgain) {
  director_.Add(WithThresholds(KernelTcp(KLVS_SCHEDULER_LC, {1}), 4, 2));
  EXPECT_EQ(Held(5), "1 1 1 1 -");
  EXPECT_EQ(director_.real_conns(1).overloaded, 1u);
  // Inactive ones count as well.
  director_.Run(Tcp(0, kRst));
  EXPECT_EQ(Held(1), "-");
  for (int left = 3; left >= 1; --left) {
    director_.Entries()[0]->expires = 0;
    director_.Sweep();
    EXPECT_EQ(director_.real_conns(1).overloaded, left < 2 ? 0u : 1u) << left;
  }
  EXPECT_EQ(Held(4), "1 1 1 -");
}

// A CPU that counts the connection at the threshold has not said so yet when others open more.
TEST_P(ScheduleCountsTest, WhoPassesTheUpperThresholdSaysSoToo) {
  director_.Add(WithThresholds(KernelTcp(KLVS_SCHEDULER_LC, {1}), 4, 2));
  director_.SetRealConns(1, 4, 0);
  EXPECT_EQ(Held(2), "1 -");
}

TEST_P(ScheduleCountsTest, WithoutALowerThresholdThreeQuartersAre) {
  director_.Add(WithThresholds(KernelTcp(KLVS_SCHEDULER_LC, {1}), 8, 0));
  Held(8);
  EXPECT_EQ(director_.real_conns(1).overloaded, 1u);
  for (int left = 7; left >= 5; --left) {
    director_.Entries()[0]->expires = 0;
    director_.Sweep();
    EXPECT_EQ(director_.real_conns(1).overloaded, left < 6 ? 0u : 1u) << left;
  }
}

// The kernel tries each weight of its mark in turn; ours goes at once to the one that it ends at.
TEST_P(ScheduleCountsTest, WeightedRoundRobinPassesOverWeightsOfTheOverloaded) {
  Service service = KernelTcp(KLVS_SCHEDULER_WRR, {8, 2});
  service.reals[1].upper = 1;  // number 1
  director_.Add(service);
  EXPECT_EQ(Held(2), "1 2");
  EXPECT_EQ(director_.state(1).cursor & 0xffffffff, 1u);  // of 7, 5, 3, 1
}

// wrr's mark when nobody takes connections: as the kernel leaves it.
TEST_P(ScheduleCountsTest, WeightedRoundRobinGoesOnAfterAllWereOverloaded) {
  Service service = WithThresholds(KernelTcp(KLVS_SCHEDULER_WRR, {4, 2}), 3, 3);
  director_.Add(service);
  EXPECT_EQ(Held(7), "1 2 1 1 2 2 -");
  for (klvs_conn* c : director_.Entries()) c->expires = 0;
  director_.Sweep();
  EXPECT_EQ(Counts(), "0+0 0+0");
  EXPECT_EQ(Held(3), "1 1 2");
}

}  // namespace
}  // namespace kube_lvs::ebpf
