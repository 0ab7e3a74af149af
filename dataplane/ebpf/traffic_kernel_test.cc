// Real sockets through the real programs: a client, a director and two real servers on one
// segment, each in a namespace of its own; every method by tc and by native XDP, in both families.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/xdp.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

struct SocketAddress {
  SocketAddress() = default;
  SocketAddress(const std::string& text, uint16_t port) {
    const IpAddress ip = Ip(text);
    if (ip.IsV4()) {
      v4.sin_family = AF_INET;
      v4.sin_port = htons(port);
      std::memcpy(&v4.sin_addr, ip.bytes.data(), ip.Size());
    } else {
      v6.sin6_family = AF_INET6;
      v6.sin6_port = htons(port);
      std::memcpy(&v6.sin6_addr, ip.bytes.data(), ip.Size());
      size = sizeof v6;
    }
  }
  std::string Ip6OrIp4() const {
    IpAddress ip;
    ip.family = v4.sin_family == AF_INET ? Family::kIpv4 : Family::kIpv6;
    std::memcpy(ip.bytes.data(), ip.IsV4() ? static_cast<const void*>(&v4.sin_addr) : &v6.sin6_addr,
                ip.Size());
    return ip.ToString();
  }
  sockaddr* Get() { return &any; }
  const sockaddr* Get() const { return &any; }

  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6 = {};
  };
  socklen_t size = sizeof(sockaddr_in);
};

UniqueFd Socket(const Namespace& where, Family family, int type) {
  return where.In([&] {
    return UniqueFd(socket(family == Family::kIpv4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
  });
}

// The addresses of one family.
struct Site {
  std::string vip, vips, client, clients, director, director_in, real, far, fars, any;
  int length;      // of networks
  uint16_t clamp;  // of the MSS in a tunnel
};
const Site& SiteOf(Family family) {
  static const Site kV4 = {"192.0.2.1",    "192.0.2.0/24", "172.16.0.2", "172.16.0.0/24",
                           "172.16.0.1",   "10.0.0.1",     "10.0.0.1",   "10.77.0.",
                           "10.77.0.0/24", "0.0.0.0",      24,           1440};
  static const Site kV6 = {"2001:db8:2::1",
                           "2001:db8:2::/64",
                           "2001:db8:16::2",
                           "2001:db8:16::/64",
                           "2001:db8:16::1",
                           "2001:db8:10::1",
                           "2001:db8:10::1",
                           "2001:db8:77::",
                           "2001:db8:77::/64",
                           "::",
                           64,
                           1400};
  return family == Family::kIpv4 ? kV4 : kV6;
}

// Answers the first line of each TCP connection by "NAME sees CLIENT", and then by that line.
class Server {
 public:
  Server(const Namespace& where, std::string name, uint16_t port, Family family)
      : name_(std::move(name)), listener_(Socket(where, family, SOCK_STREAM)) {
    const int yes = 1;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const SocketAddress any(SiteOf(family).any, port);
    if (bind(listener_.get(), any.Get(), any.size) != 0 || listen(listener_.get(), 128) != 0) {
      std::perror("server");
      std::abort();
    }
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }

 private:
  void Run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd wait{.fd = listener_.get(), .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, 50) <= 0) continue;
      SocketAddress from;
      from.size = sizeof from.v6;
      const UniqueFd connection(accept4(listener_.get(), from.Get(), &from.size, SOCK_CLOEXEC));
      if (!connection.ok()) continue;
      std::array<char, 65536> buffer;
      std::string request;
      while (!request.ends_with('\n') && !stop.stop_requested()) {
        wait.fd = connection.get();
        if (poll(&wait, 1, 50) == 0) continue;
        const ssize_t got = recv(connection.get(), buffer.data(), buffer.size(), 0);
        if (got <= 0) break;
        request.append(buffer.data(), static_cast<size_t>(got));
      }
      if (!request.ends_with('\n')) continue;
      const std::string answer = name_ + " sees " + from.Ip6OrIp4() + "\n" + request;
      send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    }
  }

  std::string name_;
  UniqueFd listener_;
  std::jthread thread_;
};

