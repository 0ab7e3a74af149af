#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/unique_fd.h"
#include "dataplane/ebpf/rtnetlink.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// A node and its neighbour on one wire: 10.0.0.1 and 10.0.0.2.
class KernelNetworkTest : public testing::Test {
 protected:
  KernelNetworkTest() {
    Wire(node_, "up0", peer_, "eth0");
    node_.Sh("ip addr add 10.0.0.1/24 dev up0; ip link set up0 mtu 1400");
    peer_.Sh("ip addr add 10.0.0.2/24 dev eth0");
    network_ = *node_.In([] { return NewKernelNetwork(); });
  }

  // Waits until the kernel knows the neighbour of `to`, by its notifications.
  NextHop Resolved(const IpAddress& to) {
    for (int round = 0; round < 20; ++round) {
      const auto hop = network_->Route(to);
      if (hop.ok() && !hop->neighbour_mac.IsZero()) return *hop;
      pollfd wait{.fd = network_->fd(), .events = POLLIN, .revents = 0};
      poll(&wait, 1, 1000);
      network_->TakeChanges();
    }
    return {};
  }

  Namespace node_;
  Namespace peer_;
  std::unique_ptr<Network> network_;
};

TEST_F(KernelNetworkTest, AnAddressOnTheLinkIsItsOwnNeighbour) {
  const NextHop hop = *network_->Route(Ip("10.0.0.2"));
  EXPECT_FALSE(hop.local);
  EXPECT_EQ(hop.ifindex, network_->LinkByName("up0")->index);
  EXPECT_EQ(hop.neighbour, Ip("10.0.0.2"));
  EXPECT_EQ(hop.source, Ip("10.0.0.1"));
  EXPECT_EQ(hop.mtu, 1400U);
  EXPECT_EQ(hop.source_mac, network_->LinkByName("up0")->mac);
  EXPECT_TRUE(hop.neighbour_mac.IsZero());
}

TEST_F(KernelNetworkTest, AnAddressBehindAGatewayHasTheGatewayAsNeighbour) {
  node_.Sh("ip route add 192.0.2.0/24 via 10.0.0.2 mtu 1300");
  const NextHop hop = *network_->Route(Ip("192.0.2.9"));
  EXPECT_EQ(hop.neighbour, Ip("10.0.0.2"));
  EXPECT_EQ(hop.mtu, 1300U);
}

TEST_F(KernelNetworkTest, OwnAddressesAreLocal) {
  NextHop local;
  local.local = true;
  EXPECT_EQ(*network_->Route(Ip("10.0.0.1")), local);
  EXPECT_EQ(*network_->Route(Ip("127.0.0.1")), local);
}

TEST_F(KernelNetworkTest, WithoutARouteItIsNotFound) {
  EXPECT_EQ(network_->Route(Ip("203.0.113.1")).status().code(), absl::StatusCode::kNotFound);
  node_.Sh("ip route add blackhole 198.51.100.0/24");
  EXPECT_EQ(network_->Route(Ip("198.51.100.1")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(network_->Route(Ip("10.0.0.2")).ok());
}

TEST_F(KernelNetworkTest, KeepResolvedFindsTheNeighboursMac) {
  const NextHop hop = *network_->Route(Ip("10.0.0.2"));
  ASSERT_TRUE(network_->KeepResolved(hop).ok());
  const auto peer = peer_.In([] { return NewKernelNetwork(); });
  EXPECT_EQ(Resolved(Ip("10.0.0.2")).neighbour_mac, (*peer)->LinkByName("eth0")->mac);
}

TEST_F(KernelNetworkTest, KeepResolvedLeavesAPermanentNeighbourAlone) {
  node_.Sh("ip neigh replace 10.0.0.77 lladdr 02:00:00:00:00:77 nud permanent dev up0");
  const NextHop hop = *network_->Route(Ip("10.0.0.77"));
  ASSERT_TRUE(network_->KeepResolved(hop).ok());
  EXPECT_EQ(*network_->Route(Ip("10.0.0.77")), hop);
  node_.Sh("ip neigh show 10.0.0.77 | grep -q 02:00:00:00:00:77.*PERMANENT");
}

TEST_F(KernelNetworkTest, AChangeOfTheNetworkMakesItReadableOnce) {
  while (network_->TakeChanges()) {
  }
  EXPECT_FALSE(network_->TakeChanges());
  node_.Sh("ip route add 192.0.2.0/24 via 10.0.0.2");
  pollfd wait{.fd = network_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, 5000), 1);
  EXPECT_TRUE(network_->TakeChanges());
}

TEST_F(KernelNetworkTest, ANexthopThatChangesBelowItsRoutesMakesItReadable) {
  node_.Sh(
      "sysctl -qw net.ipv4.nexthop_compat_mode=0; ip nexthop add id 7 via 10.0.0.2 dev up0; "
      "ip route add 192.0.2.0/24 nhid 7");
  while (network_->TakeChanges()) {
  }
  node_.Sh("ip nexthop replace id 7 via 10.0.0.3 dev up0");
  pollfd wait{.fd = network_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, 5000), 1);
  EXPECT_TRUE(network_->TakeChanges());
}

