// lblc and lblcr, for a service with one address: the rules of Linux 6.1's ip_vs_lblc.c and
// ip_vs_lblcr.c.
#include <string>

#include "dataplane/ebpf/packet_tests/schedule_fixture.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kDay = 86400 * kHz;

using ScheduleLocalityTest = ScheduleTest;

INSTANTIATE_TEST_SUITE_P(Stages, ScheduleLocalityTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ScheduleLocalityTest, ConnectionsStayTogetherWhileNobodyIsOverloaded) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_LBLC, KLVS_SCHEDULER_LBLCR}) {
    director_.Add(KernelTcp(scheduler, {3, 3, 3}));
    director_.locality(1) = {};
    // The first is as with wlc. A fifth is one more than the weight; others are idle.
    EXPECT_EQ(Held(5), "3 3 3 3 2");
    Forget();
  }
}

TEST_P(ScheduleLocalityTest, WhoIsBusyIsLeftOnlyForWhoIsIdle) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_LBLC, KLVS_SCHEDULER_LBLCR}) {
    director_.Add(Kernel(scheduler, {4, 4}));
    director_.locality(1) = {};
    EXPECT_EQ(Choices(1, 1000), "2");
    director_.SetRealConns(Id(2), 5, 0);
    director_.SetRealConns(Id(1), 2, 0);  // twice 2 is not less than 4
    if (scheduler == KLVS_SCHEDULER_LBLC) {
      EXPECT_EQ(Choices(1, 1001), "2");
    }
    director_.SetRealConns(Id(1), 1, 0);
    EXPECT_EQ(Choices(1, 1002), "1");
    Forget();
  }
}

TEST_P(ScheduleLocalityTest, LblcStaysWithTheNewOne) {
  director_.Add(KernelTcp(KLVS_SCHEDULER_LBLC, {2, 2}));
  EXPECT_EQ(Held(3), "2 2 2");
  EXPECT_EQ(Held(3), "1 1 1");
  EXPECT_EQ(director_.locality(1).real, Id(1));
  EXPECT_EQ(Held(1), "1");  // nobody is idle
}

TEST_P(ScheduleLocalityTest, LblcLeavesTheQuiescedAndTheRemoved) {
  Service service = Kernel(KLVS_SCHEDULER_LBLC, {1, 1, 1});
  director_.Add(service);
  EXPECT_EQ(Choices(1, 1000), "3");
  service.reals[0].weight = 0;  // number 3
  director_.Replace(service);
  EXPECT_EQ(Choices(1, 1001), "2");
  director_.real(Id(2)).flags |= KLVS_REAL_REMOVED;
  service.reals[1].weight = 0;
  director_.Replace(service);
  EXPECT_EQ(Choices(1, 1002), "1");
}

// The kernel looks at the flag of the overloaded only when it chooses anew.
TEST_P(ScheduleLocalityTest, LblcDoesNotHeedTheThresholdOfWhereItWent) {
  Service service = Kernel(KLVS_SCHEDULER_LBLC, {1, 1});
  for (Real& real : service.reals) real.upper = 1;
  director_.Add(service);
  EXPECT_EQ(Choices(3), "2 2 2");
  EXPECT_EQ(director_.real_conns(Id(2)).overloaded, 1u);
}

TEST_P(ScheduleLocalityTest, LblcrGathersASetAndTakesItsLeastLoaded) {
  director_.Add(KernelTcp(KLVS_SCHEDULER_LBLCR, {2, 2, 2}));
  EXPECT_EQ(Held(4), "3 3 3 2");
  // 2 is the least of the set {3, 2}; of the whole service it would be 1.
  EXPECT_EQ(Held(2), "2 2");
  EXPECT_EQ(Held(3), "1 1 1");
  EXPECT_EQ(director_.locality(1).joined, 3u);
}

TEST_P(ScheduleLocalityTest, LblcrTakesOfEqualsTheOneThatJoinedLast) {
  Service service = KernelTcp(KLVS_SCHEDULER_LBLCR, {2, 2, 2});
  director_.Add(service);
  EXPECT_EQ(Held(6), "3 3 3 2 2 2");
  for (Real& real : service.reals) real.weight = 10;
  director_.Replace(service);
  EXPECT_EQ(Held(2), "2 3");
}

TEST_P(ScheduleLocalityTest, LblcrLetsTheMostLoadedGoAfterADay) {
  director_.Add(KernelTcp(KLVS_SCHEDULER_LBLCR, {2, 2, 2}));
  EXPECT_EQ(Held(4), "3 3 3 2");
  director_.locality(1).changed -= kDay + kHz;
  EXPECT_EQ(Held(1), "2");
  EXPECT_EQ(director_.real_conns(Id(3)).joined, 0u);
  EXPECT_EQ(director_.real_conns(Id(2)).joined, 2u);
  director_.locality(1).changed -= kDay + kHz;
  EXPECT_EQ(Held(1), "2");  // one remains
  EXPECT_EQ(director_.real_conns(Id(2)).joined, 2u);
}

TEST_P(ScheduleLocalityTest, AfterADayWithoutConnectionsTheChoiceIsAnew) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_LBLC, KLVS_SCHEDULER_LBLCR}) {
    director_.Add(Kernel(scheduler, {1, 1}));
    director_.locality(1) = {};
    EXPECT_EQ(Choices(2), "2 2");
    director_.locality(1).used -= kDay + kHz;
    EXPECT_EQ(Choices(1, 1000), "1");
    Forget();
  }
}

TEST_P(ScheduleLocalityTest, NobodyIsChosenWhenAllAreQuiesced) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_LBLC, KLVS_SCHEDULER_LBLCR}) {
    director_.Add(Kernel(scheduler, {0, 0}));
    EXPECT_EQ(Choices(1), "-");
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