using Case = std::tuple<std::pair<ForwardingMethod, bool /* source NAT */>, bool /* XDP */, Family>;

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  const auto& [method, xdp, family] = info.param;
  return ToString(method.first) + (method.second ? "WithSourceNat" : "") +
         (xdp ? "ByXdp" : "ByTc") + (family == Family::kIpv4 ? "" : "OfIpv6");
}

// client 172.16.0.2 --+-- director 172.16.0.1, 10.0.0.1
//     (switch)        +-- real servers 10.0.0.11, 10.0.0.12; see SiteOf for IPv6
class TrafficTest : public testing::TestWithParam<Case> {
 protected:
  TrafficTest() {
    switch_.Sh("ip link add name sw0 type bridge; ip link set sw0 up");
    for (auto& [host, name] : Hosts()) {
      Wire(*host, "eth0", switch_, "p-" + name);
      switch_.Sh("ip link set p-" + name + " master sw0");
      host->Sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
      if (IsV4()) host->Sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
      // A veth hands on packets without checksum, which XDP cannot complete.
      if (Xdp()) host->Sh("ethtool -K eth0 tx off >/dev/null");
    }
    const Site& site = At();
    AddAddress(client_, site.client);
    client_.Sh("ip route add " + site.vips + " dev eth0");
    AddAddress(director_, site.director);
    AddAddress(director_, site.director_in);
    for (int n = 1; n <= 2; ++n) {
      Namespace& real = n == 1 ? real1_ : real2_;
      AddAddress(real, RealIp(n));
      if (Method() == ForwardingMethod::kNat) {
        // Without source NAT replies go by the director; with it nobody may need a route.
        if (!SourceNat()) real.Sh("ip route add default via " + site.director_in);
      } else {
        real.Sh(
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
            "ip addr add " +
            site.vip + " dev lo; ip route add " + site.clients + " dev eth0");
      }
    }
    if (Xdp()) switch_.In([] { AttachXdpPass("p-director"); });
  }

  std::vector<std::pair<Namespace*, std::string>> Hosts() {
    return {{&client_, "client"}, {&director_, "director"}, {&real1_, "real1"}, {&real2_, "real2"}};
  }
  static ForwardingMethod Method() { return std::get<0>(GetParam()).first; }
  static bool SourceNat() { return std::get<0>(GetParam()).second; }
  static bool Xdp() { return std::get<1>(GetParam()); }
  static Family FamilyOf() { return std::get<2>(GetParam()); }
  static bool IsV4() { return FamilyOf() == Family::kIpv4; }
  static const Site& At() { return SiteOf(FamilyOf()); }
  static std::string RealIp(int n) { return At().real + std::to_string(n); }
  static void AddAddress(const Namespace& where, const std::string& ip,
                         const std::string& device = "eth0") {
    where.Sh("ip addr add " + ip + "/" + std::to_string(At().length) + " dev " + device +
             (IsV4() ? "" : " nodad"));
  }
  static uint16_t RealPort() { return Method() == ForwardingMethod::kNat ? 8080 : 80; }

