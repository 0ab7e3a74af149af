// Ways to real servers, and the addresses to which what they send comes back.
#include "dataplane/ebpf/backend.h"

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ebpf/backend_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

TEST_F(EbpfBackendTest, WaysFollowTheNetwork) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr", true)}, AddReal{web_, Real("10.0.0.1:80")},
                  AddReal{web_, Real("10.0.1.1:80")}})
                  .ok());
  klvs_real& near = Reals()[IdOf(web_, "10.0.0.1")];
  klvs_real& far = Reals()[IdOf(web_, "10.0.1.1")];
  EXPECT_EQ(near.ifindex, 2U);
  EXPECT_EQ(near.dst_mac[5], 1);
  EXPECT_EQ(far.ifindex, 0U);  // no route yet

  network_.AddRoute(Ip("10.0.1.1"), 3, Ip("10.0.1.250"), 0);
  network_.routes[Ip("10.0.0.1")].neighbour_mac.bytes[5] = 99;
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(near.dst_mac[5], 99);
  EXPECT_EQ(near.flags, KLVS_REAL_VALID | KLVS_REAL_L2);
  EXPECT_EQ(far.ifindex, 3U);
  EXPECT_EQ(far.flags, KLVS_REAL_VALID);  // tc resolves the neighbour until it is known
  EXPECT_EQ(Address("10.0.1.250").flags, KLVS_ADDRESS_SNAT);

  network_.routes[Ip("10.0.1.1")] = NextHop();
  network_.routes[Ip("10.0.1.1")].local = true;
  network_.routes.erase(Ip("10.0.0.1"));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(near.ifindex, 0U);
  EXPECT_EQ(near.flags, KLVS_REAL_VALID);
  EXPECT_EQ(far.flags, KLVS_REAL_VALID | KLVS_REAL_LOCAL);
}

TEST_F(EbpfBackendTest, ASilentNeighbourIsNotAskedAtEachNotification) {
  network_.AddRoute(Ip("10.0.0.1"), 2, Ip("10.0.0.250"), 0);
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(network_.kept, 1);
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(network_.kept, 2);
}

TEST_F(EbpfBackendTest, WithSourceNatThisNodeIsReachedByTheLocalLink) {
  network_.routes[Ip("10.0.0.250")].local = true;
  ASSERT_TRUE(
      Do({AddService{web_, Config("rr", true)}, AddReal{web_, Real("10.0.0.250:80")}}).ok());
  const klvs_real& here = Reals()[IdOf(web_, "10.0.0.250")];
  EXPECT_EQ(here.flags, KLVS_REAL_VALID | KLVS_REAL_LOCAL);  // there is none yet

  network_.AddLink(9, kLocalLinkFar);
  ASSERT_TRUE(Do({AddItem{Attachment{kLocalLinkFar}}, AddItem{Attachment{"eth0"}}}).ok());
  const auto interfaces = GetArray<klvs_interface>(maps_, kInterfacesMap).value();
  EXPECT_EQ(interfaces[9].flags, KLVS_INTERFACE_LOCAL);
  EXPECT_EQ(interfaces[2].flags, 0U);
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(here.flags, KLVS_REAL_VALID | KLVS_REAL_L2);
  EXPECT_EQ(here.ifindex, 9U);
  EXPECT_EQ(FromWire(here.source), LocalLinkSource(Family::kIpv4));
  EXPECT_EQ(Address(LocalLinkSource(Family::kIpv4).ToString()).flags, KLVS_ADDRESS_SNAT);

  ASSERT_TRUE(Do({SetService{web_, Config("rr")}}).ok());
  EXPECT_EQ(here.flags, KLVS_REAL_VALID | KLVS_REAL_LOCAL);
  ASSERT_TRUE(Do({SetService{web_, Config("rr", true)}}).ok());
  EXPECT_EQ(here.ifindex, 9U);
}

