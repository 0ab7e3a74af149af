// Services of many ports and of networks of VIPs.
#include "dataplane/ebpf/backend.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/backend_fixture.h"
#include "dataplane/ebpf/rules.h"
#include "dataplane/plan/diff.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

ServiceKey Range(uint16_t first, uint16_t last, const std::string& vip = "192.0.2.1",
                 Protocol protocol = Protocol::kTcp) {
  return {Dataplane::kEbpf, PortRange{Ip(vip), first, last}, protocol};
}

ServiceKey All(const std::string& vip) {
  return {Dataplane::kEbpf, AllPorts{Ip(vip)}, Protocol::kTcp};
}

TEST_F(EbpfBackendTest, ManyPortsAreReadBackAndTakenOverAsTheyAre) {
  State desired;
  VirtualService service;
  service.config = Config("mh");
  service.reals = {Real("10.0.0.1:0", 2), Real("10.0.0.2:0")};
  const ServiceKey keys[] = {Range(10000, 10100), Range(10000, 10100, "192.0.2.1", Protocol::kUdp),
                             Range(1, 65535, "192.0.2.2"), All("192.0.2.3")};
  for (const ServiceKey& key : keys) desired.services[key] = service;
  VirtualService six = service;
  six.reals = {Real("[2001:db8::1]:0")};
  desired.services[All("2001:db8:1::1")] = six;
  desired.services[Range(53, 54, "2001:db8:1::2", Protocol::kUdp)] = six;
  service.reals = {Real("10.0.0.1:80")};
  desired.services[web_] = service;
  ASSERT_TRUE(Do(Diff(desired, *backend_->Read()).steps).ok());
  EXPECT_EQ(*backend_->Read(), desired);
  EXPECT_EQ(ServicesOf(ReadRules(maps_, Content::kRules).value()), desired.services);
  EXPECT_EQ(backend_->ReadServices({keys[0]})->services.size(), 1U);
  const auto contents = maps_.Contents();
  const int writes = maps_.writes;
  Start();
  EXPECT_EQ(maps_.writes, writes);
  EXPECT_EQ(maps_.Contents(), contents);
  EXPECT_EQ(*backend_->Read(), desired);
  for (const auto& [key, there] : desired.services) ASSERT_TRUE(Do({RemoveService{key}}).ok());
  EXPECT_TRUE(maps_.Dump(kPortsMap)->empty());
  EXPECT_TRUE(maps_.Dump(kWideServicesMap)->empty());
}

TEST_F(EbpfBackendTest, ARealServerOfManyPortsHasNone) {
  for (const ServiceKey& key : {Range(80, 89), All("192.0.2.1")}) {
    const absl::Status refused =
        Do({AddService{key, Config("rr")}, AddReal{key, Real("10.0.0.1:80")}});
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
    EXPECT_TRUE(Do({AddReal{key, Real("10.0.0.1:0", 1, ForwardingMethod::kTunnel)}}).ok());
  }
  EXPECT_FALSE(Do({AddService{Range(0, 80), Config("rr")}}).ok());
  EXPECT_FALSE(Do({AddService{Range(81, 80), Config("rr")}}).ok());
}

TEST_F(EbpfBackendTest, PortsThatSomebodyTookAwayAreSeenAndLedBack) {
  const ServiceKey key = Range(80, 89);
  State desired;
  desired.services[key].config = Config("rr");
  desired.services[key].reals = {Real("10.0.0.1:0")};
  ASSERT_TRUE(Do(Diff(desired, *backend_->Read()).steps).ok());
  const auto ports = *maps_.Dump(kPortsMap);
  ASSERT_TRUE(maps_.Delete(kPortsMap, ports[0].first).ok());
  EXPECT_TRUE(Actual(key).config.unreached);
  Start();
  ASSERT_TRUE(Do(Diff(desired, *backend_->Read()).steps).ok());
  EXPECT_EQ(*backend_->Read(), desired);
  EXPECT_EQ(maps_.Dump(kPortsMap)->size(), ports.size());
}