  EbpfDataplane Open(const Namespace& where, const std::string& name) {
    BpfOptions options;
    static int number = 0;
    options.dir = PrivateBpfDir(name + std::to_string(++number));
    if (Xdp()) options.xdp_interfaces = {"eth0"};
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

  static void Apply(const Namespace& where, EbpfDataplane& dataplane,
                    const std::vector<Step>& steps) {
    const auto statuses = where.In([&] { return dataplane.backend->Apply(steps); });
    for (size_t i = 0; i < steps.size(); ++i) {
      ASSERT_TRUE(statuses[i].ok()) << ToString(steps[i]) << ": " << statuses[i];
    }
  }

  // Tunnel: the real servers take off the outer header by our programs, too, and with `clamp` have
  // clients send what fits.
  void SetUpDecapsulation(bool clamp = true) {
    if (Method() != ForwardingMethod::kTunnel) return;
    for (Namespace* host : {&real1_, &real2_}) {
      of_reals_.push_back(Open(*host, "real"));
      Apply(*host, of_reals_.back(),
            {AddItem{Attachment{"eth0"}}, AddItem{TunnelPeer{Ip(At().director_in), Ip(At().vip)}}});
      if (clamp) Apply(*host, of_reals_.back(), {AddItem{MssClamp{Ip(At().vip), At().clamp}}});
    }
  }

  // The director with one service and both real servers.
  ServiceKey SetUpService(Protocol protocol = Protocol::kTcp) {
    const ServiceKey key{Dataplane::kEbpf, Endpoint{Ip(At().vip), 80}, protocol};
    SetUpService(key, RealPort());
    return key;
  }
  void SetUpService(const ServiceKey& key, uint16_t real_port) {
    dataplane_ = Open(director_, "director");
    ServiceConfig config;
    config.scheduler = "rr";
    config.source_nat = SourceNat();
    std::vector<Step> steps = {AddItem{Attachment{"eth0"}}, AddService{key, config}};
    for (const int n : {1, 2}) {
      RealServer real;
      real.at = {Ip(RealIp(n)), real_port};
      real.method = Method();
      steps.push_back(AddReal{key, real});
    }
    const Cidr vips = VipsOf(key).value();
    steps.push_back(AddItem{
        AnsweredVip{Dataplane::kEbpf, vips.address, "eth0", vips.IsHost() ? 0 : vips.length}});
    Apply(director_, dataplane_, steps);
    if (Xdp()) {
      WaitForNeighbours();
      // Nobody else does the work.
      director_.Sh("tc filter del dev eth0 ingress");
    }
  }

  // Drops of the director, without zeros.
  std::map<std::string, uint64_t> Drops() {
    const auto stats = director_.In([&] { return dataplane_.backend->ReadStats(); });
    EXPECT_TRUE(stats.ok());
    std::map<std::string, uint64_t> out;
    if (!stats.ok()) return out;
    for (const auto& [reason, count] : stats->drops) {
      if (count != 0) out[reason] = count;
    }
    return out;
  }

  // One connection from the client: sends `request`, returns the answer, "" when there is none.
  std::string Ask(const std::string& request) { return Ask(request, client_); }
  static std::string Ask(const std::string& request, const Namespace& from, uint16_t port = 80,
                         const std::string& vip = At().vip) {
    const UniqueFd connection = Socket(from, FamilyOf(), SOCK_STREAM);
    const timeval limit{.tv_sec = 3, .tv_usec = 0};
    setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const SocketAddress to(vip, port);
    if (connect(connection.get(), to.Get(), to.size) != 0) return "";
    if (send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
    std::string answer;
    std::array<char, 65536> buffer;
    ssize_t got = 0;
    while ((got = recv(connection.get(), buffer.data(), buffer.size(), 0)) > 0) {
      answer.append(buffer.data(), static_cast<size_t>(got));
    }
    return answer;
  }

  // Packets that came in on eth0 of the director.
  uint64_t DirectorReceived() {
    return director_.In([] {
      std::ifstream file("/proc/thread-self/net/dev");
      std::string line;
      while (std::getline(file, line)) {
        const size_t at = line.find("eth0:");
        if (at == std::string::npos) continue;
        std::istringstream fields(line.substr(at + 5));
        uint64_t bytes = 0;
        uint64_t packets = 0;
        fields >> bytes >> packets;
        return packets;
      }
      return uint64_t{0};
    });
  }

  // Until XDP may transmit to both real servers.
  void WaitForNeighbours() {
    for (int round = 0; round < 50; ++round) {
      ASSERT_TRUE(director_.In([&] { return dataplane_.backend->Refresh(); }).ok());
      const auto reals = GetArray<klvs_real>(*dataplane_.objects.maps, kRealsMap).value();
      int ready = 0;
      for (const klvs_real& real : reals) {
        ready += (real.flags & KLVS_REAL_L2) != 0;
      }
      if (ready == 2) return;
      pollfd wait{.fd = dataplane_.backend->fd(), .events = POLLIN, .revents = 0};
      poll(&wait, 1, 200);
    }
    FAIL() << "the neighbours of the director were not resolved";
  }

  Namespace switch_;
  Namespace client_;
  Namespace director_;
  Namespace real1_;
  Namespace real2_;
  SystemClock clock_;
  EbpfDataplane dataplane_;
  std::vector<EbpfDataplane> of_reals_;
};

TEST_P(TrafficTest, ConnectionsAreSpreadAndAnswered) {
  const Server one(real1_, "real1", RealPort(), FamilyOf());
  const Server two(real2_, "real2", RealPort(), FamilyOf());
  SetUpDecapsulation();
  const ServiceKey key = SetUpService();
  if (Xdp()) {
    EXPECT_NE(director_.In([] { return XdpProgramId("eth0"); }), 0U);
  } else {
    const auto reports = director_.In([&] { return dataplane_.backend->Attachments(); });
    ASSERT_TRUE(reports.ok() && reports->size() == 1);
    EXPECT_FALSE((*reports)[0].xdp) << ToString((*reports)[0]);
  }

  const std::string sees = SourceNat() ? At().director_in : At().client;
  std::map<std::string, int> answers;
  const uint64_t received_before = DirectorReceived();
  const std::string large(60000, 'x');  // many segments, and super-packets where there are any
  for (int i = 0; i < 20; ++i) {
    const std::string request = (i % 5 == 0 ? large : "hello " + std::to_string(i)) + "\n";
    const std::string answer = Ask(request);
    const size_t line = answer.find('\n');
    ASSERT_NE(line, std::string::npos) << "connection " << i << " had no answer";
    ASSERT_EQ(answer.substr(line + 1), request);
    ++answers[answer.substr(0, line)];
  }
  EXPECT_EQ(answers,
            (std::map<std::string, int>{{"real1 sees " + sees, 10}, {"real2 sees " + sees, 10}}));

  const auto stats = director_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok());
  const Counters counted = stats->services.at(key);
  EXPECT_EQ(counted.connections, 20U);
  EXPECT_EQ((stats->reals.at({key, Endpoint{Ip(RealIp(1)), RealPort()}}).counters.connections),
            10U);
  // Replies come back through the director with NAT alone.
  const uint64_t received = DirectorReceived() - received_before;
  if (Method() == ForwardingMethod::kNat) {
    EXPECT_GT(received, counted.packets + counted.packets / 2);
  } else {
    // The hosts of IPv6 have more to say to the segment than ARP.
    const uint64_t others = IsV4() ? 12 : counted.packets / 4;
    EXPECT_LE(received, counted.packets + others) << "replies pass the director";
  }
  for (const auto& [reason, count] : stats->drops) EXPECT_EQ(count, 0U) << reason;
  // Closed by both sides and not expired yet.
  const RealServerStats& of_one = stats->reals.at({key, Endpoint{Ip(RealIp(1)), RealPort()}});
  EXPECT_EQ(of_one.active_connections + of_one.inactive_connections, 10U);
}

TEST_P(TrafficTest, EachPortOfARangeGoesToTheSamePort) {
  const Server one(real1_, "real1 at 80", 80, FamilyOf()),
      two(real2_, "real2 at 80", 80, FamilyOf());
  const Server three(real1_, "real1 at 81", 81, FamilyOf());
  const Server four(real2_, "real2 at 81", 81, FamilyOf());
  SetUpDecapsulation();
  const ServiceKey range{Dataplane::kEbpf, PortRange{Ip(At().vip), 79, 81}, Protocol::kTcp};
  SetUpService(range, 0);
  const std::string sees = " sees " + (SourceNat() ? At().director_in : At().client) + "\n.\n";
  std::map<std::string, int> answers;
  for (const uint16_t port : {80, 80, 81, 81}) ++answers[Ask(".\n", client_, port)];
  EXPECT_EQ(answers, (std::map<std::string, int>{{"real1 at 80" + sees, 1},
                                                 {"real2 at 80" + sees, 1},
                                                 {"real1 at 81" + sees, 1},
                                                 {"real2 at 81" + sees, 1}}));
  EXPECT_TRUE(Drops().empty());
  const auto stats = director_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->services.at(range).connections, 4U);
}

