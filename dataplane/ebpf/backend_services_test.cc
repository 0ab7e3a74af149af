// Services: what is applied is read back, appears at once and is taken over by a start.
#include "dataplane/ebpf/backend.h"

#include <string>
#include <vector>

#include "dataplane/ebpf/backend_fixture.h"
#include "dataplane/ebpf/rules.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

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

}  // namespace
}  // namespace kube_lvs::ebpf
