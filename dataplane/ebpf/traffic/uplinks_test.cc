// Uplinks that are no plain interface: VLAN devices, bonds, jumbo frames. Real TCP by every method.
// Runs in guests, as this machine's kernel need not have such devices.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/tcp.h"
#include "dataplane/ebpf/testing/xdp.h"
#include "dataplane/ebpf/traffic/site.h"
#include "dataplane/model/state.h"
#include "dataplane/model/step.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

constexpr MapSizes kSizes = {.addresses = 64,
                             .services = 64,
                             .reals = 128,
                             .list_entries = 1024,
                             .table_slots = 16384,
                             .connections = 4096};
constexpr int kRequests = 4;

// One of the director's interfaces, on a segment of its own.
struct Uplink {
  std::string name;
  int segment;
  int mtu;
  std::string test;
};
const std::array<Uplink, 5> kUplinks = {{{"eth0.10", 1, 1500, "VlanDevice"},
                                         {"bond0", 2, 1500, "Bond"},
                                         {"bond0.20", 3, 1500, "VlanDeviceOnABond"},
                                         {"bond1", 4, 1500, "BondNamedForXdp"},
                                         {"jumbo0", 5, 9000, "JumboFrames"}}};

std::string Network(const Uplink& uplink, Family family) {
  const std::string n = std::to_string(uplink.segment);
  return family == Family::kIpv4 ? "10.0." + n + "." : "fd00:0:0:" + n + "::";
}
std::string Prefix(const Uplink& uplink, Family family) {
  return Network(uplink, family) + (family == Family::kIpv4 ? "0/24" : "/64");
}
std::string Vip(const Uplink& uplink, Family family, ForwardingMethod method) {
  const std::string n = std::to_string(10 * uplink.segment + static_cast<int>(method));
  return (family == Family::kIpv4 ? "192.0.2." : "2001:db8::") + n;
}
std::string Length(Family family) { return family == Family::kIpv4 ? "/24" : "/64"; }

constexpr std::array kMethods = {ForwardingMethod::kNat, ForwardingMethod::kDirectRouting,
                                 ForwardingMethod::kTunnel};
constexpr std::array kFamilies = {Family::kIpv4, Family::kIpv6};

// A client and two real servers on each uplink's segment. The real servers unpack by the kernel's
// own devices.
class Lab {
 public:
  static Lab& Get() {
    static auto& lab = *new Lab;
    return lab;
  }

  const Namespace& director() const { return director_; }
  const Namespace& at_switch() const { return switch_; }
  const Namespace& client(const Uplink& uplink) const {
    return *clients_[static_cast<size_t>(uplink.segment)];
  }
  EbpfDataplane& dataplane() { return dataplane_; }

 private:
  Lab() {
    if (std::system("modprobe -a veth bridge 8021q bonding ipip ip6_tunnel") != 0) std::abort();
    MakeUplinks();
    clients_.resize(kUplinks.size() + 1);
    for (const Uplink& uplink : kUplinks) MakeSegment(uplink);
    BpfOptions options;
    options.dir = PrivateBpfDir("uplinks");
    options.sizes = kSizes;
    options.xdp_interfaces = {"bond1", "jumbo0"};
    auto opened = director_.In([&] { return OpenEbpfDataplane(options, clock_); });
    if (!opened.ok()) {
      std::fprintf(stderr, "%s\n", opened.status().ToString().c_str());
      std::abort();
    }
    dataplane_ = *std::move(opened);
    std::vector<Step> steps = {AddItem{Attachment{"eth0"}}};
    for (const Uplink& uplink : kUplinks) steps.push_back(AddItem{Attachment{uplink.name}});
    Apply(director_, dataplane_, steps);
  }

