// lvsadm's own dataplane upon maps in memory: each command adopts anew what the one before left.
#include "dataplane/ebpf/alone.h"

#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

using Codes = std::vector<absl::StatusCode>;

ServiceKey Key(const std::string& at) {
  return {Dataplane::kEbpf, *Endpoint::Parse(at), Protocol::kTcp};
}

RealServer Real(const std::string& at) {
  RealServer real;
  real.at = *Endpoint::Parse(at);
  real.method = ForwardingMethod::kDirectRouting;
  return real;
}

ServiceConfig RoundRobin() {
  ServiceConfig config;
  config.scheduler = "rr";
  return config;
}

class FakeLocalClients final : public host::LocalClients {
 public:
  std::set<NodeItem> items;
  absl::Status refuse;  // what Add of a LocalLink returns when not OK

  absl::StatusOr<std::set<NodeItem>> Read() override { return items; }
  absl::Status Add(const LocalLink& link) override {
    if (!refuse.ok()) return refuse;
    std::erase_if(items, [](const NodeItem& i) { return std::holds_alternative<LocalLink>(i); });
    items.insert(link);
    return absl::OkStatus();
  }
  absl::Status Remove(const LocalLink&) override {
    items.clear();
    return absl::OkStatus();
  }
  absl::Status Add(const LocalVip& vip) override {
    if (items.empty()) return absl::NotFoundError("no link");
    items.insert(vip);
    return absl::OkStatus();
  }
  absl::Status Remove(const LocalVip& vip) override {
    items.erase(vip);
    return absl::OkStatus();
  }
};

class AloneTest : public testing::Test {
 protected:
  AloneTest() {
    MakeMaps(maps_);
    network_.AddLink(2, "eth0");
    network_.AddLink(3, "eth1");
    network_.AddRoute(*IpAddress::Parse("10.0.0.1"), 2, *IpAddress::Parse("10.0.0.250"), 1);
  }

