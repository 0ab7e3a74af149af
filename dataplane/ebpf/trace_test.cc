// What is said of a packet, from maps as a program would have left them.
#include "dataplane/ebpf/trace.h"

#include <linux/pkt_cls.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "dataplane/ebpf/backend.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

class TraceTest : public testing::Test {
 protected:
  TraceTest() {
    MakeMaps(maps_);
    MakeMaps(copy_);
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    EXPECT_TRUE(backend.ok()) << backend.status();
    ServiceKey key;
    key.match = packet_.vip;
    ServiceConfig config;
    config.scheduler = "wlc";
    std::vector<Step> steps = {AddService{key, config}};
    for (const uint32_t weight : {0U, 2U, 3U}) {
      real_.at = {*IpAddress::Parse("10.0.0." + std::to_string(weight + 1)), 80};
      real_.weight = weight;
      real_.method = ForwardingMethod::kDirectRouting;
      steps.push_back(AddReal{key, real_});
    }
    for (const absl::Status& status : (*backend)->Apply(steps)) EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(CopyMaps(Family::kIpv4, maps_, copy_).ok());
  }

  // A connection to real server `real`, in its slot for the `generation`th time.
  void Connect(FakeMapStore& maps, uint32_t real, uint32_t generation) {
    klvs_conn& entry = GetArray<klvs_conn_set>(maps, kConnsMap).value()[5].ways[1];
    entry.key = {.src = ToWire(packet_.client.ip),
                 .dst = ToWire(packet_.vip.ip),
                 .sport = ToWirePort(packet_.client.port),
                 .dport = ToWirePort(packet_.vip.port),
                 .protocol = 6,
                 .reserved = {}};
    entry.ctl = uint64_t{generation} << 32 | KLVS_CONN_LIVE << 8 | KLVS_ESTABLISHED;
    entry.real = real;
  }

  Trace Explained(uint32_t action) {
    const auto out = Explain(maps_, copy_, packet_, action);
    EXPECT_TRUE(out.ok()) << out.status();
    return out.value_or(Trace{});
  }

  TracePacket packet_ = {.protocol = Protocol::kTcp,
                         .client = *Endpoint::Parse("10.1.0.1:40000"),
                         .vip = *Endpoint::Parse("192.0.2.1:80")};
  RealServer real_;  // the third
  FakeMapStore maps_, copy_;
  FakeNetwork network_;
  FakePrograms programs_;
  FakeClock clock_;
};

TEST_F(TraceTest, ANewConnection) {
  Connect(copy_, 3, 1);
  const Trace expected{.verdict = TraceVerdict::kForwarded,
                       .is_vip = true,
                       .drop_reason = "",
                       .real = real_,
                       .state = "",
                       .scheduler = "wlc",
                       .reals = 3,
                       .available = 2};
  EXPECT_EQ(Explained(TC_ACT_REDIRECT), expected);
  // In a slot that an older one had.
  Connect(maps_, 2, 0);
  EXPECT_EQ(Explained(TC_ACT_REDIRECT), expected);
}

TEST_F(TraceTest, AConnectionThatIsThere) {
  Connect(maps_, 3, 1);
  Connect(copy_, 3, 1);
  const Trace trace = Explained(TC_ACT_REDIRECT);
  EXPECT_EQ(trace.state, "ESTABLISHED");
  EXPECT_EQ(trace.real, real_);
}

TEST_F(TraceTest, WhatAnotherDirectorSendsToARealServerHere) {
  EXPECT_FALSE(Explained(TC_ACT_UNSPEC).delivered);
  const auto services = GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap).value();
  const auto& [at, service] = services.front();
  klvs_service delivers = service;
  delivers.delivers = KLVS_DELIVERS;
  delivers.local = 3;
  ASSERT_TRUE(Put(maps_, kServicesMap, at, delivers).ok());
  EXPECT_FALSE(Explained(TC_ACT_UNSPEC).delivered);
  GetArray<klvs_settings>(maps_, kSettingsMap).value()[0].flags = KLVS_SETTING_CLAIMS;
  const Trace trace = Explained(TC_ACT_UNSPEC);
  EXPECT_TRUE(trace.delivered);
  EXPECT_EQ(trace.real, real_);
  EXPECT_FALSE(Explained(TC_ACT_REDIRECT).delivered);
}

