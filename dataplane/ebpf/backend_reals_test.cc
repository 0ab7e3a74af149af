// Real servers: their records, thresholds and templates, and what of them waits for connections.
#include "dataplane/ebpf/backend.h"

#include <chrono>
#include <vector>

#include "dataplane/ebpf/backend_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

TEST_F(EbpfBackendTest, AChangeOfWeightKeepsIdsAndRecords) {
  ASSERT_TRUE(Do({AddService{web_, Config("wrr")}, AddReal{web_, Real("10.0.0.1:80", 3)},
                  AddReal{web_, Real("10.0.0.2:80", 1)}})
                  .ok());
  const auto before = List(web_);
  Conns()[before[0].real].active = 9;
  const klvs_counters counted{7, 700, 1, 0, 0};
  maps_.SetOnCpu(kRealCountersMap, before[0].real, 1, AsBytes(counted));
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.1:80", 0)}}).ok());
  const auto after = List(web_);
  EXPECT_EQ(after[0].real, before[0].real);
  EXPECT_EQ(after[0].weight, 0U);
  EXPECT_EQ(after[1].real, before[1].real);
  EXPECT_EQ(Reals()[after[0].real].weight, 0U);
  EXPECT_EQ(Conns()[after[0].real].active, 9U);
  EXPECT_EQ(backend_->ReadStats()->reals.at({web_, Real("10.0.0.1:80").at}).counters.packets, 7U);
}

TEST_F(EbpfBackendTest, ThresholdsThatChangeAreHeldAgainstTheConnectionsThereAre) {
  const auto limited = [](uint32_t upper, uint32_t lower) {
    RealServer real = Real("10.0.0.1:80", 1);
    real.upper_threshold = upper;
    real.lower_threshold = lower;
    return real;
  };
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, limited(9, 3)}}).ok());
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{limited(9, 3)}));
  EXPECT_EQ(Service(web_).flags, KLVS_SERVICE_THRESHOLDS);
  const uint32_t id = IdOf(web_, "10.0.0.1");
  Conns()[id] = {4, 2, 0, 0};
  const auto overloaded_at = [&](uint32_t upper, uint32_t lower) {
    EXPECT_TRUE(Do({SetReal{web_, limited(upper, lower)}}).ok());
    EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{limited(upper, lower)}));
    EXPECT_EQ(Conns()[id].active, 4U);
    return Conns()[id].overloaded;
  };
  EXPECT_EQ(overloaded_at(7, 3), 0U);
  EXPECT_EQ(overloaded_at(6, 3), 1U);
  EXPECT_EQ(overloaded_at(8, 6), 1U);  // between both it stays
  EXPECT_EQ(overloaded_at(8, 7), 0U);
  EXPECT_EQ(overloaded_at(5, 0), 1U);
  EXPECT_EQ(overloaded_at(0, 0), 0U);
  EXPECT_EQ(Service(web_).flags, 0);
}

TEST_F(EbpfBackendTest, ThresholdsOfAChangeThatWasCutShortCountAfterAStart) {
  RealServer real = Real("10.0.0.1:80", 1);
  real.upper_threshold = 2;
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80", 1)}}).ok());
  const uint32_t id = IdOf(web_, "10.0.0.1");
  Conns()[id].active = 3;
  Reals()[id].upper_threshold = 2;  // as far as it got
  Start();
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{real}));
  EXPECT_EQ(Service(web_).flags, KLVS_SERVICE_THRESHOLDS);
  EXPECT_EQ(Conns()[id].overloaded, 1U);
}

