// Clients on the director itself, and in a pod on it, by real sockets: every method, both families,
// while it answers for the VIP and while a fellow does; of single VIPs, and of a network of them.
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/tcp.h"
#include "dataplane/host/host_backend.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// The addresses of one family: on one segment, and of a pod's link.
struct Site {
  std::string vip, director, real, link, pod, any;
  int length;
  std::string network;  // of VIPs
  std::string inside, outside;
};
const Site& SiteOf(Family family) {
  static const Site kV4 = {"10.0.0.200", "10.0.0.1",  "10.0.0.1",    "10.88.0.1",
                           "10.88.0.2",  "0.0.0.0",   24,            "10.0.0.64/27",
                           "10.0.0.77",  "10.0.0.96"};
  static const Site kV6 = {"2001:db8:10::200",
                           "2001:db8:10::1",
                           "2001:db8:10::1",
                           "2001:db8:88::1",
                           "2001:db8:88::2",
                           "::",
                           64,
                           "2001:db8:10::5:0/112",
                           "2001:db8:10::5:77",
                           "2001:db8:10::6:0"};
  return family == Family::kIpv4 ? kV4 : kV6;
}

using Case = std::tuple<std::pair<ForwardingMethod, bool /* source NAT */>, Family>;

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  const auto& [method, family] = info.param;
  return ToString(method.first) + (method.second ? "WithSourceNat" : "") +
         (family == Family::kIpv4 ? "" : "OfIpv6");
}

// pod --- director --+-- real1
//          (switch)  +-- real2
class LocalClientsTest : public testing::TestWithParam<Case> {
 protected:
  LocalClientsTest() {
    switch_.Sh("ip link add name sw0 type bridge; ip link set sw0 up");
    int n = 0;
    for (const Namespace* host : {&director_, &real1_, &real2_}) {
      const std::string port = "p" + std::to_string(n);
      Wire(*host, "eth0", switch_, port);
      switch_.Sh("ip link set " + port + " master sw0");
      // As distributions have it.
      host->Sh(
          "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=1 "
          "net.ipv4.conf.eth0.rp_filter=1");
      AddAddress(*host, At().director + (n == 0 ? "" : std::to_string(n)));
      if (n > 0) host->Sh("ip " + Kind() + "route add default via " + At().director);
      if (n > 0 && !IsNat()) {
        host->Sh(
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
            "ip addr add " +
            At().vip + " dev lo; ip route add local " + At().network + " dev lo");
      }
      ++n;
    }
    Wire(director_, "pod0", pod_, "eth0");
    AddAddress(director_, At().link, "pod0");
    AddAddress(pod_, At().pod);
    pod_.Sh("ip " + Kind() + "route add default via " + At().link);
    director_.Sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  }

  static ForwardingMethod Method() { return std::get<0>(GetParam()).first; }
  static bool SourceNat() { return std::get<0>(GetParam()).second; }
  static bool IsNat() { return Method() == ForwardingMethod::kNat; }
  static bool IsV4() { return std::get<1>(GetParam()) == Family::kIpv4; }
  static const Site& At() { return SiteOf(std::get<1>(GetParam())); }
  static std::string Kind() { return IsV4() ? "" : "-6 "; }
  static uint16_t RealPort() { return IsNat() ? 8080 : 80; }
  static void AddAddress(const Namespace& where, const std::string& ip,
                         const std::string& device = "eth0") {
    where.Sh("ip addr add " + ip + "/" + std::to_string(At().length) + " dev " + device +
             (IsV4() ? "" : " nodad"));
  }

