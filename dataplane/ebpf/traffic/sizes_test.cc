// Packets that are too large for a part of their way, and those in pieces.
#include <poll.h>

#include <array>

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

// Datagrams in pieces, both ways.
TEST_P(TrafficTest, ALargeDatagramAndItsAnswerPass) {
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
    const std::string question(7000 + i, static_cast<char>('a' + i));
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

}  // namespace
}  // namespace kube_lvs::ebpf