TEST_F(EbpfBackendTest, TemplatesWaitTwoMinutesForARealServerThatWasRemoved) {
  ServiceConfig persistent = Config("rr");
  persistent.persistence = Persistence{};
  ASSERT_TRUE(Do({AddService{web_, persistent}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  const uint32_t id = IdOf(web_, "10.0.0.1");
  Templates()[id].templates = 3;
  EXPECT_EQ(backend_->ReadStats()->reals.at({web_, Real("10.0.0.1:80").at}).persistent_connections,
            3U);
  const auto remove = [&] { return Do({RemoveReal{web_, Real("10.0.0.1:80").at}}); };
  const auto after = [&](std::chrono::seconds wait) {
    clock_.Advance(wait);
    EXPECT_TRUE(backend_->Refresh().ok());
    return Reals()[id].flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN);
  };
  ASSERT_TRUE(remove().ok());
  EXPECT_EQ(after(std::chrono::seconds(119)), KLVS_REAL_VALID | KLVS_REAL_REMOVED);
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.1:80")}}).ok());
  EXPECT_EQ(IdOf(web_, "10.0.0.1"), id);
  ASSERT_TRUE(remove().ok());
  EXPECT_EQ(after(std::chrono::seconds(120)),
            KLVS_REAL_VALID | KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN);
  // It comes back just before the programs forget its clients.
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.1:80")}}).ok());
  EXPECT_EQ(after(std::chrono::seconds(1)), static_cast<int>(KLVS_REAL_VALID));
  ASSERT_TRUE(remove().ok());
  EXPECT_NE(after(std::chrono::seconds(120)), 0);
  Start();
  EXPECT_NE(after(std::chrono::seconds(0)), 0);
  Templates()[id].templates = 0;
  EXPECT_EQ(after(std::chrono::seconds(1)), 0);
}

TEST_F(EbpfBackendTest, ARemovedRealServerKeepsItsRecordWhileItHasConnections) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")},
                  AddReal{web_, Real("10.0.0.2:80")}})
                  .ok());
  const uint32_t id = IdOf(web_, "10.0.0.1");
  Conns()[id].inactive = 1;
  ASSERT_TRUE(Do({RemoveReal{web_, Real("10.0.0.1:80").at}}).ok());
  EXPECT_EQ(Reals()[id].flags, KLVS_REAL_VALID | KLVS_REAL_REMOVED | KLVS_REAL_L2);
  clock_.Advance(std::chrono::minutes(1));
  Start();
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Reals()[id].flags, KLVS_REAL_VALID | KLVS_REAL_REMOVED | KLVS_REAL_L2);
  EXPECT_EQ(Address("10.0.0.1").flags, KLVS_ADDRESS_NAT_REAL);  // its replies still come

  // It returns and is the same.
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.1:80", 4)}}).ok());
  EXPECT_EQ(IdOf(web_, "10.0.0.1"), id);
  EXPECT_EQ(Reals()[id].flags, KLVS_REAL_VALID | KLVS_REAL_L2);

  // It goes, and so do its connections, and a second later its id.
  ASSERT_TRUE(Do({RemoveReal{web_, Real("10.0.0.1:80").at}}).ok());
  Conns()[id].inactive = 0;
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_NE(Reals()[id].flags, 0);
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Reals()[id].flags, 0);
  EXPECT_EQ(Address("10.0.0.1").flags, 0U);
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.7:80")}}).ok());
  EXPECT_EQ(IdOf(web_, "10.0.0.7"), id);
}

TEST_F(EbpfBackendTest, ARecordThatNoListNamesIsRemovedAtAStart) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  // The agent died after it wrote a record and before the list with it became visible.
  const klvs_real orphan = EncodeReal(Service(web_).id, Real("10.0.0.5:80")).real;
  Reals()[9] = orphan;
  Conns()[9].active = 1;
  Start();
  EXPECT_EQ(Reals()[9].flags, KLVS_REAL_VALID | KLVS_REAL_REMOVED);
  EXPECT_EQ(Actual(web_).reals.size(), 1U);
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.5:80")}}).ok());
  EXPECT_EQ(IdOf(web_, "10.0.0.5"), 9U);
}

TEST_F(EbpfBackendTest, ATunnelBecomesOneByGueAndBack) {
  RealServer real = Real("10.0.0.1:80", 1, ForwardingMethod::kTunnel);
  RealServer by_gue = real;
  by_gue.tunnel = {.type = TunnelType::kGue, .port = 6080};
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, real}}).ok());
  ASSERT_TRUE(Do({SetReal{web_, by_gue}}).ok());
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{by_gue}));
  EXPECT_EQ(Reals()[IdOf(web_, "10.0.0.1")].gue_port, ToWirePort(6080));
  Start();
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{by_gue}));
  ASSERT_TRUE(Do({SetReal{web_, real}}).ok());
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{real}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