TEST_F(KernelNetworkTest, KnowsVirtualLinksAndUnknownNames) {
  const Link link = *network_->LinkByName("up0");
  EXPECT_EQ(link.kind, "veth");
  EXPECT_FALSE(link.hardware);
  EXPECT_TRUE(link.up);
  EXPECT_TRUE(network_->LinkByName("lo")->loopback);
  EXPECT_EQ(network_->LinkByName("nope").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(network_->LinkByName("").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(network_->LinkByName(std::string(300, 'x')).status().code(),
            absl::StatusCode::kNotFound);
  const auto links = network_->Links();
  ASSERT_TRUE(links.ok());
  EXPECT_NE(std::ranges::find(*links, link), links->end());
}

TEST_F(KernelNetworkTest, KnowsTheLinkBelowAndTheMaster) {
  Wire(node_, "up1", peer_, "eth1");
  node_.Sh(
      "ip link add link up0 name mac0 type macvlan; ip link add br0 type bridge; "
      "ip link set up1 master br0");
  const Link up0 = *network_->LinkByName("up0");
  EXPECT_EQ(network_->LinkByName("mac0")->lower, up0.index);
  EXPECT_EQ(up0.lower, 0U);  // its peer has its number in another namespace
  EXPECT_EQ(up0.master, 0U);
  EXPECT_EQ(network_->LinkByName("up1")->master, network_->LinkByName("br0")->index);
}

TEST_F(KernelNetworkTest, AnnouncesInBothForms) {
  const UniqueFd listener = peer_.In(
      [] { return UniqueFd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ARP))); });
  ASSERT_TRUE(listener.ok());
  const Link link = *network_->LinkByName("up0");
  ASSERT_TRUE(network_->Announce(Cidr::Host(Ip("192.0.2.1")), link).ok());
  int requests = 0;
  int replies = 0;
  std::array<uint8_t, 128> frame;
  for (int i = 0; i < 6; ++i) {
    pollfd wait{.fd = listener.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&wait, 1, 5000), 1);
    ASSERT_GE(recv(listener.get(), frame.data(), frame.size(), 0), 42);
    EXPECT_TRUE(std::equal(link.mac.bytes.begin(), link.mac.bytes.end(), frame.begin() + 22));
    const std::array<uint8_t, 4> vip = {192, 0, 2, 1};
    EXPECT_TRUE(std::equal(vip.begin(), vip.end(), frame.begin() + 28));  // sender
    EXPECT_TRUE(std::equal(vip.begin(), vip.end(), frame.begin() + 38));  // target
    ++(frame[21] == 1 ? requests : replies);
  }
  EXPECT_EQ(requests, 3);
  EXPECT_EQ(replies, 3);
}

TEST_F(KernelNetworkTest, QuestionsForAnIpv6VipAreHeardUntilNoMore) {
  const Link link = *network_->LinkByName("up0");
  const IpAddress vip = Ip("2001:db8::1");
  const std::string group = "ip -6 maddr show dev up0 | grep -q ff02::1:ff00:1$";
  node_.Sh("! " + group);
  ASSERT_TRUE(network_->HearQuestions(vip, link).ok());
  ASSERT_TRUE(network_->HearQuestions(vip, link).ok());
  node_.Sh(group);
  node_.Sh("ip -6 neigh show proxy dev up0 | grep -q 2001:db8::1");
  ASSERT_TRUE(network_->StopHearing(vip, link).ok());
  ASSERT_TRUE(network_->StopHearing(vip, link).ok());
  node_.Sh("! " + group);
  EXPECT_TRUE(network_->HearQuestions(Ip("192.0.2.1"), link).ok());
  node_.Sh("test -z \"$(ip neigh show proxy)\"");
}

TEST_F(KernelNetworkTest, AnIpv6VipIsAnnouncedToAllNodes) {
  const UniqueFd listener = peer_.In(
      [] { return UniqueFd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IPV6))); });
  ASSERT_TRUE(listener.ok());
  const Link link = *network_->LinkByName("up0");
  ASSERT_TRUE(network_->Announce(Cidr::Host(Ip("2001:db8::1")), link).ok());
  int heard = 0;
  std::array<uint8_t, 2048> frame;
  while (heard < 3) {
    pollfd wait{.fd = listener.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&wait, 1, 5000), 1);
    const ssize_t size = recv(listener.get(), frame.data(), frame.size(), 0);
    if (size != 86 || frame[54] != 136) continue;  // the kernel's own
    ++heard;
    const IpAddress vip = Ip("2001:db8::1");
    EXPECT_TRUE(std::equal(vip.bytes.begin(), vip.bytes.end(), frame.begin() + 62));
    EXPECT_TRUE(std::equal(link.mac.bytes.begin(), link.mac.bytes.end(), frame.begin() + 80));
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
