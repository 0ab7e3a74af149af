// Which objects a change makes due.
#include "operator/memory.h"

#include <gtest/gtest.h>

namespace kube_lvs::controller {
namespace {

constexpr TimePoint kNow{std::chrono::hours(1)};
using Keys = std::vector<std::string>;

api::LvsService Service(const std::string& key, const std::string& vip = "",
                        const std::string& created = "2026-01-01") {
  api::LvsService out;
  out.meta.name_space = key.substr(0, key.find('/'));
  out.meta.name = key.substr(key.find('/') + 1);
  out.meta.creation_timestamp = created;
  out.spec.ports.emplace_back().port = 80;
  if (!vip.empty()) out.status.addresses = {{.value = vip, .pool_name = "edge"}};
  return out;
}

std::shared_ptr<const api::EndpointSlice> Slice(const std::string& service) {
  auto out = std::make_shared<api::EndpointSlice>();
  out->meta.name_space = "shop";
  out->service_name = service;
  return out;
}

std::shared_ptr<const api::LvsNode> Report(Keys answers_for, const std::string& version = "") {
  auto out = std::make_shared<api::LvsNode>();
  out->status.answers_for = std::move(answers_for);
  out->status.programmed_resource_version = version;
  return out;
}

std::shared_ptr<const api::LvsDirectorGroup> Group(const std::string& dataplane) {
  auto out = std::make_shared<api::LvsDirectorGroup>();
  out->status.dataplane = dataplane;
  return out;
}

std::shared_ptr<const api::LvsAddressPool> Pool(const std::string& name, Keys addresses) {
  auto out = std::make_shared<api::LvsAddressPool>();
  out->meta.name = name;
  out->spec.addresses = std::move(addresses);
  return out;
}

std::shared_ptr<const api::KubeNode> Node(const std::string& address,
                                          const std::string& version = "1") {
  auto out = std::make_shared<api::KubeNode>();
  out->meta.resource_version = version;
  out->internal_addresses = {address};
  return out;
}

api::Condition Condition(const std::string& type, const std::string& status) {
  api::Condition out;
  out.type = type;
  out.status = status;
  return out;
}

class MemoryTest : public testing::Test {
 protected:
  // What became due since the last call: the keys, each once, in order; "+" for later ones.
  Keys TakeDue() {
    std::set<std::string> keys;
    for (const Due& due : memory_.TakeDue()) {
      keys.insert(due.key + (due.after > Duration::zero() ? "+" : ""));
    }
    return {keys.begin(), keys.end()};
  }
  void Uses(const std::string& key, std::set<std::string> services,
            const std::string& group = "default") {
    memory_.ServiceUses(key, group, std::move(services));
    TakeDue();
  }

