// Two directors, each a real server of the other by DirectRouting: no request is lost, whoever has
// the claim, also after a takeover and when the old owner's agent is dead.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/tcp.h"
#include "dataplane/ebpf/testing/xdp.h"
#include "dataplane/ebpf/traffic/site.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

using Case = std::tuple<bool /* XDP */, Family>;

// client --+-- director 0
//      (switch)
//          +-- director 1
class DirectorsTest : public testing::TestWithParam<Case> {
 protected:
  DirectorsTest() {
    switch_.Sh("ip link add name sw0 type bridge; ip link set sw0 up");
    Host(client_, "client", Address(9));
    client_.Sh("ip route add " + Vip().ToString() + " dev eth0");
    for (const int n : {0, 1}) {
      const Namespace& host = directors_[n];
      Host(host, "d" + std::to_string(n), Address(n + 1));
      host.Sh("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; " +
              std::string("ip addr add ") + Vip().ToString() + " dev lo" + Nodad());
      servers_.push_back(std::make_unique<TcpServer>(
          host, "director" + std::to_string(n),
          Endpoint{*IpAddress::Parse(IsV4() ? "0.0.0.0" : "::"), kPort}));
      BpfOptions options;
      static int directors = 0;
      options.dir = PrivateBpfDir("fellow" + std::to_string(++directors));
      if (Xdp()) options.xdp_interfaces = {"eth0"};
      options.sizes = {.addresses = 64,
                       .services = 64,
                       .reals = 128,
                       .list_entries = 1024,
                       .table_slots = 16384,
                       .connections = 4096};
      auto opened = host.In([&] { return OpenEbpfDataplane(options, clock_); });
      if (!opened.ok()) {
        std::fprintf(stderr, "%s\n", opened.status().ToString().c_str());
        std::abort();
      }
      dataplanes_.push_back(*std::move(opened));
      dataplanes_.back().backend->SetClaims(true);
      ServiceConfig config;
      config.scheduler = "rr";
      std::vector<Step> steps = {AddItem{Attachment{"eth0"}}, AddService{Key(), config}};
      for (const int of : {1, 2}) {
        RealServer real;
        real.at = {*IpAddress::Parse(Address(of)), kPort};
        real.method = ForwardingMethod::kDirectRouting;
        steps.push_back(AddReal{Key(), real});
      }
      Do(n, steps);
    }
  }

  static bool Xdp() { return std::get<0>(GetParam()); }
  static bool IsV4() { return std::get<1>(GetParam()) == Family::kIpv4; }
  static std::string Nodad() { return IsV4() ? "" : " nodad"; }
  static std::string Address(int n) {
    return (IsV4() ? "10.0.0." : "2001:db8:10::") + std::to_string(n);
  }
  static IpAddress Vip() { return *IpAddress::Parse(Address(200)); }
  static ServiceKey Key() { return {Dataplane::kEbpf, Endpoint{Vip(), kPort}, Protocol::kTcp}; }
  static AnsweredVip Answered() { return {Dataplane::kEbpf, Vip(), "eth0"}; }

  void Host(const Namespace& host, const std::string& name, const std::string& address) {
    Wire(host, "eth0", switch_, "p-" + name);
    switch_.Sh("ip link set p-" + name + " master sw0");
    if (Xdp()) switch_.In([&] { AttachXdpPass("p-" + name); });
    host.Sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0; " +
            std::string(Xdp() ? "ethtool -K eth0 tx off >/dev/null; " : "") + "ip addr add " +
            address + (IsV4() ? "/24" : "/64") + " dev eth0" + Nodad());
  }
  void Do(int director, const std::vector<Step>& steps) {
    Apply(directors_[director], dataplanes_[static_cast<size_t>(director)], steps);
  }
  // Whom the client finds at the VIP, until its neighbours say otherwise.
  void ForgetNeighbours() { client_.Sh("ip neigh flush dev eth0"); }
  // Each request has an answer, half of them by each.
  void ExpectAllAnswered() {
    std::map<std::string, int> answers;
    for (int i = 0; i < 12; ++i) {
      const std::string answer = AskTcp(client_, {Vip(), kPort}, "x\n");
      ++answers[answer.substr(0, answer.find(' '))];
    }
    EXPECT_EQ(answers, (std::map<std::string, int>{{"director0", 6}, {"director1", 6}}));
    for (const int n : {0, 1}) {
      directors_[n].In([&] {
        const auto drops = dataplanes_[static_cast<size_t>(n)].backend->ReadDrops();
        ASSERT_TRUE(drops.ok()) << drops.status();
        for (const auto& [reason, count] : *drops) EXPECT_EQ(count, 0U) << reason << " at " << n;
      });
    }
  }
  uint64_t Connections(int director) {
    return directors_[director].In([&] {
      return dataplanes_[static_cast<size_t>(director)].backend->ReadStats()->services.at(Key())
          .connections;
    });
  }

  const Namespace switch_, client_;
  const Namespace directors_[2];
  const SystemClock clock_;
  std::vector<EbpfDataplane> dataplanes_;
  std::vector<std::unique_ptr<TcpServer>> servers_;
};

INSTANTIATE_TEST_SUITE_P(Stages, DirectorsTest,
                         testing::Combine(testing::Bool(),
                                          testing::Values(Family::kIpv4, Family::kIpv6)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) ? "Xdp" : "Tc") +
                                  (std::get<1>(info.param) == Family::kIpv4 ? "" : "OfIpv6");
                         });

TEST_P(DirectorsTest, NoRequestIsLostByEitherNorAfterATakeover) {
  Do(0, {AddItem{Answered()}});
  ExpectAllAnswered();
  EXPECT_EQ(Connections(0), 12U);
  EXPECT_EQ(Connections(1), 0U);  // what it delivered is not its own

  Do(0, {RemoveItem{Answered()}});
  Do(1, {AddItem{Answered()}});
  ForgetNeighbours();
  ExpectAllAnswered();
  EXPECT_EQ(Connections(0), 12U);
  EXPECT_EQ(Connections(1), 12U);
}

// Its programs still know that they once were to answer.
TEST_P(DirectorsTest, AnOwnerWhoseClaimRanOutDelivers) {
  Do(0, {AddItem{Answered()}});
  ExpectAllAnswered();
  ASSERT_TRUE(directors_[0].In([&] { return dataplanes_[0].backend->RenewClaims(1); }).ok());
  Do(1, {AddItem{Answered()}});
  ForgetNeighbours();
  ExpectAllAnswered();
  EXPECT_EQ(Connections(0), 12U);
  EXPECT_EQ(Connections(1), 12U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
