// Maps that another version left, that contradict themselves, and that are full.
#include "dataplane/ebpf/backend.h"

#include <chrono>
#include <string>

#include "base/status.h"
#include "dataplane/ebpf/backend_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

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
