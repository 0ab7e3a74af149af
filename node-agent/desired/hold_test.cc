#include "node-agent/desired/hold.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

IpAddress Vip(uint32_t n) { return IpAddress::FromV4(0xc6336400u + n); }
ServiceKey Key(uint32_t n) { return {Dataplane::kEbpf, Endpoint{Vip(n), 80}, Protocol::kTcp}; }
RealServer Real(uint32_t n) {
  RealServer real;
  real.at = {IpAddress::FromV4(0x0a000000u + n), 80};
  return real;
}

TEST(Hold, WithoutAnythingHeldDesiredIsDesired) {
  State actual;
  actual.services[Key(1)].reals = {Real(1)};
  actual.items = {Attachment{"eth0"}};
  EXPECT_EQ(KeepHeld({}, actual, {}), State{});
}

TEST(Hold, AHeldVipKeepsItsServicesAndItemsAndWhatTheNodeNeedsForThem) {
  State actual;
  actual.services[Key(1)].reals = {Real(1)};
  actual.services[Key(2)].reals = {Real(1)};
  actual.items = {Attachment{"eth0"}, Sysctl{"net/ipv4/ip_forward", "1"}, SilentVip{Vip(1)},
                  SilentVip{Vip(2)}};
  Hold hold;
  hold.vips = {Vip(1)};
  State expected = actual;
  expected.services.erase(Key(2));
  expected.items.erase(SilentVip{Vip(2)});
  EXPECT_EQ(KeepHeld({}, actual, hold), expected);
}

TEST(Hold, WhatIsDesiredIsSetAsDesired) {
  State actual, desired;
  actual.items = {Sysctl{"net/ipv4/ip_forward", "0"}, MssClamp{Vip(1), 1400}};
  desired.items = {Sysctl{"net/ipv4/ip_forward", "1"}, MssClamp{Vip(1), 1440}};
  desired.services[Key(1)].config.scheduler = "rr";
  actual.services[Key(1)].config.scheduler = "wrr";
  Hold hold;
  hold.all = true;
  EXPECT_EQ(KeepHeld(desired, actual, hold), desired);
}

TEST(Hold, HoldingAllKeepsRealServersToo) {
  State actual, desired;
  actual.services[Key(1)].reals = {Real(1), Real(2)};
  desired.services[Key(1)].reals = {Real(2), Real(3)};
  Hold hold;
  hold.all = true;
  EXPECT_EQ(KeepHeld(desired, actual, hold).services[Key(1)].reals,
            (std::vector<RealServer>{Real(1), Real(2), Real(3)}));
}

TEST(Hold, AnAnswerIsHeldOnlyWhereTheElectionGaveItOrHasNoSay) {
  State actual;
  for (uint32_t n = 1; n <= 4; ++n) {
    actual.items.insert(AnsweredVip{Dataplane::kEbpf, Vip(n), "eth0"});
  }
  Hold hold;
  hold.all = true;
  hold.vips = {Vip(1), Vip(2)};
  hold.answered = {Vip(1)};
  hold.elected = {Vip(1), Vip(2), Vip(3)};
  const std::set<NodeItem> expected = {AnsweredVip{Dataplane::kEbpf, Vip(1), "eth0"},
                                       AnsweredVip{Dataplane::kEbpf, Vip(4), "eth0"}};
  EXPECT_EQ(KeepHeld({}, actual, hold).items, expected);
}

TEST(Hold, EachPlaceOfAnAnswerIsHeldAndNoneBesideADecidedOne) {
  const IpAddress first = *IpAddress::Parse("2001:db8:5::");
  State actual;
  actual.items = {AnsweredVip{Dataplane::kEbpf, Vip(1), "eth0"},
                  AnsweredVip{Dataplane::kEbpf, Vip(1), "eth1"},
                  AnsweredVip{Dataplane::kIpvs, first, "eth0"},
                  AnsweredVip{Dataplane::kIpvs, first, "eth0", 64}};
  Hold hold;
  hold.all = true;
  EXPECT_EQ(KeepHeld({}, actual, hold).items, actual.items);
  State desired;
  desired.items = {AnsweredVip{Dataplane::kEbpf, Vip(1), "eth1"}};
  State expected = actual;
  expected.items.erase(AnsweredVip{Dataplane::kEbpf, Vip(1), "eth0"});
  EXPECT_EQ(KeepHeld(desired, actual, hold).items, expected.items);
}

}  // namespace
}  // namespace kube_lvs