  // The director's devices, and at the switch what each of them is wired to: a port of the bridge
  // of its segment.
  void MakeUplinks() {
    const auto wire = [&](const std::string& at_director, const std::string& at_switch) {
      switch_.Sh("ip link add name " + at_switch + " type veth peer name " + at_director +
                 " netns " + director_.path());
    };
    for (const auto& [at_director, at_switch] :
         {std::pair("eth0", "trunk"), std::pair("a0", "x0"), std::pair("a1", "x1"),
          std::pair("c0", "y0"), std::pair("c1", "y1"), std::pair("jumbo0", "z0")}) {
      wire(at_director, at_switch);
    }
    for (const Uplink& uplink : kUplinks) {
      const std::string n = std::to_string(uplink.segment);
      switch_.Sh("ip link add name br" + n + " type bridge; ip link set br" + n + " up mtu " +
                 std::to_string(uplink.mtu));
    }
    switch_.Sh(
        "ip link add name lag type bond mode balance-xor miimon 50; "
        "ip link set x0 master lag; ip link set x1 master lag; ip link set lag up; "
        "ip link add link lag name lag.20 type vlan id 20; "
        "ip link set trunk up; ip link add link trunk name trunk.10 type vlan id 10; "
        "ip link set z0 mtu 9000; "
        "ip link set trunk.10 up master br1; ip link set lag up master br2; "
        "ip link set lag.20 up master br3; ip link set y0 up master br4; "
        "ip link set y1 up master br4; ip link set z0 up master br5");
    director_.Sh(
        "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0; "
        "ip link set eth0 up; ip link add link eth0 name eth0.10 type vlan id 10; "
        "ip link add name bond0 type bond mode balance-xor miimon 50; "
        "ip link set a0 master bond0; ip link set a1 master bond0; ip link set bond0 up; "
        "ip link add link bond0 name bond0.20 type vlan id 20; "
        "ip link add name bond1 type bond mode active-backup miimon 50; "
        "ip link set c0 master bond1; ip link set c1 master bond1; "
        "ip link set jumbo0 mtu 9000; "
        "ip link set eth0.10 up; ip link set bond0.20 up; ip link set bond1 up; "
        "ip link set jumbo0 up");
    // What a native XDP program on a veth sends is delivered only to one at its other end.
    switch_.In([] {
      AttachXdpPass("y0");
      AttachXdpPass("y1");
    });
    for (const Uplink& uplink : kUplinks) {
      for (const Family family : kFamilies) {
        director_.Sh("ip addr add " + Network(uplink, family) + "99" + Length(family) + " dev " +
                     uplink.name + (family == Family::kIpv4 ? "" : " nodad"));
      }
    }
  }

