#include "node-agent/desired/linger.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

using std::chrono::seconds;

const IpAddress kVip = *IpAddress::Parse("192.0.2.200");
const IpAddress kDirector = *IpAddress::Parse("192.0.2.1");
const TimePoint kNow{std::chrono::hours(1)};

State RealServerOfTunnel() {
  State state;
  state.items = {Sysctl{"net/ipv4/conf/all/arp_ignore", "1"}, Attachment{"eth0"},
                 TunnelPeer{kDirector, kVip}, MssClamp{kVip, 1440}, SilentVip{kVip}};
  return state;
}

TEST(Linger, ALeavingRealServerKeepsAllItNeedsUntilItsTimeIsUp) {
  const State actual = RealServerOfTunnel();
  const LingerTimes times = {{kVip, seconds(300)}};
  const Lingering first = Linger({}, actual, times, {}, kNow);
  EXPECT_EQ(first.desired, actual);
  EXPECT_EQ(first.next_check, kNow + seconds(300));
  const Lingering later = Linger({}, actual, times, first.clock, kNow + seconds(299));
  EXPECT_EQ(later.desired, actual);
  EXPECT_EQ(later.next_check, kNow + seconds(300));
  const Lingering last = Linger({}, actual, times, later.clock, kNow + seconds(300));
  EXPECT_EQ(last.desired, State{});
  EXPECT_EQ(last.next_check, std::nullopt);
}

TEST(Linger, NothingOfAServiceThatIsGoneStays) {
  EXPECT_EQ(Linger({}, RealServerOfTunnel(), {}, {}, kNow).desired, State{});
}

TEST(Linger, WithoutATimeToDrainNothingStays) {
  EXPECT_EQ(Linger({}, RealServerOfTunnel(), {{kVip, seconds(0)}}, {}, kNow).desired, State{});
}

TEST(Linger, OneThatIsWantedAgainDoesNotLinger) {
  const State all = RealServerOfTunnel();
  const Lingering lingering = Linger(all, all, {{kVip, seconds(300)}}, {}, kNow);
  EXPECT_EQ(lingering.desired, all);
  EXPECT_TRUE(lingering.clock.empty());
}

TEST(Linger, WhatIsDesiredIsNotOverruled) {
  State actual = RealServerOfTunnel();
  State desired;
  desired.items = {Sysctl{"net/ipv4/conf/all/arp_ignore", "2"}, MssClamp{kVip, 1400}};
  const State kept = Linger(desired, actual, {{kVip, seconds(300)}}, {}, kNow).desired;
  EXPECT_TRUE(kept.items.contains(Sysctl{"net/ipv4/conf/all/arp_ignore", "2"}));
  EXPECT_FALSE(kept.items.contains(Sysctl{"net/ipv4/conf/all/arp_ignore", "1"}));
  EXPECT_FALSE(kept.items.contains(MssClamp{kVip, 1440}));
  EXPECT_TRUE(kept.items.contains(SilentVip{kVip}));
}

}  // namespace
}  // namespace kube_lvs