TEST_F(TraceTest, OnePacketByTheCounterOfItsRealServer) {
  const klvs_counters one = {
      .packets = 1, .bytes = 28, .connections = 1, .reply_packets = 0, .reply_bytes = 0};
  copy_.SetOnCpu(kRealCountersMap, 3, 1, AsBytes(one));
  EXPECT_EQ(Explained(TC_ACT_REDIRECT).real, real_);
}

TEST_F(TraceTest, AClientThatPersistenceHasStay) {
  const klvs_template_key key = {.service = 1, .client = ToWire(*IpAddress::Parse("10.1.0.0"))};
  klvs_template value = {
      .word = uint64_t{3} << 32 | 1U << 24, .expires = 9, .timeout = 9, .reserved = 0};
  const auto services = GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap).value();
  ASSERT_EQ(services.size(), 1U);
  const auto& [at, service] = services.front();
  klvs_service persistent = service;
  persistent.flags |= KLVS_SERVICE_PERSISTENT;
  persistent.template_prefix = 24;
  ASSERT_TRUE(Put(maps_, kServicesMap, at, persistent).ok());
  Connect(copy_, 3, 1);
  ASSERT_TRUE(Put(copy_, kTemplatesMap, key, value).ok());
  EXPECT_FALSE(Explained(TC_ACT_REDIRECT).persistent);
  ASSERT_TRUE(Put(maps_, kTemplatesMap, key, value).ok());
  EXPECT_TRUE(Explained(TC_ACT_REDIRECT).persistent);
  // It was over, and is another one now.
  value.word += 1U << 24;
  ASSERT_TRUE(Put(copy_, kTemplatesMap, key, value).ok());
  EXPECT_FALSE(Explained(TC_ACT_REDIRECT).persistent);
}

TEST_F(TraceTest, ADropAndItsReason) {
  const uint64_t one = 1;
  copy_.SetOnCpu(kDropsMap, KLVS_DROP_NO_REAL_SERVER, 0, AsBytes(one));
  GetArray<klvs_real_conns>(maps_, kRealConnsMap).value()[2].overloaded = 1;
  // With an answer, or without.
  for (const uint32_t action : {TC_ACT_REDIRECT, TC_ACT_SHOT}) {
    const Trace trace = Explained(action);
    EXPECT_EQ(trace.verdict, TraceVerdict::kDropped);
    EXPECT_EQ(trace.drop_reason, "no_real_server");
    EXPECT_EQ(trace.available, 1U);
    EXPECT_FALSE(trace.real);
  }
}

