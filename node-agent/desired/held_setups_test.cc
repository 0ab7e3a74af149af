#include "node-agent/desired/held_setups.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

const IpAddress kVip = Ip("192.0.2.200");
const IpAddress kDirector = Ip("192.0.2.1");
const Sysctl kArpIgnore = {"net/ipv4/conf/all/arp_ignore", "1"};
const VipSetup kDr = {kVip, ForwardingMethod::kDirectRouting};
const VipSetup kTunnel = {kVip, ForwardingMethod::kTunnel};
const std::set<NodeItem> kForDr = {kArpIgnore, SilentVip{kVip}};
const std::set<NodeItem> kForTunnel = {kArpIgnore, SilentVip{kVip}, Attachment{"eth0"},
                                       TunnelPeer{kDirector, kVip}};

HeldSetups Held(const NeededSetups& needed, const std::set<NodeItem>& there,
                const NodeFacts& facts = {}) {
  return HeldSetupsOf(needed, there, facts, [](const NodeItem& item) {
    return std::holds_alternative<SilentVip>(item) ? "" : "cannot " + ToString(item);
  });
}

TEST(HeldSetups, ReadyIsWhatTheKernelHasAll) {
  EXPECT_EQ(Held({{kDr, kForDr}}, kForDr), (HeldSetups{{kDr, {{true, ""}}}}));
  EXPECT_EQ(Held({{kDr, kForDr}}, kForTunnel), (HeldSetups{{kDr, {{true, ""}}}}));
}

TEST(HeldSetups, WithoutAnyOneOfItsItemsItIsNotReadyAndSaysWhyIfThatIsKnown) {
  EXPECT_EQ(Held({{kDr, kForDr}}, {kArpIgnore}), (HeldSetups{{kDr, {{false, ""}}}}));
  EXPECT_EQ(Held({{kDr, kForDr}}, {SilentVip{kVip}}),
            (HeldSetups{{kDr, {{false, "cannot " + ToString(NodeItem(kArpIgnore))}}}}));
  // At another value it is another item.
  EXPECT_FALSE(
      Held({{kDr, kForDr}}, {Sysctl{kArpIgnore.name, "0"}, SilentVip{kVip}}).at(kDr).state.ready);
}

TEST(HeldSetups, OfATunnelEachDirectorHasItsOwn) {
  std::set<NodeItem> needed = kForTunnel;
  needed.insert(TunnelPeer{Ip("192.0.2.2"), kVip});
  const HeldSetup held = Held({{kTunnel, needed}}, kForTunnel).at(kTunnel);
  EXPECT_EQ(held.state, (SetupState{true, ""}));
  EXPECT_EQ(held.directors->at(kDirector), (SetupState{true, ""}));
  EXPECT_FALSE(held.directors->at(Ip("192.0.2.2")).ready);
  EXPECT_EQ(Held({{kTunnel, kForDr}}, kForDr).at(kTunnel).directors,
            (std::map<IpAddress, SetupState>{}));
  // Without programs there is no decapsulation, whatever the maps say.
  EXPECT_FALSE(
      Held({{kTunnel, kForTunnel}}, {kArpIgnore, SilentVip{kVip}, TunnelPeer{kDirector, kVip}})
          .at(kTunnel)
          .state.ready);
}

TEST(HeldSetups, ADirectorOfTwoTunnelsNeedsBoth) {
  const TunnelPeer gue{kDirector, kVip, 0, {Ip("192.0.2.11"), 6080}};
  std::set<NodeItem> needed = kForTunnel;
  needed.insert(gue);
  const auto held = [&needed](const std::set<NodeItem>& there) {
    return Held({{kTunnel, needed}}, there).at(kTunnel).directors->at(kDirector);
  };
  EXPECT_EQ(held(needed), (SetupState{true, ""}));
  EXPECT_EQ(held(kForTunnel), (SetupState{false, "cannot " + ToString(NodeItem(gue))}));
  std::set<NodeItem> other = needed;
  other.erase(TunnelPeer{kDirector, kVip});
  EXPECT_FALSE(held(other).ready);
}

TEST(HeldSetups, ATunnelOfIpv6IsReadyForAllDirectorsOrNone) {
  const IpAddress vip = Ip("2001:db8::1");
  const VipSetup setup = {vip, ForwardingMethod::kTunnel};
  const NeededSetups needed = {{setup, {SilentVip{vip}, TunnelPeer{Ip("2001:db8::2"), vip}}}};
  const NodeItem peer = TunnelPeer{Ip("2001:db8::2"), vip};
  EXPECT_EQ(Held(needed, {SilentVip{vip}, peer}), (HeldSetups{{setup, {{true, ""}}}}));
  EXPECT_EQ(Held(needed, {SilentVip{vip}}),
            (HeldSetups{{setup, {{false, "cannot " + ToString(peer)}}}}));
}

TEST(HeldSetups, AVipThatSomebodyElsePutOnLoCounts) {
  NodeFacts facts;
  facts.interfaces["lo"].loopback = true;
  facts.interfaces["lo"].addresses = {{kVip, 32}};
  EXPECT_TRUE(Held({{kDr, kForDr}}, {kArpIgnore}, facts).at(kDr).state.ready);
  facts.interfaces["lo"].loopback = false;
  EXPECT_FALSE(Held({{kDr, kForDr}}, {kArpIgnore}, facts).at(kDr).state.ready);
}

}  // namespace
}  // namespace kube_lvs
