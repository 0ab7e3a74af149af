#include "dataplane/ebpf/recount.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/ebpf/backend.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kInactive = uint64_t{1} << 32;

uint64_t Ctl(uint32_t flags, uint32_t state, uint64_t generation = 1) {
  return generation << 32 | uint64_t{flags} << 8 | state;
}

struct Table {
  std::vector<klvs_conn_set> sets = std::vector<klvs_conn_set>(4);
  std::vector<klvs_set_tags> tags = std::vector<klvs_set_tags>(4);
  std::vector<klvs_conn_set6> sets6 = std::vector<klvs_conn_set6>(2);
  std::vector<klvs_set_tags> tags6 = std::vector<klvs_set_tags>(2);

  ConnTables All() { return {sets, tags, sets6, tags6}; }
};

void Put(const ConnTables& table, size_t set, int way, uint32_t real, uint64_t ctl) {
  table.tags[set].way[way] = 7;
  table.sets[set].ways[way].real = real;
  table.sets[set].ways[way].ctl = ctl;
}

void Put6(const ConnTables& table, size_t set, int way, uint32_t real, uint64_t ctl) {
  table.tags6[set].way[way] = 7;
  table.sets6[set].ways[way].real = real;
  table.sets6[set].ways[way].ctl = ctl;
}

TEST(Recount, CountsLiveConnectionsOfBothFamiliesByWhetherTheyAreActive) {
  Table table;
  const ConnTables all = table.All();
  Put(all, 0, 0, 1, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED));
  Put(all, 0, 1, 1, Ctl(KLVS_CONN_LIVE | KLVS_CONN_PENDING, KLVS_SYN_RECV));
  Put(all, 0, 2, 1, Ctl(KLVS_CONN_LIVE | KLVS_CONN_REPLY, KLVS_ESTABLISHED));  // only a key
  Put(all, 0, 3, 1, Ctl(0, KLVS_ESTABLISHED));                                 // being taken out
  Put(all, 3, 7, 1, Ctl(KLVS_CONN_LIVE, KLVS_TIME_WAIT));
  Put(all, 1, 5, 2, Ctl(KLVS_CONN_LIVE, KLVS_UDP));
  Put(all, 1, 6, 2, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED));
  table.tags[1].way[6] = 0;                                      // a free way
  Put(all, 2, 0, 9, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED));  // of no real server
  Put6(all, 1, 7, 2, Ctl(KLVS_CONN_LIVE, KLVS_SCTP_ESTABLISHED));
  Put6(all, 0, 0, 3, Ctl(KLVS_CONN_LIVE, KLVS_SCTP_INIT1));
  std::vector<uint64_t> counts;
  for (const Recount& real : CountConnections(all, 5)) counts.push_back(real.counts);
  EXPECT_EQ(counts, (std::vector<uint64_t>{0, 2 + kInactive, 1 + kInactive, kInactive, 0}));
}

TEST(Recount, AnotherConnectionOrStateIsAnotherFingerprint) {
  Table table;
  const ConnTables all = table.All();
  Put(all, 0, 0, 1, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED, 5));
  const uint64_t one = CountConnections(all, 2)[1].fingerprint;
  EXPECT_EQ(CountConnections(all, 2)[1].fingerprint, one);
  Put(all, 0, 0, 1, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED, 6));  // its place used again
  EXPECT_NE(CountConnections(all, 2)[1].fingerprint, one);
  Put(all, 0, 0, 1, Ctl(KLVS_CONN_LIVE, KLVS_SYN_RECV, 5));
  EXPECT_NE(CountConnections(all, 2)[1].fingerprint, one);
  table.tags[0] = {};
  Put(all, 1, 0, 1, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED, 5));
  EXPECT_NE(CountConnections(all, 2)[1].fingerprint, one);
}

TEST(Recount, NothingIsCorrectedThatMoved) {
  const CountReading wrong{.counts = 3, .passed = 10, .table = {.counts = 1, .fingerprint = 4}};
  EXPECT_EQ(wrong.counts + CorrectionOf(wrong, wrong), 1U);
  const CountReading right{.counts = 1, .passed = 10, .table = {.counts = 1, .fingerprint = 4}};
  EXPECT_EQ(CorrectionOf(right, right), 0U);
  for (const auto change : std::vector<void (*)(CountReading&)>{
           [](CountReading& r) { ++r.counts; }, [](CountReading& r) { ++r.passed; },
           [](CountReading& r) { ++r.table.counts; },
           [](CountReading& r) { ++r.table.fingerprint; }}) {
    CountReading moved = wrong;
    change(moved);
    EXPECT_EQ(CorrectionOf(wrong, moved), 0U);
  }
  // Both halves at once: one too few that are active, one too many that are not.
  const CountReading halves{
      .counts = 4 * kInactive, .passed = 0, .table = {.counts = 1 + 3 * kInactive}};
  EXPECT_EQ(halves.counts + CorrectionOf(halves, halves), 1 + 3 * kInactive);
}