  EbpfDataplane Open(const Namespace& where) {
    BpfOptions options;
    static int number = 0;
    options.dir = PrivateBpfDir("local" + std::to_string(++number));
    options.sizes = {.addresses = 64,
                     .services = 8,
                     .reals = 16,
                     .list_entries = 256,
                     .table_slots = 16384,
                     .connections = 4096};
    auto opened = where.In([&] { return OpenEbpfDataplane(options, clock_); });
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) std::abort();
    return *std::move(opened);
  }
  std::unique_ptr<host::HostBackend> OpenHost() {
    return director_.In([] {
      return std::make_unique<host::HostBackend>(
          *host::OpenAddresses(), *host::OpenLocalRoutes(), *host::OpenLocalClients(),
          *host::OpenMasqueradeTable(), *host::OpenAnswerClaims(),
          host::Sysctls("/proc/sys", testing::TempDir() + "/local-clients-sysctls"));
    });
  }

  // Each step to the backend of the director that takes it, in this order.
  void Apply(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      Backend* backend = host_.get();
      if (dataplane_.backend->Takes(step)) backend = dataplane_.backend.get();
      const auto statuses = director_.In([&] { return backend->Apply({&step, 1}); });
      ASSERT_TRUE(statuses[0].ok()) << ToString(step) << ": " << statuses[0];
    }
  }

  static Cidr Network() { return *Cidr::Parse(At().network); }
  static ServiceKey KeyOf(const Cidr& vips) {
    if (!vips.IsHost()) return {Dataplane::kEbpf, Prefix{vips, 80, 80}, Protocol::kTcp};
    return {Dataplane::kEbpf, Endpoint{vips.address, 80}, Protocol::kTcp};
  }
  static int LengthOf(const Cidr& vips) { return vips.IsHost() ? 0 : vips.length; }
  static AnsweredVip Answer(const Cidr& vips = Cidr::Host(Ip(At().vip))) {
    return {Dataplane::kEbpf, vips.address, "eth0", LengthOf(vips)};
  }
  static LocalVip Local(const Cidr& vips = Cidr::Host(Ip(At().vip))) {
    return {vips.address, Ip(At().director), LengthOf(vips)};
  }

  // What an agent sets up on a director; it answers for no VIP yet.
  void MakeDirector(const std::vector<std::string>& reals,
                    const Cidr& vips = Cidr::Host(Ip(At().vip))) {
    const ServiceKey key = KeyOf(vips);
    if (Method() == ForwardingMethod::kTunnel) {
      for (const Namespace* real : {&real1_, &real2_}) {
        of_reals_.push_back(Open(*real));
        EbpfBackend& backend = *of_reals_.back().backend;
        const std::vector<Step> steps = {
            AddItem{Attachment{"eth0"}},
            AddItem{TunnelPeer{Ip(At().director), vips.address, LengthOf(vips)}}};
        for (const auto& status : real->In([&] { return backend.Apply(steps); })) {
          ASSERT_TRUE(status.ok()) << status;
        }
      }
    }
    dataplane_ = Open(director_);
    host_ = OpenHost();
    ServiceConfig config;
    config.scheduler = "rr";
    config.source_nat = SourceNat();
    const uint32_t overhead = Method() != ForwardingMethod::kTunnel ? 0 : IsV4() ? 20 : 40;
    std::vector<Step> steps = {AddItem{LocalLink{1500 - overhead}}, AddItem{Attachment{"eth0"}},
                               AddItem{Attachment{kLocalLinkFar}}, AddService{key, config}};
    for (const std::string& address : reals) {
      RealServer real;
      real.at = {Ip(address), RealPort()};
      real.method = Method();
      steps.push_back(AddReal{key, real});
    }
    if (IsV4() && !IsNat()) steps.push_back(AddItem{Sysctl{"net/ipv4/conf/eth0/rp_filter", "2"}});
    steps.push_back(AddItem{Local(vips)});
    Apply(steps);
  }

  // Whom each of four connections reached, and as whom; a large one is among them.
  std::map<std::string, int> Reached(const Namespace& from, const std::string& vip = At().vip) {
    std::map<std::string, int> out;
    for (int i = 0; i < 4; ++i) {
      const std::string request = std::string(i == 2 ? 60000 : 10, 'x') + "\n";
      const std::string answer = AskTcp(from, {Ip(vip), 80}, request);
      const size_t line = answer.find('\n');
      if (line == std::string::npos || answer.substr(line + 1) != request) {
        ++out["nobody"];
      } else {
        ++out[answer.substr(0, line)];
      }
    }
    return out;
  }
  void ExpectNoDrops() {
    const auto stats = director_.In([&] { return dataplane_.backend->ReadStats(); });
    ASSERT_TRUE(stats.ok());
    for (const auto& [reason, count] : stats->drops) {
      EXPECT_EQ(count, 0U) << reason;
    }
  }

  Namespace switch_, director_, real1_, real2_, pod_;
  SystemClock clock_;
  EbpfDataplane dataplane_;
  std::unique_ptr<host::HostBackend> host_;
  std::vector<EbpfDataplane> of_reals_;
};

TEST_P(LocalClientsTest, AreBalancedByTheDirectorThatTheyAreOn) {
  const TcpServer one(real1_, "real1", {Ip(At().any), RealPort()});
  const TcpServer two(real2_, "real2", {Ip(At().any), RealPort()});
  MakeDirector({At().real + "1", At().real + "2"});
  const auto each = [](const std::string& client) {
    return std::map<std::string, int>{{"real1 sees " + client, 2}, {"real2 sees " + client, 2}};
  };
  for (const bool active : {false, true}) {
    if (active) Apply({AddItem{Answer()}});
    EXPECT_EQ(Reached(director_), each(At().director)) << active;
    EXPECT_EQ(Reached(pod_), each(SourceNat() ? At().director : At().pod)) << active;
  }
  ExpectNoDrops();
  Apply({RemoveItem{Answer()}, RemoveItem{Local()}, RemoveService{KeyOf(Local().Vips())},
         RemoveItem{Attachment{kLocalLinkFar}}, RemoveItem{LocalLink{1500}}});
  director_.Sh("! ip link show kube-lvs0 2>/dev/null");
  director_.Sh("! ip " + Kind() + "route show | grep -q " + At().vip);
}