TEST_P(TrafficTest, EachAddressOfANetworkIsAVip) {
  const Cidr vips = *Cidr::Parse(IsV4() ? "198.51.100.0/28" : "2001:db8:51::/124");
  client_.Sh("ip route add " + vips.ToString() + " dev eth0");
  if (Method() != ForwardingMethod::kNat) {
    for (Namespace* real : {&real1_, &real2_}) {
      real->Sh("ip route add local " + vips.ToString() + " dev lo");
    }
  }
  SetUpDecapsulation();
  for (size_t n = 0; n < of_reals_.size(); ++n) {
    Apply(n == 0 ? real1_ : real2_, of_reals_[n],
          {AddItem{TunnelPeer{Ip(At().director_in), vips.address, vips.length}}});
  }
  const Server one(real1_, "real1", RealPort(), FamilyOf());
  const Server two(real2_, "real2", RealPort(), FamilyOf());
  SetUpService({Dataplane::kEbpf, Prefix{vips, 80, 80}, Protocol::kTcp}, RealPort());
  IpAddress between = vips.address;
  between.bytes[between.Size() - 1] += 5;
  std::map<std::string, int> answers;
  for (const IpAddress& vip : {vips.address, between, vips.Last(), between}) {
    const std::string answer = Ask("x\n", client_, 80, vip.ToString());
    ++answers[answer.substr(0, answer.find(' '))];
  }
  EXPECT_EQ(answers, (std::map<std::string, int>{{"real1", 2}, {"real2", 2}}))
      << testing::PrintToString(Drops());
}