  Memory memory_;
};

TEST_F(MemoryTest, OfTwoThatHaveTheSameVipTheOlderKeepsIt) {
  memory_.Inherit({Service("shop/young", "192.0.2.1", "2026-02-01"),
                   Service("shop/old", "192.0.2.1", "2026-01-01")},
                  {}, kNow);
  EXPECT_EQ(memory_.book().HoldersOf(*Cidr::Parse("192.0.2.1")), Keys{"shop/old"});
  EXPECT_EQ(TakeDue(), (Keys{"service/shop/old", "service/shop/young"}));
  EXPECT_EQ(TakeDue(), Keys());
}

TEST_F(MemoryTest, AVipThatADirectorStillAnswersForRests) {
  memory_.Inherit({Service("shop/web", "192.0.2.1")}, {{"a", Report({"192.0.2.1", "192.0.2.2"})}},
                  kNow);
  EXPECT_EQ(memory_.book().RestsUntil(*Cidr::Parse("192.0.2.2"), "shop/x", kNow), kNow + kRest);
  EXPECT_TRUE(memory_.book().Held(*Cidr::Parse("192.0.2.1")));
}

TEST_F(MemoryTest, ASliceMakesTheUsersOfItsServicesDue) {
  Uses("shop/web", {"shop/a"});
  Uses("shop/mail", {"shop/b"});
  memory_.SliceChanged("shop/1", Slice("a"));
  EXPECT_EQ(TakeDue(), Keys{"service/shop/web"});
  EXPECT_EQ(memory_.SlicesOf("shop/a").size(), 1u);
  memory_.SliceChanged("shop/1", Slice("b"));  // it moved
  EXPECT_EQ(TakeDue(), (Keys{"service/shop/mail", "service/shop/web"}));
  EXPECT_TRUE(memory_.SlicesOf("shop/a").empty());
  memory_.SliceChanged("shop/1", nullptr);
  EXPECT_EQ(TakeDue(), Keys{"service/shop/mail"});
  EXPECT_TRUE(memory_.SlicesOf("shop/b").empty());
}

TEST_F(MemoryTest, AServiceThatNobodyUsesAnyMoreMakesNothingDue) {
  Uses("shop/web", {"shop/a"});
  Uses("shop/web", {"shop/b"});
  memory_.KubeServiceChanged("shop/a");
  EXPECT_EQ(TakeDue(), Keys());
  memory_.KubeServiceChanged("shop/b");
  EXPECT_EQ(TakeDue(), Keys{"service/shop/web"});
}

TEST_F(MemoryTest, AnAnswerMakesTheHoldersOfItsVipDue) {
  memory_.Inherit({Service("shop/web", "192.0.2.1"), Service("shop/x")}, {}, kNow);
  memory_.ReportChanged("a", Report({}), {});
  TakeDue();
  memory_.ReportChanged("a", Report({"192.0.2.1"}), {});
  EXPECT_EQ(TakeDue(), Keys{"service/shop/web"});
}

TEST_F(MemoryTest, ANewerVersionMakesOnlyWhatIsNotProgrammedDue) {
  memory_.Judged("shop/done", {Condition("Programmed", "True")});
  memory_.Judged("shop/waits", {Condition("Programmed", "Unknown")});
  memory_.ReportChanged("a", Report({}, "1"), {});
  TakeDue();
  memory_.ReportChanged("a", Report({}, "2"), {});
  EXPECT_EQ(TakeDue(), Keys{"service/shop/waits"});
}

TEST_F(MemoryTest, AGroupMakesItsServicesDueOnlyWhenTheyMayFareDifferently) {
  Uses("shop/web", {}, "default");
  Uses("shop/other", {}, "other");
  memory_.GroupChanged("default", Group("eBPF"), {});
  EXPECT_EQ(TakeDue(), Keys{"service/shop/web"});
  memory_.GroupChanged("default", Group("eBPF"), {});
  EXPECT_EQ(TakeDue(), Keys());
  memory_.GroupChanged("default", nullptr, {{"other", Group("IPVS")}});
  EXPECT_EQ(TakeDue(), (Keys{"default-group/", "group/other+", "service/shop/web"}));
}

TEST_F(MemoryTest, ANodesHeartbeatMakesNothingDueItsAddressEverything) {
  Uses("shop/web", {});
  const PoolMap pools = {{"edge", Pool("edge", {"192.0.2.0/24"})}};
  const GroupMap groups = {{"default", Group("")}};
  memory_.NodesChanged({{"a", Node("172.30.0.1", "1")}}, {}, pools, groups);
  TakeDue();
  memory_.NodesChanged({{"a", Node("172.30.0.1", "2")}}, {}, pools, groups);
  EXPECT_EQ(TakeDue(), Keys());
  memory_.NodesChanged({{"a", Node("172.30.0.2", "3")}}, {}, pools, groups);
  EXPECT_EQ(TakeDue(), (Keys{"group/default", "pool/edge", "service/shop/web"}));
}

TEST_F(MemoryTest, APoolMakesAllServicesDueWhenItGrantsSomethingElse) {
  Uses("shop/web", {});
  memory_.PoolsChanged({{"edge", Pool("edge", {"192.0.2.0/24"})}});
  EXPECT_EQ(TakeDue(), (Keys{"pool/edge", "service/shop/web"}));
  memory_.PoolsChanged({{"edge", Pool("edge", {"192.0.2.0/24"})}});
  EXPECT_EQ(TakeDue(), Keys());
}

TEST_F(MemoryTest, ANamespaceMakesItsServicesDue) {
  Uses("shop/web", {});
  Uses("shop2/web", {});
  memory_.NamespaceChanged("shop");
  EXPECT_EQ(TakeDue(), Keys{"service/shop/web"});
}

TEST_F(MemoryTest, AnAddressGivenBackMakesThoseWhoWaitDueAfterItsRest) {
  memory_.Granted("shop/web", {},
                  {.addresses = {{.value = "192.0.2.1", .pool_name = "edge"}}, .satisfied = true},
                  kNow);
  memory_.Granted("shop/waits", {}, {.reason = kPoolExhausted}, kNow);
  EXPECT_EQ(TakeDue(), Keys{"pool/edge+"});
  memory_.ForgetService("shop/web", kNow);
  EXPECT_EQ(TakeDue(), (Keys{"pool/edge+", "service/shop/waits+"}));
}

TEST_F(MemoryTest, ATickMakesThoseDueOfWhomNoWatchTells) {
  memory_.Granted("shop/conflict", {}, {.reason = kAddressConflict}, kNow);
  memory_.Granted("shop/exhausted", {}, {.reason = kPoolExhausted}, kNow);
  memory_.Tick({{"shop/odd", "why"}});
  EXPECT_EQ(TakeDue(),
            (Keys{"default-group/", "service/shop/conflict", "service/shop/odd", "tick/+"}));
}

TEST_F(MemoryTest, CountsFollowTheServices) {
  memory_.ServiceUses("shop/a", "default", {});
  memory_.ServiceUses("shop/b", "default", {});
  EXPECT_EQ(TakeDue(), Keys{"group/default+"});
  memory_.Judged("shop/a", {Condition("Ready", "True")});
  memory_.Judged("shop/b", {});
  EXPECT_EQ(memory_.ServicesOf("default"), 2);
  EXPECT_EQ(memory_.NotReady(), 1u);
  memory_.ServiceUses("shop/b", "other", {});
  EXPECT_EQ(TakeDue(), (Keys{"group/default+", "group/other+"}));
  memory_.ForgetService("shop/b", kNow);
  EXPECT_EQ(memory_.ServicesOf("default"), 1);
  EXPECT_EQ(memory_.ServicesOf("other"), 0);
  EXPECT_EQ(memory_.Services(), 1u);
  EXPECT_EQ(memory_.NotReady(), 0u);
}

}  // namespace
}  // namespace kube_lvs::controller