  void MakeSegment(const Uplink& uplink) {
    const std::string mtu = std::to_string(uplink.mtu);
    const auto add = [&](const std::string& name) -> const Namespace& {
      hosts_.push_back(std::make_unique<Namespace>());
      const Namespace& host = *hosts_.back();
      const std::string port = "s" + std::to_string(uplink.segment) + "-" + name;
      switch_.Sh("ip link add name " + port + " mtu " + mtu + " type veth peer name eth0 netns " +
                 host.path() + "; ip link set " + port + " up master br" +
                 std::to_string(uplink.segment));
      host.Sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0; " +
              // XDP cannot complete checksums. A jumbo frame is to be one, and no bundle.
              std::string("ethtool -K eth0 tx off tso off gso off >/dev/null; ") +
              "ip link set eth0 up mtu " + mtu);
      return host;
    };
    const Namespace& client = add("client");
    clients_[static_cast<size_t>(uplink.segment)] = &client;
    for (const Family family : kFamilies) {
      client.Sh("ip addr add " + Network(uplink, family) + "50" + Length(family) + " dev eth0" +
                (family == Family::kIpv4 ? "; ip route add 192.0.2.0/24 dev eth0"
                                         : " nodad; ip route add 2001:db8::/64 dev eth0"));
    }
    for (const int n : {1, 2}) {
      const std::string name = "real" + std::to_string(n);
      const Namespace& real = add(name);
      std::string script = "sysctl -qw net.ipv4.conf.all.arp_ignore=1 "
                           "net.ipv4.conf.all.arp_announce=2; ";
      for (const Family family : kFamilies) {
        const std::string address = Network(uplink, family) + std::to_string(n);
        // What the client sends is to fit a tunnel.
        script += "ip addr add " + address + Length(family) + " dev eth0 noprefixroute" +
                  (family == Family::kIpv4 ? "; " : " nodad; ") + "ip route add " +
                  Prefix(uplink, family) + " dev eth0 advmss " + std::to_string(uplink.mtu - 120) +
                  (family == Family::kIpv4
                       ? "; ip link add name t4 type ipip local " + address +
                             " remote any; ip link set t4 up; "
                       : "; ip link add name t6 type ip6tnl mode any local " + address +
                             " remote any; ip link set t6 up; ");
        for (const ForwardingMethod method : kMethods) {
          if (method == ForwardingMethod::kNat) continue;
          script += "ip addr add " + Vip(uplink, family, method) + " dev lo" +
                    (family == Family::kIpv4 ? "; " : " nodad; ");
        }
      }
      real.Sh(script);
      for (const uint16_t port : {kPort, kNatPort}) {
        servers_.push_back(
            std::make_unique<TcpServer>(real, name, Endpoint{*IpAddress::Parse("::"), port}));
      }
    }
  }

  const Namespace switch_;
  const Namespace director_;
  std::vector<std::unique_ptr<Namespace>> hosts_;
  std::vector<const Namespace*> clients_;  // by segment
  std::vector<std::unique_ptr<TcpServer>> servers_;
  const SystemClock clock_;
  EbpfDataplane dataplane_;
};

class UplinkTest : public testing::TestWithParam<Uplink> {
 protected:
  void TearDown() override {
    for (auto step = to_remove_.rbegin(); step != to_remove_.rend(); ++step) Do({*step});
  }

  void Do(const std::vector<Step>& steps) { Apply(lab_.director(), lab_.dataplane(), steps); }

  ServiceKey Serve(Family family, ForwardingMethod method) {
    const IpAddress vip = *IpAddress::Parse(Vip(GetParam(), family, method));
    const ServiceKey key = {Dataplane::kEbpf, Endpoint{vip, kPort}, Protocol::kTcp};
    const AnsweredVip answered = {Dataplane::kEbpf, vip, GetParam().name};
    const bool nat = method == ForwardingMethod::kNat;
    ServiceConfig config;
    config.scheduler = "rr";
    config.source_nat = nat;
    std::vector<Step> steps = {AddItem{answered}, AddService{key, config}};
    for (const int n : {1, 2}) {
      RealServer real;
      real.at = {*IpAddress::Parse(Network(GetParam(), family) + std::to_string(n)),
                 nat ? kNatPort : kPort};
      real.method = method;
      steps.push_back(AddReal{key, real});
    }
    Do(steps);
    to_remove_.push_back(RemoveItem{answered});
    to_remove_.push_back(RemoveService{key});
    return key;
  }

  // Each must arrive, and its whole answer come back: who answered how often.
  std::map<std::string, int> Ask(const ServiceKey& key, const std::string& request) {
    std::map<std::string, int> out;
    for (int i = 0; i < kRequests; ++i) {
      const std::string answer =
          AskTcp(lab_.client(GetParam()), std::get<Endpoint>(key.match), request);
      const size_t name = answer.find(' '), line = answer.find('\n');
      if (line == std::string::npos || answer.substr(line + 1) != request) {
        ++out["nobody"];
      } else {
        ++out[answer.substr(0, name)];
      }
    }
    return out;
  }

  Counters Counted(const ServiceKey& key) {
    return lab_.director()
        .In([&] { return lab_.dataplane().backend->ReadStats().value(); })
        .services.at(key);
  }

