// Packets that are too large for a part of their way, and those in pieces.
#include <poll.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

// A network of smaller MTU between the client and the VIP. Its router's "fragmentation needed" must
// reach the real server, whose answer is too large for it.
TEST_P(TrafficTest, ARealServerLearnsOfTheClientsSmallerMtu) {
  for (const int n : {1, 2}) {
    // What it learns is of the director with source NAT, and would hold for the tests behind this.
    Do(site_.real(n), ":", std::string("ip ") + (IsV4() ? "" : "-6 ") + "route flush cache");
  }
  ServeAlone();
  const std::string request = std::string(60000, 'x') + "\n";
  for (int i = 0; i < 2; ++i) {
    const std::string answer = AskTcp(site_.far(), {vip_, kPort}, request);
    EXPECT_EQ(answer.substr(0, 4), "real");
    EXPECT_EQ(answer.size(), request.size() + answer.find('\n') + 1) << "connection " << i;
  }
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// Nobody clamps the MSS, and the client's packets do not fit the tunnel until it is told so.
TEST_P(TrafficTest, AClientLearnsWhatFitsTheTunnel) {
  if (!Tunnel()) return;  // the others add nothing to a packet
  // Packets of a bundle are made to fit; these come one by one. Without checksums there is no TSO.
  Do(site_.client(), "ethtool -K eth0 tso off gso off >/dev/null",
     std::string("ethtool -K eth0 gso on ") + (Xdp() ? "" : "tso on ") + ">/dev/null");
  Unpack(Cidr::Host(vip_), false);
  ServeAlone(KeyOf(), RealPort());
  const std::string request = std::string(60000, 'x') + "\n";
  const std::string answer = Ask(request);
  EXPECT_EQ(answer.substr(answer.find('\n') + 1), request);
  const auto drops = Drops();
  EXPECT_TRUE(drops.size() == 1 && drops.contains("too_big")) << testing::PrintToString(drops);
}

// A router whose next link takes less, between director and real server: what it says about the
// tunnel's packets reaches the client.
TEST_P(TrafficTest, AClientLearnsWhatFitsThroughARouterBehindTheDirector) {
  if (!Tunnel()) return;
  Do(site_.client(), "ethtool -K eth0 tso off gso off >/dev/null",
     std::string("ethtool -K eth0 gso on ") + (Xdp() ? "" : "tso on ") + ">/dev/null");
  const std::string length = "/" + std::to_string(At().length), nodad = IsV4() ? "" : " nodad";
  const std::string near = IsV4() ? "10.31.0." : "2001:db8:31::";
  const std::string behind = IsV4() ? "10.32.0." : "2001:db8:32::";
  // The links go with the router, sooner or later.
  const Namespace router;
  const std::string gone = "ip link del eth1 2>/dev/null || :";
  Wire(site_.director(), "eth1", router, "eth0");
  Do(site_.director(), ":", gone);
  Wire(router, "eth1", site_.real(1), "eth1");
  Do(site_.real(1), ":", gone);
  const std::string no_filter = "sysctl -qw net.ipv4.conf.all.rp_filter=0";
  // The director's own link is no limit.
  site_.director().Sh(no_filter + " net.ipv4.conf.eth1.rp_filter=0; ip link set eth1 mtu 9000; " +
                      "ip addr add " + near + "1" + length + " dev eth1" + nodad +
                      "; ip route add " + behind + "0" + length + " via " + near + "2");
  router.Sh(no_filter +
            " net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.eth0.rp_filter=0; "
            "ip link set eth0 mtu 9000; ip link set eth1 mtu 1400; ip addr add " +
            near + "2" + length + " dev eth0" + nodad + "; ip addr add " + behind + "1" + length +
            " dev eth1" + nodad);
  site_.real(1).Sh(no_filter + " net.ipv4.conf.eth1.rp_filter=0; ip addr add " + behind + "2" +
                   length + " dev eth1" + nodad);
  const std::vector<NodeItem> of_real = {Attachment{"eth1"},
                                         TunnelPeer{*IpAddress::Parse(near + "1"), vip_}};
  for (const NodeItem& item : of_real) {
    Apply(site_.real(1), site_.of_reals()[0], {AddItem{item}});
  }
  ServiceConfig config;
  config.scheduler = "rr";
  RealServer server = RealOf(1, RealPort());
  server.at.ip = *IpAddress::Parse(behind + "2");
  Direct({AddItem{Attachment{"eth0"}}, AddItem{Attachment{"eth1"}},
          AddItem{AnsweredVip{Dataplane::kEbpf, vip_, "eth0"}}, AddService{KeyOf(), config},
          AddReal{KeyOf(), server}});

  const std::string request = std::string(60000, 'x') + "\n";
  for (int i = 0; i < 2; ++i) {
    const std::string answer = Ask(request);
    EXPECT_EQ(answer.substr(answer.find('\n') + 1), request) << "connection " << i;
  }
  // As it was told, the next one begins with what fits.
  const uint32_t fits = 1400 - (IsV4() ? 20 : 40);
  site_.client().Sh(std::string("ip ") + (IsV4() ? "" : "-6 ") + "route get " + vip_.ToString() +
                    " | grep -q 'mtu " + std::to_string(fits) + "'");
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
  for (const NodeItem& item : of_real) {
    Apply(site_.real(1), site_.of_reals()[0], {RemoveItem{item}});
  }
}

// Datagrams of about that size, and their answers.
class DatagramTest : public TrafficTest {
 protected:
  void ExpectAnswers(size_t size);
};

INSTANTIATE_TEST_SUITE_P(Methods, DatagramTest, testing::ValuesIn(Variants()),
                         [](const auto& info) { return ToString(info.param); });

void DatagramTest::ExpectAnswers(size_t size) {
  // The pieces must fit the tunnel: nobody cuts them again.
  const std::string route = vip_.ToString() + " dev eth0";
  Do(site_.client(), "ip route add " + route + " mtu 1400", "ip route del " + route);
  std::vector<UniqueFd> servers;
  for (const int n : {1, 2}) {
    if (!IsNat()) OwnVip(n);
    servers.push_back(NewSocket(site_.real(n), FamilyOf(), SOCK_DGRAM));
    const SocketAddress at({IsNat() ? *IpAddress::Parse(At().any) : vip_, RealPort()});
    ASSERT_EQ(bind(servers.back().get(), at.Get(), at.size), 0);
  }
  const ServiceKey key = ServeAlone(Protocol::kUdp);
  const UniqueFd client = NewSocket(site_.client(), FamilyOf(), SOCK_DGRAM);
  LimitWaits(client, 3);
  const SocketAddress to({vip_, kPort});
  ASSERT_EQ(connect(client.get(), to.Get(), to.size), 0);
  std::array<char, 9000> buffer;
  for (int i = 0; i < 3; ++i) {
    const std::string question(size + i, static_cast<char>('a' + i));
    ASSERT_EQ(send(client.get(), question.data(), question.size(), 0),
              static_cast<ssize_t>(question.size()));
    std::array<pollfd, 2> ready = {pollfd{servers[0].get(), POLLIN, 0},
                                   pollfd{servers[1].get(), POLLIN, 0}};
    ASSERT_EQ(poll(ready.data(), ready.size(), 3000), 1) << "datagram " << i;
    const int server = ready[0].revents != 0 ? ready[0].fd : ready[1].fd;
    SocketAddress from;
    ssize_t got = recvfrom(server, buffer.data(), buffer.size(), 0, from.Get(), &from.size);
    ASSERT_EQ(std::string(buffer.data(), static_cast<size_t>(got)), question);
    ASSERT_EQ(sendto(server, buffer.data(), static_cast<size_t>(got), 0, from.Get(), from.size),
              got);
    got = recv(client.get(), buffer.data(), buffer.size(), 0);
    ASSERT_EQ(got, static_cast<ssize_t>(question.size())) << "answer " << i;
    EXPECT_EQ(std::string(buffer.data(), static_cast<size_t>(got)), question);
  }
  EXPECT_EQ(ReadStats().services.at(key).connections, 1U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

TEST_P(DatagramTest, PassWhole) { ExpectAnswers(100); }
TEST_P(DatagramTest, PassInPieces) { ExpectAnswers(7000); }

}  // namespace
}  // namespace kube_lvs::ebpf
