// Node items: attachments, answered VIPs, tunnel peers, MSS clamps, timeouts.
#include "dataplane/ebpf/backend.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/backend_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

TEST_F(EbpfBackendTest, AnInterfaceThatVanishedIsNotAttached) {
  ASSERT_TRUE(Do({AddItem{Attachment{"eth0"}}, AddItem{Attachment{"eth1"}}}).ok());
  const auto slots = GetArray<klvs_interface>(maps_, kInterfacesMap).value();
  EXPECT_EQ(slots[3].ifindex, 3U);
  EXPECT_EQ(slots[3].mac[5], 3);
  network_.links.pop_back();
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{Attachment{"eth0"}}));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(slots[3].ifindex, 0U);
  // It comes back with another number and is added again.
  network_.AddLink(7, "eth1");
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{Attachment{"eth0"}}));
  ASSERT_TRUE(Do({AddItem{Attachment{"eth1"}}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{Attachment{"eth0"}, Attachment{"eth1"}}));
  ASSERT_TRUE(Do({RemoveItem{Attachment{"eth1"}}, RemoveItem{Attachment{"gone"}}}).ok());
  EXPECT_EQ(slots[7].ifindex, 0U);
  EXPECT_EQ(backend_->Attachments()->size(), 1U);
}

TEST_F(EbpfBackendTest, TwoInterfacesThatShareAPlaceAreNotBothServed) {
  network_.AddLink(2 + KLVS_INTERFACE_SLOTS, "eth9");
  ASSERT_TRUE(Do({AddItem{Attachment{"eth0"}}}).ok());
  const absl::Status refused = Do({AddItem{Attachment{"eth9"}}});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(Message(refused).find("eth0"), std::string::npos);
  EXPECT_EQ(programs_.attached, (std::set<uint32_t>{2}));
}

TEST_F(EbpfBackendTest, AVipIsAnsweredUntilItsClaimEnds) {
  const AnsweredVip answered{Dataplane::kEbpf, Ip("192.0.2.1"), "eth0"};
  ASSERT_TRUE(Do({AddItem{answered}}).ok());
  EXPECT_EQ(network_.announced,
            (std::vector<std::pair<Cidr, std::string>>{{Cidr::Host(Ip("192.0.2.1")), "eth0"}}));
  EXPECT_EQ(Address("192.0.2.1").claim_until, UINT64_MAX);
  ASSERT_TRUE(backend_->RenewClaims(12345).ok());
  ASSERT_TRUE(backend_->AnnounceAgain({Ip("192.0.2.1"), Ip("192.0.2.9")}).ok());
  EXPECT_EQ(network_.announced.size(), 2U);
  EXPECT_EQ(network_.announced.back(), std::pair(Cidr::Host(Ip("192.0.2.1")), std::string("eth0")));
  EXPECT_EQ(Address("192.0.2.1").claim_until, 12345U);
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{answered}));

  // With a service it stays a VIP that is not answered; without one it is none.
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, RemoveItem{answered}}).ok());
  EXPECT_EQ(Address("192.0.2.1").flags, KLVS_ADDRESS_VIP);
  EXPECT_EQ(Address("192.0.2.1").claim_until, 0U);
  ASSERT_TRUE(Do({AddItem{answered}, RemoveService{web_}}).ok());
  EXPECT_EQ(Address("192.0.2.1").flags, KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP);
  EXPECT_EQ(Address("192.0.2.1").claim_until, 12345U);
  ASSERT_TRUE(Do({RemoveItem{answered}}).ok());
  EXPECT_EQ(Address("192.0.2.1").flags, 0U);
}