  std::unique_ptr<Alone> Open() {
    auto opened = Alone::Adopt(maps_, programs_, network_, clock_, &local_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }

  Codes Apply(const std::vector<Step>& steps) {
    Codes out;
    for (const absl::Status& status : Open()->Apply(steps)) out.push_back(status.code());
    return out;
  }

  ServiceTable Services() {
    return ServicesOf(ReadSwept(maps_, programs_, Content::kRules).value());
  }

  FakeMapStore maps_;
  FakeNetwork network_;
  FakePrograms programs_;
  FakeClock clock_;
  FakeLocalClients local_;
};

TEST_F(AloneTest, ServesEveryEthernetInterfaceButLo) {
  Link lo;
  lo.index = 1;
  lo.name = "lo";
  lo.loopback = true;
  lo.mac.bytes = {2};
  network_.links.push_back(lo);
  Link tunnel;
  tunnel.index = 4;
  tunnel.name = "tunl0";
  network_.links.push_back(tunnel);
  network_.AddLink(6, "port");
  network_.links.back().master = 7;
  network_.AddLink(7, "bridge");
  network_.links.back().kind = "bridge";
  network_.AddLink(8, "red");
  network_.links.back().kind = "vrf";
  network_.AddLink(9, "in-red");
  network_.links.back().master = 8;
  ASSERT_TRUE(Open()->Serve().ok());
  EXPECT_EQ(programs_.attached, (std::set<uint32_t>{2, 3, 7, 8, 9}));
  network_.AddLink(5, "eth2");
  ASSERT_TRUE(Open()->Serve().ok());
  EXPECT_TRUE(programs_.attached.contains(5)) << "one that came later";
  programs_.refuse = absl::AlreadyExistsError("an agent's");
  EXPECT_EQ(Open()->Serve().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(AloneTest, ClientsOnTheHostReachVipsThatAreNoAddressesOfIt) {
  const IpAddress vip = *IpAddress::Parse("192.0.2.1");
  const IpAddress source = *IpAddress::Parse("10.0.0.250");
  network_.AddLink(8, kLocalLink);
  network_.AddLink(9, kLocalLinkFar);
  RealServer tunnelled = Real("10.0.0.1:81");
  tunnelled.method = ForwardingMethod::kTunnel;
  tunnelled.tunnel = {.type = TunnelType::kGue, .port = 6080};
  const auto serve = [this] {
    const auto alone = Open();
    ASSERT_TRUE(alone->Serve().ok());
    ASSERT_TRUE(alone->ServeLocalClients().ok());
  };
  Apply({AddService{Key("192.0.2.1:80"), RoundRobin()},
         AddReal{Key("192.0.2.1:80"), Real("10.0.0.1:80")}});
  serve();
  EXPECT_EQ(local_.items, (std::set<NodeItem>{LocalLink{1500}, LocalVip{vip, source}}));
  EXPECT_EQ(programs_.attached, (std::set<uint32_t>{2, 3, 9}));
  Apply({AddService{Key("192.0.2.1:81"), RoundRobin()}, AddReal{Key("192.0.2.1:81"), tunnelled}});
  serve();
  EXPECT_EQ(local_.items, (std::set<NodeItem>{LocalLink{1468}, LocalVip{vip, source}}));
  // keepalived has made it the host's.
  network_.routes[vip].local = true;
  serve();
  EXPECT_EQ(local_.items, std::set<NodeItem>{});
  EXPECT_EQ(programs_.attached, (std::set<uint32_t>{2, 3}));
  network_.routes.erase(vip);
  serve();
  EXPECT_EQ(local_.items, (std::set<NodeItem>{LocalLink{1468}, LocalVip{vip, source}}));
  Apply({RemoveService{Key("192.0.2.1:80")}, RemoveService{Key("192.0.2.1:81")}});
  serve();
  EXPECT_EQ(local_.items, std::set<NodeItem>{});
}

TEST_F(AloneTest, ClientsElsewhereAreServedWhereThoseOnTheHostCannotBe) {
  local_.refuse = absl::AlreadyExistsError("somebody's");
  Apply({AddService{Key("192.0.2.1:80"), RoundRobin()},
         AddReal{Key("192.0.2.1:80"), Real("10.0.0.1:80")}});
  const auto alone = Open();
  ASSERT_TRUE(alone->Serve().ok());
  EXPECT_TRUE(absl::IsAlreadyExists(alone->ServeLocalClients()));
  EXPECT_EQ(programs_.attached, (std::set<uint32_t>{2, 3}));
  EXPECT_EQ(local_.items, std::set<NodeItem>{});
}

TEST_F(AloneTest, ARouteThatCameLaterIsTakenByTheNextCommand) {
  const Step add = AddReal{Key("192.0.2.1:80"), Real("10.0.0.2:80")};
  ASSERT_EQ(Apply({AddService{Key("192.0.2.1:80"), RoundRobin()}, add}),
            (Codes{absl::StatusCode::kOk, absl::StatusCode::kOk}));
  const auto reals = GetArray<klvs_real>(maps_, kRealsMap).value();
  EXPECT_EQ(reals[1].ifindex, 0U);
  network_.AddRoute(*IpAddress::Parse("10.0.0.2"), 3, *IpAddress::Parse("10.0.0.250"), 2);
  ASSERT_TRUE(Open()->Serve().ok());
  EXPECT_EQ(reals[1].ifindex, 3U);
}

TEST_F(AloneTest, EachStepStandsByItself) {
  const ServiceKey web = Key("192.0.2.1:80"), other = Key("192.0.2.2:80");
  ServiceConfig unknown = RoundRobin();
  unknown.scheduler = "nonsense";
  using enum absl::StatusCode;
  EXPECT_EQ(Apply({AddReal{web, Real("10.0.0.1:80")}, AddService{web, RoundRobin()},
                   AddService{web, RoundRobin()}, AddReal{web, Real("10.0.0.1:80")},
                   AddReal{web, Real("10.0.0.1:80")}, AddReal{web, Real("10.0.0.2:80")},
                   AddService{other, unknown}, RemoveService{other},
                   RemoveReal{web, Real("10.0.0.3:80").at}, SetReal{web, Real("10.0.0.2:80")}}),
            (Codes{kNotFound, kOk, kAlreadyExists, kOk, kAlreadyExists, kOk, kUnimplemented,
                   kNotFound, kNotFound, kOk}));
  const ServiceTable services = Services();
  ASSERT_EQ(services.size(), 1U);
  EXPECT_EQ(services.at(web).reals,
            (std::vector<RealServer>{Real("10.0.0.1:80"), Real("10.0.0.2:80")}));
}

TEST_F(AloneTest, ZeroesOneServiceOrAll) {
  const ServiceKey one = Key("192.0.2.1:80"), two = Key("192.0.2.2:80");
  Apply({AddService{one, RoundRobin()}, AddReal{one, Real("10.0.0.1:80")},
         AddService{two, RoundRobin()}, AddReal{two, Real("10.0.0.1:80")}});
  const klvs_counters counted = {
      .packets = 5, .bytes = 500, .connections = 1, .reply_packets = 0, .reply_bytes = 0};
  for (const uint32_t id : {1U, 2U}) {
    for (const auto map : {kServiceCountersMap, kRealCountersMap}) {
      maps_.SetOnCpu(map, id, 1, AsBytes(counted));
    }
  }
  const auto packets = [&](const ServiceKey& key) {
    const Rules rules = ReadSwept(maps_, programs_, Content::kAll).value();
    const auto rule = std::ranges::find(rules, key, &ReadService::key);
    return std::pair(rule->counters.packets, rule->reals.at(0).stats.counters.packets);
  };
  using Packets = std::pair<uint64_t, uint64_t>;
  ASSERT_EQ(packets(one), Packets(5, 5));
  EXPECT_EQ(ReadSwept(maps_, programs_, Content::kRules)->at(0).counters, Counters{});
  EXPECT_EQ(Open()->Zero(Key("192.0.2.3:80")).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Open()->Zero(one).ok());
  EXPECT_EQ(packets(one), Packets(0, 0));
  EXPECT_EQ(packets(two), Packets(5, 5));
  ASSERT_TRUE(Open()->Zero(std::nullopt).ok());
  EXPECT_EQ(packets(two), Packets(0, 0));
}

TEST_F(AloneTest, TimeoutsInSecondsWhateverTheKernelsTick) {
  auto& settings = GetArray<klvs_settings>(maps_, kSettingsMap).value()[0];
  settings.hz = 250;
  settings.timeouts[KLVS_FIN_WAIT] = 120 * 250;
  ASSERT_TRUE(
      Open()->SetTimeouts({.tcp_seconds = 60, .tcp_fin_seconds = 0, .udp_seconds = 9}).ok());
  EXPECT_EQ(settings.timeouts[KLVS_ESTABLISHED], 15000U);
  EXPECT_EQ(ReadTimeouts(maps_).value(),
            (IpvsTimeouts{.tcp_seconds = 60, .tcp_fin_seconds = 120, .udp_seconds = 9}));
  // What would overflow changes nothing.
  EXPECT_EQ(Open()->SetTimeouts({.tcp_seconds = 9000000, .udp_seconds = 5}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadTimeouts(maps_)->udp_seconds, 9U);
}

TEST_F(AloneTest, CountsAreSweptBeforeTheyAreShown) {
  ASSERT_TRUE(ReadSwept(maps_, programs_, Content::kRules).ok());
  EXPECT_EQ(programs_.swept_sets, maps_.Capacity(kConnsMap).value());
}

TEST_F(AloneTest, RemovesAllServices) {
  Apply({AddService{Key("192.0.2.1:80"), RoundRobin()},
         AddService{Key("192.0.2.2:80"), RoundRobin()}});
  ASSERT_TRUE(Open()->RemoveServices().ok());
  EXPECT_EQ(Services(), ServiceTable{});
}

}  // namespace
}  // namespace kube_lvs::ebpf