  std::map<std::string, uint64_t> Drops() {
    auto drops = lab_.director().In([&] { return lab_.dataplane().backend->ReadDrops().value(); });
    std::erase_if(drops, [](const auto& drop) { return drop.second == 0; });
    return drops;
  }

  Lab& lab_ = Lab::Get();

 private:
  std::vector<Step> to_remove_;
};

TEST_P(UplinkTest, EveryRequestArrivesByEveryMethod) {
  const std::string request = std::string(100000, 'x') + "\n";
  // One director for all tests, and VIPs that others have, too.
  const std::map<std::string, uint64_t> drops_before = Drops();
  for (const Family family : kFamilies) {
    for (const ForwardingMethod method : kMethods) {
      SCOPED_TRACE(Vip(GetParam(), family, method) + " " + ToString(method));
      const ServiceKey key = Serve(family, method);
      const Counters before = Counted(key);
      EXPECT_EQ(Ask(key, request), (std::map<std::string, int>{{"real1", 2}, {"real2", 2}}));
      const Counters counted = Counted(key);
      EXPECT_EQ(counted.connections - before.connections, static_cast<uint64_t>(kRequests));
      const uint64_t bytes = counted.bytes - before.bytes;
      EXPECT_GT(bytes, kRequests * request.size());
      EXPECT_EQ(counted.reply_bytes - before.reply_bytes > kRequests * request.size(),
                method == ForwardingMethod::kNat);
      // Acknowledgements of the answer are among them.
      if (GetParam().mtu > 1500) {
        EXPECT_GT(bytes / (counted.packets - before.packets), 1500U);
      }
    }
  }
  EXPECT_EQ(Drops(), drops_before);
}

INSTANTIATE_TEST_SUITE_P(Uplinks, UplinkTest, testing::ValuesIn(kUplinks),
                         [](const auto& info) { return info.param.test; });

TEST(Attachments, SayWhyThereIsNoNativeXdp) {
  Lab& lab = Lab::Get();
  const auto reports =
      lab.director().In([&] { return lab.dataplane().backend->Attachments().value(); });
  std::set<std::string> said;
  for (const AttachReport& report : reports) said.insert(ToString(report));
  EXPECT_EQ(said, (std::set<std::string>{
                      "bond0.20: tc: a vlan device does not transmit for XDP by itself",
                      "bond0: tc: VLAN devices are on it",
                      "bond1: tc: of a bond, XDP sees frames as its members'",
                      "eth0.10: tc: a vlan device does not transmit for XDP by itself",
                      "eth0: tc: VLAN devices are on it",
                      "jumbo0: tc: the driver refuses XDP (MTU 9000): "
                      "Numerical result out of range"}));
}

class BondTest : public UplinkTest {};

// By the other member, as soon as the kernel has seen that the first has no carrier.
TEST_P(BondTest, ServesOnWithoutOneOfItsMembers) {
  const std::string port = GetParam().name == "bond0" ? "x0" : "y0";
  const ServiceKey key = Serve(Family::kIpv4, ForwardingMethod::kNat);
  const uint64_t before = Counted(key).connections;  // of the test before, at the same VIP
  const std::map<std::string, int> all = {{"real1", 2}, {"real2", 2}};
  EXPECT_EQ(Ask(key, "x\n"), all);
  lab_.at_switch().Sh("ip link set " + port + " down");
  EXPECT_EQ(Ask(key, "x\n"), all);
  lab_.at_switch().Sh("ip link set " + port + " up");
  EXPECT_EQ(Ask(key, "x\n"), all);
  EXPECT_EQ(Counted(key).connections - before, 3U * kRequests);
}

INSTANTIATE_TEST_SUITE_P(Uplinks, BondTest, testing::Values(kUplinks[1], kUplinks[3]),
                         [](const auto& info) { return info.param.test; });

}  // namespace
}  // namespace kube_lvs::ebpf