TEST_F(EbpfBackendTest, AServiceSaysWhichOfItsRealServersIsOnThisNode) {
  RealServer real = Real("10.0.0.1:80"), other = Real("10.0.0.2:80");
  real.method = other.method = ForwardingMethod::kDirectRouting;
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, other}, AddReal{web_, real}}).ok());
  EXPECT_EQ(Service(web_).delivers, KLVS_DELIVERS_NOTHING);

  // The route says so now.
  network_.routes[Ip("10.0.0.1")] = NextHop();
  network_.routes[Ip("10.0.0.1")].local = true;
  ASSERT_TRUE(backend_->Refresh().ok());
  const uint32_t local = IdOf(web_, "10.0.0.1");
  EXPECT_EQ(Service(web_).delivers, KLVS_DELIVERS);
  EXPECT_EQ(Service(web_).local, local);
  ASSERT_TRUE(Do({SetReal{web_, [&] {
                                 other.weight = 5;
                                 return other;
                               }()}})
                  .ok());
  EXPECT_EQ(Service(web_).delivers, KLVS_DELIVERS);
  EXPECT_EQ(Service(web_).local, local);

  ASSERT_TRUE(Do({RemoveReal{web_, real.at}}).ok());
  EXPECT_EQ(Service(web_).delivers, KLVS_DELIVERED);
  EXPECT_EQ(Service(web_).local, local);
  ASSERT_TRUE(Do({AddReal{web_, real}}).ok());
  EXPECT_EQ(Service(web_).delivers, KLVS_DELIVERS);

  // Replies of NAT must come by the director.
  real.method = other.method = ForwardingMethod::kNat;
  ASSERT_TRUE(Do({SetReal{web_, real}, SetReal{web_, other}}).ok());
  EXPECT_EQ(Service(web_).delivers, KLVS_DELIVERED);
}

TEST_F(EbpfBackendTest, InterfacesOfRealServersAreThoseOfTheirRoutes) {
  network_.AddRoute(Ip("10.0.1.1"), 3, Ip("10.0.1.250"), 1);
  network_.routes[Ip("10.0.9.9")].local = true;
  const std::vector<RealServer> reals = {Real("10.0.0.1:80"), Real("10.0.1.1:80"),
                                         Real("10.0.9.9:80"), Real("203.0.113.1:80")};
  EXPECT_EQ(*backend_->InterfacesOf(reals), (std::set<std::string>{"eth0", "eth1"}));
}

TEST_F(EbpfBackendTest, NatRegistersWhereItsRepliesComeFromOrTo) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr", true)}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  EXPECT_EQ(Address("10.0.0.250").flags, KLVS_ADDRESS_SNAT);
  EXPECT_EQ(Address("10.0.0.1").flags, 0U);
  const auto settings = GetArray<klvs_settings>(maps_, kSettingsMap).value();
  EXPECT_EQ(settings[0].flags, 0U);

  // Source NAT off: old connections keep their address, new ones need the other.
  Conns()[IdOf(web_, "10.0.0.1")].active = 1;
  ASSERT_TRUE(Do({SetService{web_, Config("rr", false)}}).ok());
  EXPECT_EQ(Address("10.0.0.250").flags, KLVS_ADDRESS_SNAT);
  EXPECT_EQ(Address("10.0.0.1").flags, KLVS_ADDRESS_NAT_REAL);
  EXPECT_EQ(settings[0].flags, KLVS_SETTING_PLAIN_NAT);

  Conns()[IdOf(web_, "10.0.0.1")].active = 0;
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.1:80", 2)}}).ok());
  EXPECT_EQ(Address("10.0.0.250").flags, 0U);

  ASSERT_TRUE(Do({RemoveService{web_}}).ok());
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Address("10.0.0.1").flags, 0U);
  EXPECT_EQ(settings[0].flags, 0U);
}

TEST_F(EbpfBackendTest, SourceNatOfIpv6HasItsRepliesComeToTheDirector) {
  const ServiceKey six = Key("[2001:db8:1::1]:80");
  ASSERT_TRUE(
      Do({AddService{six, Config("rr", true)}, AddReal{six, Real("[2001:db8::1]:80")}}).ok());
  EXPECT_EQ(Address("2001:db8::250").flags, KLVS_ADDRESS_SNAT);
  ASSERT_TRUE(Do({RemoveService{six}}).ok());
  clock_.Advance(std::chrono::seconds(2));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Address("2001:db8::250").flags, 0U);
  EXPECT_EQ(Address("2001:db8:1::1").flags, 0U);
}

TEST_F(EbpfBackendTest, TunnelRegistersWhereErrorsAboutItsPacketsComeTo) {
  RealServer real = Real("10.0.0.1:80");
  real.method = ForwardingMethod::kTunnel;
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, real}}).ok());
  EXPECT_EQ(Address("10.0.0.250").flags, KLVS_ADDRESS_TUNNEL);
  const auto settings = GetArray<klvs_settings>(maps_, kSettingsMap).value();
  EXPECT_EQ(settings[0].flags, KLVS_SETTING_TUNNELS);

  network_.AddRoute(Ip("10.0.0.1"), 3, Ip("10.0.1.250"), 0);
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Address("10.0.1.250").flags, KLVS_ADDRESS_TUNNEL);
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Address("10.0.0.250").flags, 0U);

  ASSERT_TRUE(Do({RemoveService{web_}}).ok());
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Address("10.0.1.250").flags, 0U);
  EXPECT_EQ(settings[0].flags, 0U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