class RepairTest : public testing::Test {
 protected:
  RepairTest() {
    MakeMaps(maps_);
    network_.AddLink(2, "eth0");
    network_.AddRoute(at_.ip, 2, *IpAddress::Parse("10.0.0.250"), 1);
    backend_ = *EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ServiceConfig config;
    config.scheduler = "wlc";
    RealServer real;
    real.at = at_;
    real.upper_threshold = 3;
    for (const absl::Status& status :
         backend_->Apply(std::vector<Step>{AddService{key_, config}, AddReal{key_, real}})) {
      EXPECT_TRUE(status.ok()) << status;
    }
    conns_ = &GetArray<klvs_real_conns>(maps_, kRealConnsMap).value()[kId];
    const ConnTables all = GetConnTables(maps_).value();
    Put(all, 5, 1, kId, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED));
    *conns_ = {.active = 1, .inactive = 0, .overloaded = 0, .joined = 6};
  }

  void CountPacket() {
    ++packets_;
    klvs_counters counters{};
    counters.packets = packets_;
    maps_.SetOnCpu(kRealCountersMap, kId, 1, AsBytes(counters));
  }
  uint64_t Repaired() { return backend_->counts_repaired(); }

  static constexpr uint32_t kId = 1;
  const ServiceKey key_{Dataplane::kEbpf, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp};
  const Endpoint at_ = *Endpoint::Parse("10.0.0.1:80");
  FakeMapStore maps_;
  FakePrograms programs_;
  FakeNetwork network_;
  FakeClock clock_;
  std::unique_ptr<EbpfBackend> backend_;
  klvs_real_conns* conns_ = nullptr;
  uint64_t packets_ = 0;
};

TEST_F(RepairTest, ACountThatLeakedIsPutRightAtAStartAndEveryTenMinutes) {
  conns_->active = 3;
  conns_->inactive = 2;
  conns_->overloaded = 1;
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(conns_->active, 1U);
  EXPECT_EQ(conns_->inactive, 0U);
  EXPECT_EQ(conns_->overloaded, 0U);
  EXPECT_EQ(conns_->joined, 6U);
  EXPECT_EQ(Repaired(), 1U);

  conns_->active = 0;  // one too few
  clock_.Advance(std::chrono::minutes(9));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(conns_->active, 0U);
  clock_.Advance(std::chrono::minutes(1));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(conns_->active, 1U);
  EXPECT_EQ(Repaired(), 2U);
}

TEST_F(RepairTest, WhatIsRightIsLeftAloneWithoutWaiting) {
  programs_.on_await = [] { ADD_FAILURE() << "waited for nothing"; };
  const auto before = maps_.Contents();
  ASSERT_EQ(backend_->RepairCounts().value(), 0U);
  EXPECT_EQ(maps_.Contents(), before);
}

TEST_F(RepairTest, NothingIsTouchedWhilePacketsComeOrConnectionsEnd) {
  conns_->active = 3;
  programs_.on_await = [this] { CountPacket(); };
  ASSERT_EQ(backend_->RepairCounts().value(), 0U);
  EXPECT_EQ(conns_->active, 3U);
  // A program that was on its way: it had taken out the entry, and now gets to the count.
  programs_.on_await = [this] { --conns_->active; };
  ASSERT_EQ(backend_->RepairCounts().value(), 0U);
  EXPECT_EQ(conns_->active, 2U);
  programs_.on_await = [this] {
    GetArray<klvs_conn_set>(maps_, kConnsMap).value()[5].ways[1].ctl = Ctl(0, KLVS_ESTABLISHED);
  };
  ASSERT_EQ(backend_->RepairCounts().value(), 0U);
  EXPECT_EQ(conns_->active, 2U);
  // One that could not come in, and another one on its way now.
  programs_.on_await = [this] {
    const uint64_t dropped = 1;
    maps_.SetOnCpu(kDropsMap, KLVS_DROP_TABLE_FULL, 0, AsBytes(dropped));
  };
  ASSERT_EQ(backend_->RepairCounts().value(), 0U);
  EXPECT_EQ(conns_->active, 2U);
  programs_.on_await = [] {};
  ASSERT_EQ(backend_->RepairCounts().value(), 1U);
  EXPECT_EQ(conns_->active, 0U);
}

TEST_F(RepairTest, ARemovedRealServerWhoseCountLeakedIsForgottenAfterTheRepair) {
  conns_->inactive = 1;
  GetArray<klvs_set_tags>(maps_, kConnTagsMap).value()[5] = {};
  conns_->active = 0;
  ASSERT_TRUE(backend_->Apply(std::vector<Step>{RemoveReal{key_, at_}})[0].ok());
  clock_.Advance(std::chrono::minutes(1));
  ASSERT_EQ(backend_->RepairCounts().value(), 1U);
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(GetArray<klvs_real>(maps_, kRealsMap).value()[kId].flags, 0);
}

}  // namespace
}  // namespace kube_lvs::ebpf
