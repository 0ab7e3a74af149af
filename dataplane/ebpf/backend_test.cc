#include "dataplane/ebpf/backend.h"

#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/rules.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"
#include "dataplane/plan/diff.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
ServiceKey Key(const std::string& at, Protocol protocol = Protocol::kTcp) {
  return {Dataplane::kEbpf, *Endpoint::Parse(at), protocol};
}
RealServer Real(const std::string& at, uint32_t weight = 1,
                ForwardingMethod method = ForwardingMethod::kNat) {
  RealServer real;
  real.at = *Endpoint::Parse(at);
  real.weight = weight;
  real.method = method;
  return real;
}
ServiceConfig Config(const std::string& scheduler, bool source_nat = false) {
  ServiceConfig config;
  config.scheduler = scheduler;
  config.source_nat = source_nat;
  return config;
}

class EbpfBackendTest : public testing::Test {
 protected:
  explicit EbpfBackendTest(const FakeMapSizes& sizes = {}) {
    MakeMaps(maps_, sizes);
    network_.AddLink(2, "eth0");
    network_.AddLink(3, "eth1");
    for (uint8_t host = 1; host < 10; ++host) {
      network_.AddRoute(Ip("2001:db8::" + std::to_string(host)), 2, Ip("2001:db8::250"), host);
      network_.AddRoute(Ip("10.0.0." + std::to_string(host)), 2, Ip("10.0.0.250"), host);
    }
    Start();
  }