TEST_F(EbpfBackendTest, AVipMovesToAnotherInterfaceButHasOne) {
  const AnsweredVip on0{Dataplane::kEbpf, Ip("192.0.2.1"), "eth0"};
  const AnsweredVip on1{Dataplane::kEbpf, Ip("192.0.2.1"), "eth1"};
  ASSERT_TRUE(Do({AddItem{on0}}).ok());
  EXPECT_EQ(Do({AddItem{on1}}).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(Do({AddItem{on1}, RemoveItem{on0}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{on1}));
  EXPECT_EQ(Do({AddItem{AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.7"), "nope"}}}).code(),
            absl::StatusCode::kNotFound);
}

TEST_F(EbpfBackendTest, AnAnsweredIpv6VipIsHeardAndHeardAgainAfterAChange) {
  const AnsweredVip vip{Dataplane::kEbpf, Ip("2001:db8:1::1"), "eth1"};
  const std::set<std::pair<IpAddress, std::string>> heard = {{vip.vip, "eth1"}};
  ASSERT_TRUE(Do({AddItem{vip}}).ok());
  EXPECT_EQ(network_.heard, heard);
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{vip}));
  network_.heard.clear();  // the interface was down
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(network_.heard, heard);
  AnsweredVip moved = vip;
  moved.interface = "eth0";
  ASSERT_TRUE(Do({AddItem{moved}, RemoveItem{vip}}).ok());
  EXPECT_EQ(network_.heard, (std::set<std::pair<IpAddress, std::string>>{{vip.vip, "eth0"}}));
  ASSERT_TRUE(Do({RemoveItem{moved}}).ok());
  EXPECT_TRUE(network_.heard.empty());
  EXPECT_TRUE(backend_->Read()->items.empty());
}

TEST_F(EbpfBackendTest, TheProgramsKnowWhetherAVipIsClaimedByOneDirector) {
  const auto settings = GetArray<klvs_settings>(maps_, kSettingsMap).value();
  backend_->SetClaims(true);
  EXPECT_EQ(settings[0].flags, KLVS_SETTING_CLAIMS);
  backend_->SetClaims(false);
  EXPECT_EQ(settings[0].flags, 0U);
}

TEST_F(EbpfBackendTest, TunnelPeersAndClampsOfIpv6AreReadBack) {
  const TunnelPeer peer{Ip("2001:db8::9"), Ip("2001:db8:1::1")};
  const MssClamp clamp{Ip("2001:db8:1::1"), 1400};
  ASSERT_TRUE(Do({AddItem{peer}, AddItem{clamp}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{peer, clamp}));
  ASSERT_TRUE(Do({RemoveItem{peer}, RemoveItem{clamp}}).ok());
  EXPECT_TRUE(backend_->Read()->items.empty());
}

TEST_F(EbpfBackendTest, TunnelPeersAndClampsOfPrefixesAreReadBackAndGoAlone) {
  const std::set<NodeItem> items = {TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.64"), 26},
                                    TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.64")},
                                    TunnelPeer{Ip("2001:db8::9"), Ip("2001:db8:1::"), 64},
                                    MssClamp{Ip("192.0.2.64"), 1440, 26},
                                    MssClamp{Ip("192.0.2.64"), 1400},
                                    MssClamp{Ip("2001:db8:1::"), 1380, 64}};
  for (const NodeItem& item : items) ASSERT_TRUE(Do({AddItem{item}}).ok());
  EXPECT_EQ(backend_->Read()->items, items);
  const MssClamp old{Ip("192.0.2.64"), 1440, 26}, now{Ip("192.0.2.64"), 1300, 26};
  ASSERT_TRUE(Do({AddItem{now}, RemoveItem{old}}).ok());
  EXPECT_TRUE(backend_->Read()->items.contains(now));
  ASSERT_TRUE(Do({RemoveItem{now}}).ok());
  std::set<NodeItem> left = items;
  left.erase(old);
  EXPECT_EQ(backend_->Read()->items, left);
  for (const NodeItem& item : left) ASSERT_TRUE(Do({RemoveItem{item}}).ok());
  EXPECT_TRUE(backend_->Read()->items.empty());
}

TEST_F(EbpfBackendTest, TunnelPeersByGueAreReadBackAndGoAlone) {
  const std::set<NodeItem> items = {
      TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.64")},
      TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.64"), 0, {Ip("10.0.0.1"), 6080}},
      TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.64"), 0, {Ip("10.0.0.1"), 6081}},
      TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.64"), 26, {Ip("10.0.0.1"), 6080}},
      TunnelPeer{Ip("2001:db8::9"), Ip("2001:db8:1::1"), 0, {Ip("2001:db8::1"), 6080}},
      TunnelPeer{Ip("2001:db8::9"), Ip("2001:db8:1::"), 64, {Ip("2001:db8::1"), 6080}}};
  for (const NodeItem& item : items) ASSERT_TRUE(Do({AddItem{item}}).ok());
  std::set<NodeItem> left = items;
  for (const NodeItem& item : items) {
    EXPECT_EQ(backend_->Read()->items, left);
    ASSERT_TRUE(Do({RemoveItem{item}}).ok());
    left.erase(item);
  }
  EXPECT_TRUE(backend_->Read()->items.empty());
}

TEST_F(EbpfBackendTest, AnMssClampIsReplacedByAnAdditionAndARemoval) {
  const MssClamp old{Ip("192.0.2.1"), 1400};
  const MssClamp now{Ip("192.0.2.1"), 1380};
  ASSERT_TRUE(Do({AddItem{old}}).ok());
  ASSERT_TRUE(Do({AddItem{now}, RemoveItem{old}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{now}));
  ASSERT_TRUE(Do({RemoveItem{now}}).ok());
  EXPECT_TRUE(backend_->Read()->items.empty());
}

TEST_F(EbpfBackendTest, TimeoutsAreReadFromTheProgramsThatUseThem) {
  klvs_settings& settings = GetArray<klvs_settings>(maps_, kSettingsMap).value()[0];
  constexpr uint32_t kDefaults[] = KLVS_TIMEOUT_SECONDS;
  settings.hz = 250;
  for (int state = 0; state < KLVS_STATES; ++state) {
    settings.timeouts[state] = kDefaults[state] * settings.hz;
  }
  EXPECT_TRUE(backend_->Read()->items.empty());
  const ConnectionTimeout tcp{Dataplane::kEbpf, ConnectionKind::kTcp, 864000};
  const ConnectionTimeout fin{Dataplane::kEbpf, ConnectionKind::kTcpFin, 1};
  const ConnectionTimeout udp{Dataplane::kEbpf, ConnectionKind::kUdp, 30};
  ASSERT_TRUE(Do({AddItem{tcp}, AddItem{fin}, AddItem{udp}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{tcp, fin, udp}));
  EXPECT_EQ(settings.timeouts[KLVS_ESTABLISHED], 864000U * 250);
  EXPECT_EQ(settings.timeouts[KLVS_FIN_WAIT], 250U);
  EXPECT_EQ(settings.timeouts[KLVS_UDP], 30U * 250);

  ConnectionTimeout longer = udp;
  longer.seconds = 60;
  ASSERT_TRUE(Do({AddItem{longer}, RemoveItem{udp}, RemoveItem{tcp}, RemoveItem{fin}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{longer}));
  ASSERT_TRUE(Do({RemoveItem{longer}}).ok());
  EXPECT_TRUE(backend_->Read()->items.empty());
  EXPECT_EQ(settings.timeouts[KLVS_UDP], 300U * 250);
}

}  // namespace
}  // namespace kube_lvs::ebpf