TEST_P(TrafficTest, AConnectionOutlivesTheAgentAndItsRealServersRemoval) {
  const Server one(real1_, "real1", RealPort(), FamilyOf());
  const Server two(real2_, "real2", RealPort(), FamilyOf());
  SetUpDecapsulation();
  BpfOptions options;
  options.dir = PrivateBpfDir("again" + NameOf({GetParam(), 0}));
  if (Xdp()) options.xdp_interfaces = {"eth0"};
  options.sizes = {.addresses = 64,
                   .services = 8,
                   .reals = 16,
                   .list_entries = 256,
                   .table_slots = 16384,
                   .connections = 4096};
  const auto open = [&] {
    dataplane_ = EbpfDataplane();
    auto opened = director_.In([&] { return OpenEbpfDataplane(options, clock_); });
    ASSERT_TRUE(opened.ok()) << opened.status();
    dataplane_ = *std::move(opened);
  };
  open();
  const ServiceKey key{Dataplane::kEbpf, Endpoint{Ip(At().vip), 80}, Protocol::kTcp};
  ServiceConfig config;
  config.scheduler = "rr";
  config.source_nat = SourceNat();
  RealServer first;
  first.at = {Ip(RealIp(1)), RealPort()};
  first.method = Method();
  RealServer second = first;
  second.at.ip = Ip(RealIp(2));
  Apply(director_, dataplane_,
        {AddItem{Attachment{"eth0"}}, AddService{key, config}, AddReal{key, first},
         AddItem{AnsweredVip{Dataplane::kEbpf, Ip(At().vip), "eth0"}}});

  const UniqueFd held = Socket(client_, FamilyOf(), SOCK_STREAM);
  const timeval limit{.tv_sec = 3, .tv_usec = 0};
  setsockopt(held.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const SocketAddress to(At().vip, 80);
  ASSERT_EQ(connect(held.get(), to.Get(), to.size), 0);

  open();
  Apply(director_, dataplane_, {AddReal{key, second}, RemoveReal{key, first.at}});
  EXPECT_EQ(Ask("x\n").substr(0, 5), "real2");
  ASSERT_EQ(send(held.get(), "still\n", 6, MSG_NOSIGNAL), 6);
  std::array<char, 256> buffer;
  const ssize_t got = recv(held.get(), buffer.data(), buffer.size(), 0);
  ASSERT_GT(got, 0);
  EXPECT_EQ(std::string(buffer.data(), 5), "real1");
}

TEST_P(TrafficTest, AServiceWhoseRealServersHaveNoWeightRefusesAtOnce) {
  const ServiceKey key = SetUpService();
  for (const int n : {1, 2}) {
    RealServer real;
    real.at = {Ip(RealIp(n)), RealPort()};
    real.method = Method();
    real.weight = 0;
    Apply(director_, dataplane_, {SetReal{key, real}});
  }
  const UniqueFd connection = Socket(client_, FamilyOf(), SOCK_STREAM);
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const SocketAddress to(At().vip, 80);
  EXPECT_EQ(connect(connection.get(), to.Get(), to.size), -1);
  EXPECT_EQ(errno, ECONNREFUSED) << std::strerror(errno);
  // A namespace has the answer before connect() has let go of the socket: Linux then heeds the next
  // one, a second later.
  auto drops = Drops();
  EXPECT_LE(drops["no_real_server"], 2U);
  EXPECT_EQ(drops.size(), 1U);
}

// As with a director that takes over.
TEST_P(TrafficTest, AConnectionThatTheDirectorDoesNotKnowIsReset) {
  const Server one(real1_, "real1", RealPort(), FamilyOf());
  const Server two(real2_, "real2", RealPort(), FamilyOf());
  SetUpDecapsulation();
  SetUpService();
  const UniqueFd held = Socket(client_, FamilyOf(), SOCK_STREAM);
  const timeval limit{.tv_sec = 3, .tv_usec = 0};
  setsockopt(held.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const SocketAddress to(At().vip, 80);
  ASSERT_EQ(connect(held.get(), to.Get(), to.size), 0);
  MapStore& maps = *dataplane_.objects.maps;
  for (klvs_conn_set& set : GetArray<klvs_conn_set>(maps, kConnsMap).value()) set = {};
  for (klvs_conn_set6& set : GetArray<klvs_conn_set6>(maps, kConns6Map).value()) set = {};
  // The end of the handshake may have had the answer already.
  char byte = 0;
  EXPECT_TRUE(send(held.get(), "still\n", 6, MSG_NOSIGNAL) < 0 ||
              recv(held.get(), &byte, 1, 0) < 0);
  EXPECT_EQ(errno, ECONNRESET) << std::strerror(errno);
}

// A network of smaller MTU between the client and the VIP. Its router's "fragmentation needed" must
// reach the real server, whose answer is too large for it.
TEST_P(TrafficTest, ARealServerLearnsOfTheClientsSmallerMtu) {
  const Server one(real1_, "real1", RealPort(), FamilyOf());
  const Server two(real2_, "real2", RealPort(), FamilyOf());
  SetUpDecapsulation();
  Namespace far;
  Wire(far, "eth0", client_, "eth1");
  const Site& site = At();
  const std::string router = site.far + "1";
  if (IsV4()) far.Sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
  AddAddress(far, site.far + "2");
  client_.Sh(
      "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth1.rp_filter=0 "
      "net.ipv6.conf.all.forwarding=1; ip link set eth1 mtu 1300");
  AddAddress(client_, router, "eth1");
  far.Sh("ip route add default via " + router + " mtu 1300 advmss 1460");
  director_.Sh("ip route add " + site.fars + " via " + site.client);
  if (Method() != ForwardingMethod::kNat) {
    for (Namespace* real : {&real1_, &real2_}) {
      real->Sh("ip route add " + site.fars + " via " + site.client + " dev eth0 onlink");
    }
  }
  if (Xdp()) far.Sh("ethtool -K eth0 tx off >/dev/null");
  SetUpService();
  const std::string request = std::string(60000, 'x') + "\n";
  for (int i = 0; i < 2; ++i) {
    const std::string answer = Ask(request, far);
    EXPECT_EQ(answer.substr(0, 4), "real");
    EXPECT_EQ(answer.size(), request.size() + answer.find('\n') + 1) << "connection " << i;
  }
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// Nobody clamps the MSS, and the client's packets do not fit the tunnel until it is told so.
TEST_P(TrafficTest, AClientLearnsWhatFitsTheTunnel) {
  if (Method() != ForwardingMethod::kTunnel) return;  // the others add nothing to a packet
  const Server one(real1_, "real1", RealPort(), FamilyOf());
  const Server two(real2_, "real2", RealPort(), FamilyOf());
  SetUpDecapsulation(false);
  // Packets of a bundle are made to fit; these come one by one.
  client_.Sh("ethtool -K eth0 tso off gso off >/dev/null");
  SetUpService();
  const std::string request = std::string(60000, 'x') + "\n";
  const std::string answer = Ask(request);
  EXPECT_EQ(answer.substr(answer.find('\n') + 1), request);
  const auto drops = Drops();
  EXPECT_TRUE(drops.size() == 1 && drops.contains("too_big"));
}

// Datagrams in pieces, both ways.
TEST_P(TrafficTest, ALargeDatagramAndItsAnswerPass) {
  SetUpDecapsulation();
  // The pieces must fit the tunnel: nobody cuts them again.
  client_.Sh("ip route replace " + At().vips + " dev eth0 mtu 1400");
  std::vector<UniqueFd> servers;
  for (Namespace* real : {&real1_, &real2_}) {
    servers.push_back(Socket(*real, FamilyOf(), SOCK_DGRAM));
    const SocketAddress at(Method() == ForwardingMethod::kNat ? At().any : At().vip, RealPort());
    ASSERT_EQ(bind(servers.back().get(), at.Get(), at.size), 0);
  }
  const ServiceKey key = SetUpService(Protocol::kUdp);
  const UniqueFd client = Socket(client_, FamilyOf(), SOCK_DGRAM);
  const timeval limit{.tv_sec = 3, .tv_usec = 0};
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const SocketAddress to(At().vip, 80);
  ASSERT_EQ(connect(client.get(), to.Get(), to.size), 0);
  std::array<char, 9000> buffer;
  for (int i = 0; i < 3; ++i) {
    const std::string question(7000 + i, static_cast<char>('a' + i));
    ASSERT_EQ(send(client.get(), question.data(), question.size(), 0),
              static_cast<ssize_t>(question.size()));
    std::array<pollfd, 2> ready = {pollfd{servers[0].get(), POLLIN, 0},
                                   pollfd{servers[1].get(), POLLIN, 0}};
    ASSERT_EQ(poll(ready.data(), ready.size(), 3000), 1) << "datagram " << i;
    const int server = ready[0].revents != 0 ? ready[0].fd : ready[1].fd;
    SocketAddress from;
    from.size = sizeof from.v6;
    ssize_t got = recvfrom(server, buffer.data(), buffer.size(), 0, from.Get(), &from.size);
    ASSERT_EQ(std::string(buffer.data(), static_cast<size_t>(got)), question);
    ASSERT_EQ(sendto(server, buffer.data(), static_cast<size_t>(got), 0, from.Get(), from.size),
              got);
    got = recv(client.get(), buffer.data(), buffer.size(), 0);
    ASSERT_EQ(got, static_cast<ssize_t>(question.size())) << "answer " << i;
    EXPECT_EQ(std::string(buffer.data(), static_cast<size_t>(got)), question);
  }
  const auto stats = director_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->services.at(key).connections, 1U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

INSTANTIATE_TEST_SUITE_P(
    Methods, TrafficTest,
    testing::Combine(testing::Values(std::pair(ForwardingMethod::kNat, false),
                                     std::pair(ForwardingMethod::kNat, true),
                                     std::pair(ForwardingMethod::kDirectRouting, false),
                                     std::pair(ForwardingMethod::kTunnel, false)),
                     testing::Bool(), testing::Values(Family::kIpv4, Family::kIpv6)),
    NameOf);

}  // namespace
}  // namespace kube_lvs::ebpf
