// SCTP by the kernel's own sockets: runs in guests, as this machine's kernel need not have it.
#include <netinet/in.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kSeconds = 20;  // a guest is slow

// All `size` bytes, or what there is of them.
std::string Receive(const UniqueFd& socket, size_t size) {
  std::string out(size, '\0');
  size_t got = 0;
  while (got < size) {
    const ssize_t more = recv(socket.get(), &out[got], size - got, 0);
    if (more <= 0) break;
    got += static_cast<size_t>(more);
  }
  return out.substr(0, got);
}

bool Send(const UniqueFd& socket, const std::string& message) {
  return send(socket.get(), message.data(), message.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(message.size());
}

// Ports stay as they are, and each end has one address, as a packet's checksum covers all of it.
TEST_P(TrafficTest, AssociationsAreSpreadCarryMessagesAndEnd) {
  if (Tunnel() && !Xdp()) {
    // The kernel puts no header in front of a bundle of SCTP (bpf_skb_net_grow, net/core/filter.c).
    // By a wire none comes: nothing makes bundles of what a NIC received.
    const std::string bundles = "ethtool -K eth0 tx-sctp-segmentation ";
    Do(site_.client(), bundles + "off", bundles + "on");
  }
  std::vector<UniqueFd> servers;
  for (const int n : {1, 2}) {
    if (!IsNat()) OwnVip(n);
    servers.push_back(
        Listen(site_.real(n), {IsNat() ? site_.Real(n) : vip_, kPort}, IPPROTO_SCTP));
  }
  Unpack(Cidr::Host(vip_), false);
  const ServiceKey key = KeyOf(Protocol::kSctp);
  ServeAlone(key, kPort);

  const std::string large(20000, 'x');  // of many chunks
  std::map<size_t, int> taken;
  for (int i = 0; i < 4; ++i) {
    const UniqueFd client = NewSocket(site_.client(), FamilyOf(), SOCK_STREAM, IPPROTO_SCTP);
    ASSERT_TRUE(client.ok()) << std::strerror(errno);
    LimitWaits(client, kSeconds);
    const SocketAddress from({*IpAddress::Parse(At().client), 0});
    ASSERT_EQ(bind(client.get(), from.Get(), from.size), 0) << std::strerror(errno);
    const SocketAddress to({vip_, kPort});
    ASSERT_EQ(connect(client.get(), to.Get(), to.size), 0)
        << std::strerror(errno) << " " << testing::PrintToString(Drops());

    std::array<pollfd, 2> ready = {pollfd{servers[0].get(), POLLIN, 0},
                                   pollfd{servers[1].get(), POLLIN, 0}};
    ASSERT_EQ(poll(ready.data(), ready.size(), 1000 * kSeconds), 1) << "association " << i;
    const size_t n = ready[0].revents != 0 ? 0 : 1;
    SocketAddress peer;
    const UniqueFd real(accept4(servers[n].get(), peer.Get(), &peer.size, SOCK_CLOEXEC));
    ASSERT_TRUE(real.ok()) << std::strerror(errno);
    LimitWaits(real, kSeconds);
    EXPECT_EQ(peer.ToEndpoint().ip.ToString(), Seen());
    ++taken[n];

    for (const std::string& message : {std::string("small"), large}) {
      ASSERT_TRUE(Send(client, message)) << std::strerror(errno);
      EXPECT_EQ(Receive(real, message.size()), message) << testing::PrintToString(Drops());
      ASSERT_TRUE(Send(real, message)) << std::strerror(errno);
      EXPECT_EQ(Receive(client, message.size()), message) << testing::PrintToString(Drops());
    }
    ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0) << std::strerror(errno);
    EXPECT_EQ(Receive(real, 1), "");
    EXPECT_EQ(Receive(client, 1), "");
  }
  EXPECT_EQ(taken, (std::map<size_t, int>{{0, 2}, {1, 2}}));

  const Counters counted = ReadStats().services.at(key);
  EXPECT_EQ(counted.connections, 4U);
  EXPECT_GT(counted.bytes, 4 * large.size());
  auto drops = Drops();
  // It learns what fits.
  if (Tunnel()) drops.erase("too_big");
  EXPECT_EQ(drops, (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
