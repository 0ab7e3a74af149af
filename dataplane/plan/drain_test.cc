#include "dataplane/plan/drain.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

constexpr Duration kTimeout = std::chrono::seconds(300);

class DrainTest : public testing::Test {
 protected:
  DrainTest() {
    actual.services[key] = {{}, {stays, leaves}};
    desired.services[key] = {{}, {stays}};
    stats.reals[{key, leaves.at}] = {.counters = {}, .weight = 1, .active_connections = 1};
    timeouts[key] = kTimeout;
  }

  Drained At(TimePoint now) { return Drain(desired, actual, stats, timeouts, clock, now); }

  ServiceKey key{Dataplane::kIpvs, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp};
  RealServer stays{.at = *Endpoint::Parse("10.0.0.2:80")};
  RealServer leaves{.at = *Endpoint::Parse("10.0.0.1:80")};
  State desired, actual;
  Stats stats;
  DrainTimeouts timeouts;
  DrainClock clock;
  FakeClock time;
};

TEST_F(DrainTest, LeavingRealServerWithConnectionsIsQuiesced) {
  const Drained drained = At(time.Now());
  RealServer quiesced = leaves;
  quiesced.weight = 0;
  EXPECT_EQ(drained.desired.services.at(key).reals, (std::vector<RealServer>{quiesced, stays}));
  EXPECT_TRUE(drained.next_check.has_value());
}

TEST_F(DrainTest, ItGoesWhenItsConnectionsHaveGone) {
  stats.reals.clear();
  const Drained drained = At(time.Now());
  EXPECT_EQ(drained.desired, desired);
  EXPECT_FALSE(drained.next_check.has_value());
}

TEST_F(DrainTest, ItGoesWhenItsTimeIsUpAndNotBefore) {
  clock = At(time.Now()).clock;
  time.Advance(kTimeout - Duration(1));
  EXPECT_NE(At(time.Now()).desired, desired);
  time.Advance(Duration(1));
  EXPECT_EQ(At(time.Now()).desired, desired);
}

TEST_F(DrainTest, ItComesBackWithItsWeight) {
  desired = actual;
  EXPECT_EQ(At(time.Now()).desired, actual);
}

TEST_F(DrainTest, TimeoutZeroRemovesAtOnce) {
  timeouts[key] = Duration(0);
  EXPECT_EQ(At(time.Now()).desired, desired);
}

TEST_F(DrainTest, UdpIsNeverDrained) {
  ServiceKey udp = key;
  udp.protocol = Protocol::kUdp;
  actual.services[udp] = actual.services[key];
  desired.services[udp] = desired.services[key];
  stats.reals[{udp, leaves.at}] = stats.reals[{key, leaves.at}];
  timeouts[udp] = kTimeout;
  EXPECT_EQ(At(time.Now()).desired.services.at(udp), desired.services.at(udp));
}

}  // namespace
}  // namespace kube_lvs