  // As after a start of the agent: nothing of the old object is left but the maps.
  void Start() {
    backend_.reset();
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  absl::Status Do(const std::vector<Step>& steps) {
    for (const absl::Status& status : backend_->Apply(steps)) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  VirtualService Actual(const ServiceKey& key) {
    const auto state = backend_->Read();
    EXPECT_TRUE(state.ok()) << state.status();
    const auto found = state->services.find(key);
    return found == state->services.end() ? VirtualService{} : found->second;
  }

  std::span<klvs_real> Reals() { return GetArray<klvs_real>(maps_, kRealsMap).value(); }
  std::span<klvs_real_conns> Conns() {
    return GetArray<klvs_real_conns>(maps_, kRealConnsMap).value();
  }
  std::span<TemplateCount> Templates() {
    return GetArray<TemplateCount>(maps_, kRealTemplatesMap).value();
  }
  std::span<klvs_service_state> States() {
    return GetArray<klvs_service_state>(maps_, kServiceStateMap).value();
  }

  klvs_address Address(const std::string& ip) {
    const IpAddress address = Ip(ip);
    const auto found = address.IsV4() ? Get<klvs_address>(maps_, kAddressesMap, ToWire(address))
                                      : Get<klvs_address>(maps_, kAddresses6Map, ToWire6(address));
    return found->value_or(klvs_address{});
  }
  klvs_service Service(const ServiceKey& key) {
    const klvs_address vip = Address(std::get<Endpoint>(key.match).ip.ToString());
    return Get<klvs_service>(maps_, kServicesMap, EncodeKey(vip.vip_id, key))
        ->value_or(klvs_service{});
  }
  std::vector<klvs_list_entry> List(const ServiceKey& key) {
    const klvs_service service = Service(key);
    const auto all = GetArray<klvs_list_entry>(maps_, kListsMap).value();
    const auto list = all.subspan(service.list_base, service.list_count);
    return {list.begin(), list.end()};
  }
  // The real server behind each slot.
  std::vector<std::string> Table(const ServiceKey& key) {
    const klvs_service service = Service(key);
    std::vector<std::string> out;
    for (const TableCell& cell : GetArray<TableCell>(maps_, kTablesMap)
                                     .value()
                                     .subspan(service.table_base, service.table_size)) {
      out.push_back(cell.real == 0 ? "" : FromWire(Reals()[cell.real].address).ToString());
    }
    return out;
  }
  uint32_t IdOf(const ServiceKey& key, const std::string& ip) {
    for (const klvs_list_entry& entry : List(key)) {
      if (FromWire(Reals()[entry.real].address) == Ip(ip)) return entry.real;
    }
    return 0;
  }

  FakeMapStore maps_;
  FakePrograms programs_;
  FakeNetwork network_;
  FakeClock clock_;
  std::unique_ptr<EbpfBackend> backend_;
  const ServiceKey web_ = Key("192.0.2.1:80");
};

TEST_F(EbpfBackendTest, WhatWasAppliedIsReadBackInCanonicalOrder) {
  ASSERT_TRUE(Do({AddService{web_, Config("wrr", true)}, AddReal{web_, Real("10.0.0.3:80", 2)},
                  AddReal{web_, Real("10.0.0.1:81", 5)}, AddReal{web_, Real("10.0.0.1:80", 1)}})
                  .ok());
  const VirtualService actual = Actual(web_);
  EXPECT_EQ(actual.config, Config("wrr", true));
  EXPECT_EQ(actual.reals, (std::vector<RealServer>{Real("10.0.0.1:80", 1), Real("10.0.0.1:81", 5),
                                                   Real("10.0.0.3:80", 2)}));
  const klvs_service record = Service(web_);
  EXPECT_EQ(record.wrr_max, 5U);
  EXPECT_EQ(record.wrr_gcd, 1U);
  EXPECT_EQ(record.start_weight, 5U);
  EXPECT_NE(record.generation, 0);
}

TEST_F(EbpfBackendTest, TheStepsOfAServiceBecomeVisibleTogether) {
  int service_writes = 0;
  maps_.after_write = [&](std::string_view map) { service_writes += map == kServicesMap; };
  ASSERT_TRUE(Do({AddService{web_, Config("mh")}, AddReal{web_, Real("10.0.0.1:80")},
                  AddReal{web_, Real("10.0.0.2:80")}, SetReal{web_, Real("10.0.0.2:80", 7)}})
                  .ok());
  EXPECT_EQ(service_writes, 1);
  ASSERT_TRUE(
      Do({AddReal{web_, Real("10.0.0.3:80")}, RemoveReal{web_, Real("10.0.0.1:80").at}}).ok());
  EXPECT_EQ(service_writes, 2);
}

TEST_F(EbpfBackendTest, ListAndTableAreCompleteWhenTheServiceBecomesVisible) {
  maps_.after_write = [&](std::string_view map) {
    if (map != kServicesMap) return;
    for (const klvs_list_entry& entry : List(web_)) {
      EXPECT_TRUE(Reals()[entry.real].flags & KLVS_REAL_VALID);
      EXPECT_FALSE(Reals()[entry.real].flags & KLVS_REAL_REMOVED);
      EXPECT_TRUE(Reals()[entry.real].flags & KLVS_REAL_L2);
    }
    const auto table = Table(web_);
    EXPECT_EQ(std::ranges::count(table, ""), 0);
    EXPECT_EQ(Address("192.0.2.1").flags, KLVS_ADDRESS_VIP);
    EXPECT_EQ(Address("10.0.0.1").flags, KLVS_ADDRESS_NAT_REAL);
  };
  ASSERT_TRUE(Do({AddService{web_, Config("mh")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.2:80")}}).ok());
}

TEST_F(EbpfBackendTest, AStartTakesOverWithoutOneWrite) {
  ASSERT_TRUE(Do({AddItem{Attachment{"eth0"}}, AddService{web_, Config("mh")},
                  AddReal{web_, Real("10.0.0.1:80", 3)}, AddReal{web_, Real("10.0.0.2:80", 0)},
                  AddService{Key("192.0.2.2:53", Protocol::kUdp), Config("rr")},
                  AddItem{TunnelPeer{Ip("10.0.0.8"), Ip("192.0.2.9")}},
                  AddItem{MssClamp{Ip("192.0.2.9"), 1400}},
                  AddItem{AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.1"), "eth0"}}})
                  .ok());
  const auto state = backend_->Read();
  const auto contents = maps_.Contents();
  const int writes = maps_.writes;
  Start();
  EXPECT_EQ(*backend_->Read(), *state);
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(maps_.writes, writes);
  EXPECT_EQ(maps_.Contents(), contents);
}

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

TEST_F(EbpfBackendTest, ARemovedServiceGetsItsIdBackWhileConnectionsRemain) {
  ASSERT_TRUE(Do({AddService{Key("192.0.2.9:80"), Config("rr")}, AddService{web_, Config("rr")},
                  AddReal{web_, Real("10.0.0.1:80")}})
                  .ok());
  const uint32_t service = Service(web_).id;
  const uint32_t real = IdOf(web_, "10.0.0.1");
  Conns()[real].active = 1;
  ASSERT_TRUE(Do({RemoveService{web_}}).ok());
  EXPECT_EQ(Address("192.0.2.1").flags, 0U);
  clock_.Advance(std::chrono::minutes(1));
  Start();
  clock_.Advance(std::chrono::minutes(1));
  ASSERT_TRUE(Do({AddService{Key("192.0.2.8:80"), Config("rr")}}).ok());
  EXPECT_NE(Service(Key("192.0.2.8:80")).id, service);
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  EXPECT_EQ(Service(web_).id, service);
  EXPECT_EQ(IdOf(web_, "10.0.0.1"), real);
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

TEST_F(EbpfBackendTest, AFreedListIsNotOverwrittenForASecond) {
  ASSERT_TRUE(Do({AddService{web_, Config("mh")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  const klvs_service first = Service(web_);
  ASSERT_TRUE(Do({AddReal{web_, Real("10.0.0.2:80")}}).ok());
  const klvs_service second = Service(web_);
  EXPECT_NE(second.list_base, first.list_base);
  EXPECT_NE(second.table_base, first.table_base);
  EXPECT_NE(second.generation, first.generation);
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(Do({RemoveReal{web_, Real("10.0.0.2:80").at}}).ok());
  EXPECT_EQ(Service(web_).list_base, first.list_base);
  EXPECT_EQ(Service(web_).table_base, first.table_base);
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

TEST_F(EbpfBackendTest, ASilentNeighbourIsNotAskedAtEachNotification) {
  network_.AddRoute(Ip("10.0.0.1"), 2, Ip("10.0.0.250"), 0);
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(network_.kept, 1);
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(network_.kept, 2);
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

TEST_F(EbpfBackendTest, TheProgramsKnowWhetherAVipIsClaimedByOneDirector) {
  const auto settings = GetArray<klvs_settings>(maps_, kSettingsMap).value();
  backend_->SetClaims(true);
  EXPECT_EQ(settings[0].flags, KLVS_SETTING_CLAIMS);
  backend_->SetClaims(false);
  EXPECT_EQ(settings[0].flags, 0U);
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

TEST_F(EbpfBackendTest, AnMssClampIsReplacedByAnAdditionAndARemoval) {
  const MssClamp old{Ip("192.0.2.1"), 1400};
  const MssClamp now{Ip("192.0.2.1"), 1380};
  ASSERT_TRUE(Do({AddItem{old}}).ok());
  ASSERT_TRUE(Do({AddItem{now}, RemoveItem{old}}).ok());
  EXPECT_EQ(backend_->Read()->items, (std::set<NodeItem>{now}));
  ASSERT_TRUE(Do({RemoveItem{now}}).ok());
  EXPECT_TRUE(backend_->Read()->items.empty());
}

TEST_F(EbpfBackendTest, OneServiceThatFailsDoesNotStopOthers) {
  const ServiceKey other = Key("192.0.2.2:80");
  const auto statuses = backend_->Apply(
      std::vector<Step>{AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")},
                        AddReal{web_, Real("[2001:db8::1]:80")}, AddReal{web_, Real("10.0.0.2:80")},
                        AddService{other, Config("rr")}, SetReal{web_, Real("10.0.0.1:80", 3)}});
  ASSERT_EQ(statuses.size(), 6U);
  EXPECT_TRUE(statuses[0].ok() && statuses[1].ok() && statuses[4].ok());
  EXPECT_EQ(statuses[2].code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(statuses[3].code(), absl::StatusCode::kAborted);
  EXPECT_EQ(statuses[5].code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{Real("10.0.0.1:80")}));
  EXPECT_TRUE(backend_->Read()->services.contains(other));
}

TEST_F(EbpfBackendTest, ServicesOfBothFamiliesAreReadBackAlsoAfterAStart) {
  const ServiceKey six = Key("[2001:db8:1::1]:80");
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")},
                  AddService{six, Config("mh")}, AddReal{six, Real("[2001:db8::1]:8080", 2)},
                  AddReal{six, Real("[2001:db8::2]:8080")}})
                  .ok());
  const std::vector<RealServer> reals = {Real("[2001:db8::1]:8080", 2), Real("[2001:db8::2]:8080")};
  EXPECT_EQ(Actual(six).reals, reals);
  const auto rules = ReadRules(maps_, Content::kAll);  // what lvsadm shows
  ASSERT_TRUE(rules.ok());
  EXPECT_EQ(ServicesOf(*rules), backend_->Read()->services);
  const auto before = maps_.Contents();
  Start();
  EXPECT_EQ(maps_.Contents(), before);
  EXPECT_EQ(Actual(six).reals, reals);
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{Real("10.0.0.1:80")}));
  EXPECT_EQ(Address("2001:db8:1::1").flags, KLVS_ADDRESS_VIP);
  EXPECT_NE(Address("2001:db8:1::1").vip_id, Address("192.0.2.1").vip_id);
  EXPECT_EQ(Address("2001:db8::1").flags, KLVS_ADDRESS_NAT_REAL);

  const uint32_t real = List(six)[0].real;
  const uint32_t service = Service(six).id;
  Conns()[real].active = 1;
  ASSERT_TRUE(Do({RemoveService{six}}).ok());
  Start();
  clock_.Advance(std::chrono::seconds(2));
  ASSERT_TRUE(Do({AddService{six, Config("rr")}, AddReal{six, Real("[2001:db8::1]:8080")}}).ok());
  EXPECT_EQ(Service(six).id, service);
  EXPECT_EQ(List(six)[0].real, real);
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

TEST_F(EbpfBackendTest, AServiceThatCannotBeWrittenLeavesNoVipBehind) {
  maps_.fault = [](std::string_view map) {
    return map == kServicesMap ? absl::UnavailableError("busy") : absl::OkStatus();
  };
  EXPECT_EQ(Do({AddService{web_, Config("rr")}}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Address("192.0.2.1").flags, 0U);
}

TEST_F(EbpfBackendTest, AVipThatCouldNotBeRemovedIsRemovedLater) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}}).ok());
  maps_.fault = [](std::string_view map) {
    return map == kAddressesMap ? absl::UnavailableError("busy") : absl::OkStatus();
  };
  ASSERT_TRUE(Do({RemoveService{web_}}).ok());
  EXPECT_EQ(Address("192.0.2.1").flags, KLVS_ADDRESS_VIP);
  maps_.fault = nullptr;
  ASSERT_TRUE(backend_->Refresh().ok());
  EXPECT_EQ(Address("192.0.2.1").flags, 0U);
}

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

TEST_F(EbpfBackendTest, SomeServicesAreReadAsTheyAreAmongAll) {
  const ServiceKey other{Dataplane::kEbpf, *Endpoint::Parse("192.0.2.9:80"), Protocol::kTcp};
  ASSERT_TRUE(Do({AddService{web_, Config("wrr")}, AddReal{web_, Real("10.0.0.1:80", 3)},
                  AddService{other, Config("wrr")}, AddReal{other, Real("10.0.0.2:80", 1)}})
                  .ok());
  Conns()[List(web_)[0].real].active = 9;
  ServiceKey absent = web_;
  absent.protocol = Protocol::kUdp;
  ServiceKey of_ipvs = web_;
  of_ipvs.dataplane = Dataplane::kIpvs;
  const auto some = backend_->ReadServices({web_, absent, of_ipvs});
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->services, (ServiceTable{{web_, backend_->Read()->services.at(web_)}}));
  EXPECT_EQ(some->stats.reals.size(), 1U);
  EXPECT_EQ(some->stats.reals.at({web_, Real("10.0.0.1:80").at}).active_connections, 9U);
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

TEST_F(EbpfBackendTest, StepsThatDoNotFitWhatIsThereAreRefused) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  const ServiceKey none = Key("192.0.2.2:80");
  const ServiceKey mark{Dataplane::kEbpf, FwMark{1, Family::kIpv4}, Protocol::kTcp};
  using Code = absl::StatusCode;
  EXPECT_EQ(Do({AddService{web_, Config("rr")}}).code(), Code::kAlreadyExists);
  EXPECT_EQ(Do({AddReal{web_, Real("10.0.0.1:80")}}).code(), Code::kAlreadyExists);
  EXPECT_EQ(Do({SetReal{web_, Real("10.0.0.2:80")}}).code(), Code::kNotFound);
  EXPECT_EQ(Do({RemoveReal{web_, Real("10.0.0.2:80").at}}).code(), Code::kNotFound);
  EXPECT_EQ(Do({SetService{none, Config("rr")}}).code(), Code::kNotFound);
  EXPECT_EQ(Do({RemoveService{none}}).code(), Code::kNotFound);
  EXPECT_EQ(Do({SetService{web_, Config("none")}}).code(), Code::kUnimplemented);
  EXPECT_EQ(Do({AddService{mark, Config("rr")}}).code(), Code::kUnimplemented);
  EXPECT_EQ(Do({AddItem{MssClamp{Ip("192.0.2.1"), 0}}}).code(), Code::kInvalidArgument);
  EXPECT_EQ(Do({AddItem{TunnelPeer{Ip("2001:db8::1"), Ip("192.0.2.1")}}}).code(),
            Code::kUnimplemented);
  EXPECT_EQ(Do({AddItem{TunnelPeer{
                   Ip("10.0.0.8"), Ip("192.0.2.1"), 0, {Ip("2001:db8::1"), 6080}}}})
                .code(),
            Code::kInvalidArgument);
  EXPECT_EQ(Actual(web_).reals, (std::vector<RealServer>{Real("10.0.0.1:80")}));
}

TEST_F(EbpfBackendTest, TakesItsOwnStepsOnly) {
  ServiceKey ipvs = web_;
  ipvs.dataplane = Dataplane::kIpvs;
  EXPECT_TRUE(backend_->Takes(AddService{web_, {}}));
  EXPECT_FALSE(backend_->Takes(AddService{ipvs, {}}));
  EXPECT_TRUE(backend_->Takes(AddItem{Attachment{"eth0"}}));
  EXPECT_TRUE(backend_->Takes(RemoveItem{TunnelPeer{}}));
  EXPECT_TRUE(backend_->Takes(RemoveItem{MssClamp{}}));
  EXPECT_TRUE(backend_->Takes(AddItem{AnsweredVip{Dataplane::kEbpf, {}, ""}}));
  EXPECT_FALSE(backend_->Takes(AddItem{AnsweredVip{Dataplane::kIpvs, {}, ""}}));
  EXPECT_FALSE(backend_->Takes(AddItem{Sysctl{}}));
  EXPECT_FALSE(backend_->Takes(RemoveItem{SilentVip{}}));
  EXPECT_FALSE(backend_->Takes(AddItem{Masquerade{}}));
}

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

TEST_F(EbpfBackendTest, InterfacesOfRealServersAreThoseOfTheirRoutes) {
  network_.AddRoute(Ip("10.0.1.1"), 3, Ip("10.0.1.250"), 1);
  network_.routes[Ip("10.0.9.9")].local = true;
  const std::vector<RealServer> reals = {Real("10.0.0.1:80"), Real("10.0.1.1:80"),
                                         Real("10.0.9.9:80"), Real("203.0.113.1:80")};
  EXPECT_EQ(*backend_->InterfacesOf(reals), (std::set<std::string>{"eth0", "eth1"}));
}

TEST_F(EbpfBackendTest, MapsOfAnotherLayoutAreRefusedWithTheMend) {
  GetArray<klvs_settings>(maps_, kSettingsMap).value()[0].layout = KLVS_LAYOUT + 1;
  const auto refused = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(Message(refused.status()).find("--cleanup"), std::string::npos);
}

TEST_F(EbpfBackendTest, OfSettingsOfAnotherSizeTheLayoutIsReadAllTheSame) {
  FakeMapStore maps;
  maps.Make(std::string(kSettingsMap), FakeMapStore::Kind::kArray, 4, 192, 1);
  maps.Mapped(kSettingsMap).value()[0] = 2;
  const auto refused = EbpfBackend::Adopt(maps, programs_, network_, clock_);
  EXPECT_NE(Message(refused.status()).find("the maps have layout 2, "), std::string::npos)
      << refused.status();
}

TEST_F(EbpfBackendTest, MapsThatContradictThemselvesAreRefusedNotFollowed) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  const klvs_address vip = Address("192.0.2.1");
  for (const uint32_t bad : {uint32_t{1} << 31, UINT32_MAX}) {
    klvs_service service = Service(web_);
    service.list_count = bad;
    ASSERT_TRUE(Put(maps_, kServicesMap, EncodeKey(vip.vip_id, web_), service).ok());
    EXPECT_EQ(backend_->Read().status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(EbpfBackend::Adopt(maps_, programs_, network_, clock_).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

class SmallTables : public EbpfBackendTest {
 protected:
  SmallTables()
      : EbpfBackendTest({.services = 4, .reals = 4, .lists = 8, .tables = 5000, .addresses = 16}) {}
};

TEST_F(SmallTables, AFullTableRefusesOneServiceAndSaysWhichTable) {
  ASSERT_TRUE(Do({AddService{web_, Config("rr")}, AddReal{web_, Real("10.0.0.1:80")}}).ok());
  const VirtualService before = Actual(web_);
  const absl::Status reals =
      Do({AddReal{web_, Real("10.0.0.2:80")}, AddReal{web_, Real("10.0.0.3:80")},
          AddReal{web_, Real("10.0.0.4:80")}});
  EXPECT_EQ(reals.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(Message(reals).find("real servers"), std::string::npos) << reals;
  EXPECT_EQ(Actual(web_), before);

  ASSERT_TRUE(Do({SetService{web_, Config("mh")}}).ok());
  const ServiceKey second = Key("192.0.2.2:80");
  const absl::Status tables = Do({AddService{second, Config("mh")}});
  EXPECT_EQ(tables.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(Message(tables).find("Maglev"), std::string::npos) << tables;
  EXPECT_FALSE(backend_->Read()->services.contains(second));
  EXPECT_EQ(Address("192.0.2.2").flags, 0U);

  // What the failed attempts had taken is free again after its rest.
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(Do({AddReal{web_, Real("10.0.0.2:80")}}).code() ==
              absl::StatusCode::kResourceExhausted);  // its table has no second place
  ASSERT_TRUE(Do({SetService{web_, Config("rr")}}).ok());
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(Do({AddReal{web_, Real("10.0.0.2:80")}, AddReal{web_, Real("10.0.0.3:80")}}).ok());
  EXPECT_TRUE(Do({AddService{second, Config("rr")}}).ok());
}

}  // namespace
}  // namespace kube_lvs::ebpf
