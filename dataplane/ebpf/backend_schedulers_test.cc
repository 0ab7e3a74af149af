// What schedulers choose by: tables, cursors, localities.
#include "dataplane/ebpf/backend.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "dataplane/ebpf/backend_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

TEST_F(EbpfBackendTest, QuiescingDoesNotMoveAnybodyInAMaglevTable) {
  ASSERT_TRUE(Do({AddService{web_, Config("mh")}, AddReal{web_, Real("10.0.0.1:80", 3)},
                  AddReal{web_, Real("10.0.0.2:80", 1)}})
                  .ok());
  const auto before = Table(web_);
  EXPECT_EQ(before.size(), 4093U);
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.1:80", 0)}}).ok());
  EXPECT_EQ(Table(web_), before);
  EXPECT_EQ(Reals()[IdOf(web_, "10.0.0.1")].weight, 0U);
  Start();  // the weight that it had is not forgotten
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.3:80", 1)}}).ok());
  ASSERT_TRUE(Do({RemoveReal{web_, Real("10.0.0.3:80").at}}).ok());
  EXPECT_EQ(Table(web_), before);
}

TEST_F(EbpfBackendTest, WhoComesBackWithWeight0HasNoPlaceInAMaglevTable) {
  ASSERT_TRUE(Do({AddService{web_, Config("mh")}, AddReal{web_, Real("10.0.0.1:80", 3)},
                  AddReal{web_, Real("10.0.0.2:80", 1)}})
                  .ok());
  Conns()[IdOf(web_, "10.0.0.1")].active = 1;
  ASSERT_TRUE(Do({RemoveReal{web_, Real("10.0.0.1:80").at}}).ok());
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.1:80", 0)}}).ok());
  const auto has = [this] { return std::ranges::count(Table(web_), "10.0.0.1"); };
  EXPECT_EQ(has(), 0);
  // Also when the table is next made anew.
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.3:80", 1)}}).ok());
  EXPECT_EQ(has(), 0);
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.1:80", 1)}}).ok());
  EXPECT_GT(has(), 0);
}

TEST_F(EbpfBackendTest, SourceHashingFollowsWeightsAndDestinationHashingDoesNot) {
  ASSERT_TRUE(Do({AddService{web_, Config("sh")}, AddReal{web_, Real("10.0.0.1:80", 2)},
                  AddReal{web_, Real("10.0.0.2:80", 1)}})
                  .ok());
  const auto first = [this] {
    const auto table = Table(web_);
    return std::vector<std::string>(table.begin(), table.begin() + 4);
  };
  EXPECT_EQ(Table(web_).size(), 256U);
  EXPECT_EQ(first(), (std::vector<std::string>{"10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.1"}));
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.1:80", 0)}}).ok());
  EXPECT_EQ(first(), (std::vector<std::string>{"10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"}));
  ASSERT_TRUE(Do({SetService{web_, Config("dh")}}).ok());
  const uint32_t base = Service(web_).table_base;
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.1:80", 7)}}).ok());
  EXPECT_EQ(Service(web_).table_base, base);
  EXPECT_EQ(first(), (std::vector<std::string>{"10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"}));
}

TEST_F(EbpfBackendTest, MaglevTablesHaveTheSizeThatIsAskedFor) {
  ServiceConfig config = Config("mh");
  ASSERT_TRUE(Do({AddService{web_, config}, AddReal{web_, Real("10.0.0.1:80", 1)}}).ok());
  EXPECT_EQ(Table(web_).size(), 4093U);
  config.hash.table_size = 8191;
  ASSERT_TRUE(Do({SetService{web_, config}}).ok());
  EXPECT_EQ(Table(web_), std::vector<std::string>(8191, "10.0.0.1"));
}

TEST_F(EbpfBackendTest, AnotherSchedulerIsAnEditThatKeepsIdsAndCounts) {
  ASSERT_TRUE(Do({AddService{web_, Config("wlc")}, AddReal{web_, Real("10.0.0.1:80", 3)},
                  AddReal{web_, Real("10.0.0.2:80", 1)}})
                  .ok());
  const auto list = List(web_);
  const uint32_t id = Service(web_).id;
  Conns()[list[0].real].active = 5;
  for (const std::string scheduler : {"sh", "lc", "mh", "lblcr", "dh", "rr", "twos"}) {
    ServiceConfig config = Config(scheduler);
    config.hash.fallback = scheduler == "sh";
    ASSERT_TRUE(Do({SetService{web_, config}}).ok());
    Start();
    EXPECT_EQ(Actual(web_).config, config);
    EXPECT_EQ(Service(web_).id, id);
    EXPECT_EQ(List(web_)[0].real, list[0].real);
    EXPECT_EQ(List(web_)[1].real, list[1].real);
    EXPECT_EQ(Conns()[list[0].real].active, 5U);
  }
  // Nothing is left of the tables in between.
  clock_.Advance(std::chrono::seconds(2));
  ASSERT_TRUE(Do({SetReal{web_, Real("10.0.0.2:80", 2)}}).ok());
  Start();
  EXPECT_EQ(backend_->Fill().at("tables"), 0.0);
}

TEST_F(EbpfBackendTest, AnotherSchedulerForgetsWhereConnectionsWent) {
  ASSERT_TRUE(Do({AddService{web_, Config("lblc")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  klvs_locality& locality = GetArray<klvs_locality>(maps_, kLocalityMap).value()[Service(web_).id];
  locality.real = IdOf(web_, "10.0.0.1");
  locality.joined = 4;
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.2:80")}}).ok());
  Start();
  EXPECT_EQ(locality.real, IdOf(web_, "10.0.0.1"));
  ASSERT_TRUE(Do({SetService{web_, Config("lblcr")}}).ok());
  EXPECT_EQ(locality.real, 0U);
  EXPECT_EQ(locality.first, 5U);
}

TEST_F(EbpfBackendTest, RoundRobinGoesOnWhereItWas) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.2:80")},
                  AddReal{web_, Real("10.0.0.3:80")}})
                  .ok());
  const klvs_service service = Service(web_);
  States()[service.id].cursor = uint64_t{service.generation} << 48 | uint64_t{2} << 32;
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.1:80")}}).ok());
  EXPECT_EQ(Service(web_).start_position, 3);
  EXPECT_NE(Service(web_).generation, service.generation);
}

TEST_F(EbpfBackendTest, OnePacketSchedulingAndNatAreRefusedWhicheverComesFirst) {
  const ServiceKey dns = Key("192.0.2.1:53", Protocol::kUdp);
  ServiceConfig config = Config("rr");
  config.one_packet = true;
  const RealServer direct = Real("10.0.0.1:53", 1, ForwardingMethod::kDirectRouting);
  ASSERT_TRUE(Do({AddService{dns, config}, AddReal{dns, direct}}).ok());
  EXPECT_EQ(Actual(dns).config, config);
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  EXPECT_EQ(Do({AddReal{dns, Real("10.0.0.2:53")}}).code(), unimplemented);
  EXPECT_EQ(Do({SetReal{dns, Real("10.0.0.1:53")}}).code(), unimplemented);
  ASSERT_TRUE(Do({SetService{dns, Config("rr")}, SetReal{dns, Real("10.0.0.1:53")}}).ok());
  EXPECT_EQ(Do({SetService{dns, config}}).code(), unimplemented);
}

}  // namespace
}  // namespace kube_lvs::ebpf
