// Counters, the connection table, and connections that have expired.
#include "dataplane/ebpf/backend.h"

#include <chrono>

#include "dataplane/ebpf/backend_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

TEST_F(EbpfBackendTest, CountersOfAllCpusAreSummed) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80", 4)}}).ok());
  const uint32_t service = Service(web_).id;
  const uint32_t real = IdOf(web_, "10.0.0.1");
  for (int cpu = 0; cpu < FakeMapStore::kCpus; ++cpu) {
    const auto n = static_cast<uint64_t>(cpu + 1);
    maps_.SetOnCpu(kServiceCountersMap, service, cpu, AsBytes(klvs_counters{n, 10 * n, n, 0, 0}));
    maps_.SetOnCpu(kRealCountersMap, real, cpu, AsBytes(klvs_counters{2 * n, n, 0, 3 * n, 0}));
    maps_.SetOnCpu(kDropsMap, KLVS_DROP_NO_SERVICE, cpu, AsBytes(n));
  }
  Conns()[real] = klvs_real_conns{5, 2, 0, 0};
  const Stats stats = *backend_->ReadStats();
  EXPECT_GT(programs_.swept_sets, 0U);  // before the counts are read
  EXPECT_EQ(stats.services.at(web_), (Counters{6, 60, 6, 0}));
  const RealServerStats& of_real = stats.reals.at({web_, Real("10.0.0.1:80").at});
  EXPECT_EQ(of_real.counters, (Counters{12, 6, 0, 18}));
  EXPECT_EQ(of_real.weight, 4U);
  EXPECT_EQ(of_real.active_connections, 5U);
  EXPECT_EQ(of_real.inactive_connections, 2U);
  EXPECT_EQ(stats.drops.at("no_service"), 6U);
  EXPECT_EQ(stats.drops.at("ttl"), 0U);
}

TEST_F(EbpfBackendTest, TheConnectionTableIsAsFullAsItsSlotsAreTaken) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")},
                  AddReal{web_, Real("10.0.0.2:80", 1, ForwardingMethod::kDirectRouting)}})
                  .ok());
  Conns()[IdOf(web_, "10.0.0.1")] = klvs_real_conns{5, 2, 0, 0};
  Conns()[IdOf(web_, "10.0.0.2")] = klvs_real_conns{3, 1, 0, 0};
  // NAT's have a slot for each way.
  EXPECT_DOUBLE_EQ(backend_->Fill().at("connections"), (2 * 7.0 + 4) / (16 * 8));
  EXPECT_EQ(backend_->Fill().at("connections_ipv6"), 0.0);
}

TEST_F(EbpfBackendTest, ExpiredConnectionsAreTakenOutBeforeTheyAreCounted) {
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(programs_.swept_sets, 0U);  // nobody asks
  ASSERT_TRUE(backend_->ReadStats().ok());
  const uint32_t once = programs_.swept_sets;
  EXPECT_EQ(once, 16U);
  ASSERT_TRUE(backend_->ReadStats().ok());
  EXPECT_EQ(programs_.swept_sets, once);  // not twice at once
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  ASSERT_TRUE(Do({RemoveService{web_}}).ok());
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(programs_.swept_sets, 2 * once);
}

TEST_F(EbpfBackendTest, WhereCountsDecideExpiredConnectionsAreSweptInTime) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  const auto refreshed = [this] {
    clock_.Advance(std::chrono::seconds(2));
    const uint32_t before = programs_.swept_sets;
    EXPECT_TRUE(backend_->Refresh().ok());
    return programs_.swept_sets - before;
  };
  const uint32_t sets = maps_.Capacity(kConnsMap).value();
  EXPECT_EQ(refreshed(), 0U);
  ASSERT_TRUE(Do({SetService{web_, Config("lc")}}).ok());
  EXPECT_EQ(refreshed(), sets);
  // Templates, too.
  ServiceConfig persistent = Config("rr");
  persistent.persistence = Persistence{};
  ASSERT_TRUE(Do({SetService{web_, persistent}}).ok());
  EXPECT_EQ(refreshed(), sets);
}

}  // namespace
}  // namespace kube_lvs::ebpf