TEST_F(TraceTest, APortOfARangeIsKept) {
  ServiceKey key;
  key.match = PortRange{packet_.vip.ip, 10000, 10100};
  ServiceConfig config;
  config.scheduler = "lc";
  real_.at.port = 0;
  {
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    for (const absl::Status& status :
         (*backend)->Apply(std::vector<Step>{AddService{key, config}, AddReal{key, real_}})) {
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  ASSERT_TRUE(CopyMaps(Family::kIpv4, maps_, copy_).ok());
  EXPECT_EQ(copy_.Dump(kPortsMap)->size(), maps_.Dump(kPortsMap)->size());
  packet_.vip.port = real_.at.port = 10007;
  Connect(copy_, 4, 1);
  const Trace trace = Explained(TC_ACT_REDIRECT);
  EXPECT_EQ(trace.scheduler, "lc");
  EXPECT_EQ(trace.reals, 1U);
  EXPECT_EQ(trace.real, real_);
}

TEST_F(TraceTest, AVipOfANetwork) {
  ServiceKey key;
  key.match = Prefix{*Cidr::Parse("198.51.100.0/24"), 80, 80};
  ServiceConfig config;
  config.scheduler = "dh";
  {
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    for (const absl::Status& status :
         (*backend)->Apply(std::vector<Step>{AddService{key, config}, AddReal{key, real_}})) {
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  ASSERT_TRUE(CopyMaps(Family::kIpv4, maps_, copy_).ok());
  EXPECT_EQ(copy_.Dump(kNetworksMap)->size(), 1U);
  packet_.vip = *Endpoint::Parse("198.51.100.77:80");
  Connect(copy_, 4, 1);
  const Trace trace = Explained(TC_ACT_REDIRECT);
  EXPECT_TRUE(trace.is_vip);
  EXPECT_EQ(trace.scheduler, "dh");
  EXPECT_EQ(trace.real, real_);
}

TEST_F(TraceTest, AConnectionOfIpv6ThatIsThereAndItsTemplate) {
  packet_.client = *Endpoint::Parse("[2001:db8:1:2:ffff::1]:40000");
  packet_.vip = *Endpoint::Parse("[2001:db8::1]:80");
  ServiceKey key;
  key.match = packet_.vip;
  ServiceConfig config;
  config.scheduler = "lc";
  config.persistence = Persistence{};
  config.persistence->prefix_length = 66;
  real_.at = *Endpoint::Parse("[2001:db8::11]:80");
  {
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    for (const absl::Status& status :
         (*backend)->Apply(std::vector<Step>{AddService{key, config}, AddReal{key, real_}})) {
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  const klvs_template_key6 client = {.service = 2,
                                     .client = ToWire6(*IpAddress::Parse("2001:db8:1:2:c000::"))};
  const klvs_template held = {
      .word = uint64_t{4} << 32 | 1U << 24, .expires = 9, .timeout = 9, .reserved = 0};
  ASSERT_TRUE(Put(maps_, kTemplates6Map, client, held).ok());
  ASSERT_TRUE(CopyMaps(Family::kIpv6, maps_, copy_).ok());
  for (FakeMapStore* maps : {&maps_, &copy_}) {
    klvs_conn6& entry = GetArray<klvs_conn_set6>(*maps, kConns6Map).value()[3].ways[2];
    entry.key = {.src = ToWire6(packet_.client.ip),
                 .dst = ToWire6(packet_.vip.ip),
                 .sport = ToWirePort(packet_.client.port),
                 .dport = ToWirePort(packet_.vip.port),
                 .protocol = 6,
                 .reserved = {}};
    entry.ctl = uint64_t{1} << 32 | KLVS_CONN_LIVE << 8 | KLVS_ESTABLISHED;
    entry.real = 4;
  }
  const Trace trace = Explained(TC_ACT_REDIRECT);
  EXPECT_EQ(trace.state, "ESTABLISHED");
  EXPECT_EQ(trace.scheduler, "lc");
  EXPECT_TRUE(trace.persistent);
  EXPECT_EQ(trace.real, real_);
}

TEST_F(TraceTest, TheFrameOfIpv6IsASynAndItsDatagramHasAChecksum) {
  packet_.client = *Endpoint::Parse("[2001:db8:1::1]:40000");
  packet_.vip = *Endpoint::Parse("[2001:db8::1]:80");
  auto frame = FrameOf(packet_);
  ASSERT_EQ(frame.size(), 74U);
  EXPECT_EQ(frame[12] << 8 | frame[13], 0x86dd);
  EXPECT_EQ(frame[14], 0x60);
  EXPECT_EQ(frame[14 + 5], 20);
  EXPECT_EQ(frame[14 + 6], 6);
  EXPECT_EQ(frame[14 + 24 + 15], 1);
  EXPECT_EQ(frame[54 + 13], 2);
  packet_.protocol = Protocol::kUdp;
  frame = FrameOf(packet_);
  ASSERT_EQ(frame.size(), 62U);
  EXPECT_NE(frame[54 + 6] | frame[54 + 7], 0);
}

TEST_F(TraceTest, AnAddressThatIsNobodys) {
  const TracePacket packet = {.protocol = Protocol::kTcp,
                              .client = packet_.client,
                              .vip = *Endpoint::Parse("192.0.2.9:80")};
  EXPECT_EQ(Explain(maps_, copy_, packet, static_cast<uint32_t>(TC_ACT_UNSPEC)).value(), Trace{});
}

TEST_F(TraceTest, TheFrameOfSctpIsAnInit) {
  TracePacket packet = packet_;
  packet.protocol = Protocol::kSctp;
  const auto frame = FrameOf(packet);
  ASSERT_EQ(frame.size(), 66U);
  EXPECT_EQ(frame[17], 52);
  EXPECT_EQ(frame[14 + 9], 132);
  EXPECT_EQ(frame[34 + 12], 1);
  EXPECT_EQ(frame[34 + 15], 20);  // to the end
}

TEST_F(TraceTest, TheFrameIsASyn) {
  const auto frame = FrameOf(packet_);
  ASSERT_EQ(frame.size(), 54U);
  EXPECT_EQ(frame[12], 8);
  EXPECT_EQ(frame[14], 0x45);
  EXPECT_EQ(frame[14 + 20 + 13], 2);
  uint32_t sum = 0;
  for (size_t i = 14; i < 34; i += 2) sum += uint32_t{frame[i]} << 8 | frame[i + 1];
  EXPECT_EQ((sum & 0xffff) + (sum >> 16), 0xffffU);
}

}  // namespace
}  // namespace kube_lvs::ebpf