TEST_F(EbpfBackendTest, PortsOfAServiceThatCouldNotBeWrittenGoLater) {
  const ServiceKey key = Range(80, 89);
  maps_.fault = [](std::string_view map) {
    return map == kWideServicesMap ? absl::UnavailableError("busy") : absl::OkStatus();
  };
  EXPECT_EQ(Do({AddService{key, Config("rr")}}).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(maps_.Dump(kPortsMap)->empty());
  int left = 1;
  maps_.fault = [&left](std::string_view map) {
    return map == kPortsMap && left-- <= 0 ? absl::UnavailableError("busy") : absl::OkStatus();
  };
  EXPECT_EQ(Do({AddService{key, Config("rr")}}).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(backend_->Read()->services.empty());
  maps_.fault = nullptr;
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_TRUE(maps_.Dump(kPortsMap)->empty());
}

TEST_F(EbpfBackendTest, AnIdOfManyPortsRestsOverARestart) {
  const ServiceKey key = Range(80, 89), other = Range(80, 99);
  const auto id = [this] {
    const auto all = GetAll<klvs_wide_key, klvs_service>(maps_, kWideServicesMap);
    return all->at(0).second.id;
  };
  ASSERT_TRUE(Do({AddService{key, Config("rr")}, AddReal{key, Real("10.0.0.1:0")}}).ok());
  const uint32_t first = id();
  Conns()[1].active = 1;
  ASSERT_TRUE(Do({RemoveService{key}}).ok());
  Start();
  ASSERT_TRUE(Do({AddService{other, Config("rr")}}).ok());
  EXPECT_NE(id(), first);
  ASSERT_TRUE(Do({RemoveService{other}, AddService{key, Config("rr")}}).ok());
  EXPECT_EQ(id(), first);
}

TEST_F(EbpfBackendTest, ANetworkOfVipsIsReadBackAndTakenOverAndGoesWithTheSetting) {
  const auto setting = [&] {
    return GetArray<klvs_settings>(maps_, kSettingsMap).value()[0].flags & KLVS_SETTING_NETWORKS;
  };
  for (const char* text : {"198.51.100.0/24", "2001:db8:5::/112"}) {
    const Cidr vips = *Cidr::Parse(text);
    const bool v4 = vips.address.IsV4();
    const auto real = [&](int n, uint16_t port) {
      RealServer out;
      out.at = {Ip(v4 ? "10.0.0." + std::to_string(n) : "2001:db8::" + std::to_string(n)), port};
      out.method = ForwardingMethod::kNat;
      return out;
    };
    const ServiceKey all{Dataplane::kEbpf, Prefix{vips}, Protocol::kTcp};
    const ServiceKey range{Dataplane::kEbpf, Prefix{vips, 90, 99}, Protocol::kUdp};
    const ServiceKey one{Dataplane::kEbpf, Prefix{vips, 80, 80}, Protocol::kTcp};
    EXPECT_EQ(setting(), 0U);
    ASSERT_TRUE(Do({AddService{all, Config("rr")}, AddReal{all, real(1, 0)},
                    AddService{range, Config("mh")}, AddReal{range, real(2, 0)},
                    AddService{one, Config("wrr", true)}, AddReal{one, real(3, 8080)},
                    AddReal{one, real(4, 0)}})
                    .ok());
    const AnsweredVip answered{Dataplane::kEbpf, vips.address, "eth0", vips.length};
    ASSERT_TRUE(Do({AddItem{answered}}).ok());
    EXPECT_NE(setting(), 0U);
    EXPECT_EQ(network_.announced.back(), std::pair(vips, std::string("eth0")));
    EXPECT_EQ(network_.heard.contains({vips.address, "eth0"}), !v4);
    ASSERT_TRUE(backend_->RenewClaims(777).ok());
    EXPECT_EQ(FindAddress(maps_, vips)->value_or(klvs_address{}).claim_until, 777U);
    // The first address alone is no VIP, nor is a part of the network one.
    EXPECT_FALSE(FindAddress(maps_, Cidr::Host(vips.address))->has_value());
    EXPECT_FALSE(FindAddress(maps_, Cidr{vips.address, vips.length + 1})->has_value());
    EXPECT_TRUE(FindDestination(maps_, vips.Last())->has_value());

    const State state = *backend_->Read();
    EXPECT_EQ(state.services.size(), 3U);
    EXPECT_EQ(state.items, (std::set<NodeItem>{answered}));
    EXPECT_EQ(state.services.at(one).reals, (std::vector<RealServer>{real(3, 8080), real(4, 0)}));
    EXPECT_EQ(state.services.at(range).config, Config("mh"));
    EXPECT_EQ(ServicesOf(ReadRules(maps_, Content::kRules).value()), state.services);
    maps_.writes = 0;
    Start();
    EXPECT_EQ(maps_.writes, 0);
    EXPECT_EQ(*backend_->Read(), state);
    network_.announced.clear();
    ASSERT_TRUE(backend_->AnnounceAgain({vips.address}).ok());
    EXPECT_EQ(network_.announced.size(), 1U);

    // A service that left gets its id back, also after a start.
    const uint32_t id =
        FindService(maps_, EncodeKey(FindAddress(maps_, vips)->value().vip_id, one))->value().id;
    Conns()[1].active = Conns()[2].active = Conns()[3].active = 1;
    ASSERT_TRUE(Do({RemoveService{one}}).ok());
    Start();
    ASSERT_TRUE(Do({AddService{one, Config("wrr")}, AddReal{one, real(3, 8080)}}).ok());
    EXPECT_EQ(
        FindService(maps_, EncodeKey(FindAddress(maps_, vips)->value().vip_id, one))->value().id,
        id);

    ASSERT_TRUE(Do({RemoveService{one}, RemoveService{all}, RemoveService{range}}).ok());
    EXPECT_EQ(FindAddress(maps_, vips)->value_or(klvs_address{}).flags,
              KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP);
    ASSERT_TRUE(Do({RemoveItem{answered}}).ok());
    EXPECT_TRUE(ReadAddresses(maps_)->empty() || !FindAddress(maps_, vips)->has_value());
    EXPECT_EQ(setting(), 0U);
    EXPECT_TRUE(network_.heard.empty());
    std::ranges::fill(Conns(), klvs_real_conns{});
    for (int i = 0; i < 2; ++i) {
      clock_.Advance(std::chrono::seconds(2));
      ASSERT_TRUE(backend_->Refresh().ok());
    }
  }
}

TEST_F(EbpfBackendTest, AStartPutsTheSettingOfNetworksRight) {
  klvs_settings& settings = GetArray<klvs_settings>(maps_, kSettingsMap).value()[0];
  settings.flags |= KLVS_SETTING_NETWORKS;
  Start();
  EXPECT_EQ(settings.flags & KLVS_SETTING_NETWORKS, 0U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