TEST_P(LocalClientsTest, AreBalancedWhenTheyReachIntoANetworkOfVips) {
  const TcpServer one(real1_, "real1", {Ip(At().any), RealPort()});
  const TcpServer two(real2_, "real2", {Ip(At().any), RealPort()});
  MakeDirector({At().real + "1", At().real + "2"}, Network());
  const auto each = [](const std::string& client) {
    return std::map<std::string, int>{{"real1 sees " + client, 2}, {"real2 sees " + client, 2}};
  };
  for (const bool active : {false, true}) {
    if (active) Apply({AddItem{Answer(Network())}});
    for (const std::string& vip : {Network().address.ToString(), At().inside}) {
      SCOPED_TRACE(vip);
      EXPECT_EQ(Reached(director_, vip), each(At().director)) << active;
      EXPECT_EQ(Reached(pod_, vip), each(SourceNat() ? At().director : At().pod)) << active;
    }
  }
  director_.Sh("! ip route get " + At().outside + " | grep -q kube-lvs0");
  ExpectNoDrops();
  Apply({RemoveItem{Answer(Network())}, RemoveItem{Local(Network())},
         RemoveService{KeyOf(Network())}, RemoveItem{Attachment{kLocalLinkFar}},
         RemoveItem{LocalLink{1500}}});
  director_.Sh("! ip " + Kind() + "route show | grep -q kube-lvs0");
}

// The director is one of its real servers; its clients are elsewhere, in a pod on it, and itself.
TEST_P(LocalClientsTest, ADirectorThatIsARealServerOfItsOwnAnswersWithSourceNat) {
  if (!SourceNat()) return;
  const TcpServer here(director_, "director", {Ip(At().any), RealPort()});
  const TcpServer one(real1_, "real1", {Ip(At().any), RealPort()});
  MakeDirector({At().director, At().real + "1"});
  Apply({AddItem{Answer()}});
  const std::map<std::string, int> both = {
      {"director sees " + LocalLinkSource(std::get<1>(GetParam())).ToString(), 2},
      {"real1 sees " + At().director, 2}};
  EXPECT_EQ(Reached(real2_), both);
  EXPECT_EQ(Reached(pod_), both);
  EXPECT_EQ(Reached(director_), both);
  ExpectNoDrops();
  // What is no reply to anything must not go round by the route that brought it.
  const std::string source = LocalLinkSource(std::get<1>(GetParam())).ToString();
  const std::string count = R"($(ip -s link show kube-lvs1 | awk "/RX/ {getline; print \$2}"))";
  director_.Sh("before=" + count + R"(; bash -c "echo stray >/dev/udp/)" + source +
               R"(/9"; after=)" + count +
               "; test $after -gt $before -a $after -lt $((before + 10))");
}

// The fellow that has the claim balances what it gets as a real server again, and may send it to
// the real server here. That is no connection of before, when the claim was here: handed to the
// stack, it would come by the VIP's route, and go round.
TEST_P(LocalClientsTest, WhatAFellowSendsBackToAStandbyDoesNotGoRound) {
  if (Method() != ForwardingMethod::kDirectRouting) return;
  const std::string fellow = At().real + "1";
  real1_.Sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
            "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0; "
            "ip addr del " +
            At().vip + (IsV4() ? "/32" : "/128") + " dev lo; ip " + Kind() + "route add " +
            At().vip + " via " + At().director);
  MakeDirector({});
  const ServiceKey datagrams = {Dataplane::kEbpf, Endpoint{Ip(At().vip), 80}, Protocol::kUdp};
  ServiceConfig config;
  config.scheduler = "rr";
  RealServer here, there;
  here.at = {Ip(At().director), 80};
  there.at = {Ip(fellow), 80};
  here.method = there.method = ForwardingMethod::kDirectRouting;
  here.weight = 0;
  Apply({AddService{datagrams, config}, AddReal{datagrams, here}, AddReal{datagrams, there}});
  dataplane_.backend->SetClaims(true);
  // Only who knows the fellow's link address can tell what comes from it.
  real1_.Sh("ip link set eth0 address 02:00:00:00:00:11");
  director_.Sh("ip neigh replace " + fellow + " lladdr 02:00:00:00:00:11 dev eth0 nud permanent");
  const absl::Status refreshed = director_.In([&] { return dataplane_.backend->Refresh(); });
  ASSERT_TRUE(refreshed.ok()) << refreshed;
  int asked = 0;
  for (const Namespace* from : {&director_, &pod_}) {
    from->Sh("bash -c \"echo x >/dev/udp/" + At().vip + "/80\"");
    ++asked;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    std::map<std::string, uint64_t> drops;
    do {
      drops = director_.In([&] { return dataplane_.backend->ReadDrops().value(); });
      std::erase_if(drops, [](const auto& drop) { return drop.second == 0; });
    } while (drops["loop"] < static_cast<uint64_t>(asked) &&
             std::chrono::steady_clock::now() < give_up);
    EXPECT_EQ(drops, (std::map<std::string, uint64_t>{{"loop", asked}}));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, LocalClientsTest,
    testing::Combine(testing::Values(std::pair(ForwardingMethod::kNat, false),
                                     std::pair(ForwardingMethod::kNat, true),
                                     std::pair(ForwardingMethod::kDirectRouting, false),
                                     std::pair(ForwardingMethod::kTunnel, false)),
                     testing::Values(Family::kIpv4, Family::kIpv6)),
    NameOf);

}  // namespace
}  // namespace kube_lvs::ebpf
