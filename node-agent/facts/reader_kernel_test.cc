// Facts of a network namespace that the test made.
#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "base/status.h"
#include "node-agent/facts/reader.h"

namespace kube_lvs {
namespace {

std::set<std::string> NamesTowards(const NodeFacts& facts, const char* to) {
  std::set<std::string> names;
  for (const InterfaceFacts* interface : InterfacesTowards(facts, *IpAddress::Parse(to))) {
    names.insert(interface->name);
  }
  return names;
}

std::set<std::string> GatewaysOf(const NodeFacts& facts, const char* destination) {
  std::set<std::string> gateways;
  for (const RouteFacts& route : facts.routes) {
    if (route.destination != *Cidr::Parse(destination) || !route.gateway) continue;
    gateways.insert(route.gateway->ToString());
  }
  return gateways;
}

using Names = std::set<std::string>;

// A namespace with eth0 and eth1 in subnets 0 and 1 of 10.0.0.0/16 and 2001:db8::/32.
void MakeTwoUplinks() {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("for n in 0 1; do ip link add eth$n type veth peer name far$n && "
                        "ip link set eth$n up && ip link set far$n up && "
                        "ip addr add 10.0.$n.1/24 dev eth$n && "
                        "ip addr add 2001:db8:$n::1/64 dev eth$n nodad || exit 1; done"),
            0);
}

TEST(ReaderKernel, PodsBehindABridgeAreReachedThroughIt) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("ip link set lo up && ip link add name cni0 type bridge && "
                        "ip link set cni0 up && ip addr add 10.244.2.1/24 dev cni0"),
            0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  ASSERT_TRUE(facts->interfaces.contains("cni0"));
  EXPECT_EQ(facts->interfaces.at("cni0").kind, "bridge");
  EXPECT_EQ(NamesTowards(*facts, "10.244.2.3"), std::set<std::string>{"cni0"});
}

TEST(ReaderKernel, WhatAnInterfaceIsPartOfIsKnown) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("ip link add name cni0 type bridge && "
                        "ip link add name port0 type veth peer name alone0 && "
                        "ip link set port0 master cni0 && "
                        "ip link add mac0 link cni0 type macvlan"),
            0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_EQ(facts->interfaces.at("port0").master_kind, "bridge");
  EXPECT_EQ(facts->interfaces.at("alone0").master_kind, "");
  EXPECT_EQ(facts->interfaces.at("cni0").master_kind, "");
  EXPECT_EQ(facts->interfaces.at("cni0").below, Names{"port0"});
  EXPECT_EQ(facts->interfaces.at("port0").below, Names{});
  EXPECT_EQ(facts->interfaces.at("mac0").below, Names{"cni0"});
}

TEST(ReaderKernel, TheWayOfLocalClientsIsOursAndNoFact) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("ip link add kube-lvs0 type veth peer name kube-lvs1 && "
                        "ip link set kube-lvs0 up && ip link set kube-lvs1 up && "
                        "ip route add 192.0.2.1 dev kube-lvs0"),
            0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_FALSE(facts->interfaces.contains("kube-lvs0"));
  EXPECT_FALSE(facts->interfaces.contains("kube-lvs1"));
  for (const RouteFacts& route : facts->routes) EXPECT_EQ(route.interface, "") << "a route of ours";
}

TEST(ReaderKernel, AllLegsOfAMultipathRouteAreKnown) {
  MakeTwoUplinks();
  ASSERT_EQ(
      std::system("ip route add default metric 7 nexthop via 10.0.0.254 nexthop via 10.0.1.254 "
                  "&& ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8:0::fe "
                  "nexthop via 2001:db8:1::fe "
                  "&& ip route add 10.9.0.0/16 via inet6 2001:db8:1::fe dev eth1"),
      0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_EQ(NamesTowards(*facts, "192.0.2.1"), (Names{"eth0", "eth1"}));
  EXPECT_EQ(GatewaysOf(*facts, "0.0.0.0/0"), (Names{"10.0.0.254", "10.0.1.254"}));
  EXPECT_EQ(NamesTowards(*facts, "2001:db8:9::1"), (Names{"eth0", "eth1"}));
  EXPECT_EQ(GatewaysOf(*facts, "2001:db8:9::/48"), (Names{"2001:db8::fe", "2001:db8:1::fe"}));
  EXPECT_EQ(NamesTowards(*facts, "10.0.1.9"), Names{"eth1"});
  EXPECT_EQ(GatewaysOf(*facts, "10.9.0.0/16"), Names{"2001:db8:1::fe"});
  for (const RouteFacts& route : facts->routes) {
    if (route.destination.length != 0) continue;
    EXPECT_EQ(route.metric, 7u);
  }
}

TEST(ReaderKernel, ThePortsOfTheNodesOwnConnectionsAreKnown) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("cd /proc/sys/net/ipv4 && echo 2000 50001 > ip_local_port_range && "
                        "echo 8080,3000-3001,3002 > ip_local_reserved_ports"),
            0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_EQ(facts->local_ports, (std::pair<uint16_t, uint16_t>{2000, 50001}));
  EXPECT_EQ(facts->reserved_ports, "3000-3002,8080");
}

// With compatibility the kernel tells the legs with the route, without only the group's id.
TEST(ReaderKernel, TheLegsOfANexthopGroupAreKnownHoweverTheKernelTellsThem) {
  MakeTwoUplinks();
  ASSERT_EQ(std::system("ip nexthop add id 1 via 10.0.0.254 dev eth0 && "
                        "ip nexthop add id 2 via 10.0.1.254 dev eth1 && "
                        "ip nexthop add id 10 group 1/2 && ip route add default nhid 10 && "
                        "ip route add 10.9.0.0/16 nhid 2"),
            0);
  for (const char* compatible : {"1", "0"}) {
    ASSERT_EQ(std::system(
                  (std::string("echo ") + compatible + " > /proc/sys/net/ipv4/nexthop_compat_mode")
                      .c_str()),
              0);
    const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
    ASSERT_TRUE(facts.ok()) << Message(facts.status());
    EXPECT_EQ(NamesTowards(*facts, "192.0.2.1"), (Names{"eth0", "eth1"})) << compatible;
    EXPECT_EQ(GatewaysOf(*facts, "0.0.0.0/0"), (Names{"10.0.0.254", "10.0.1.254"})) << compatible;
    EXPECT_EQ(NamesTowards(*facts, "10.9.0.1"), Names{"eth1"}) << compatible;
  }
}

// Nothing else happens in a namespace that has only lo. The watcher may begin after a change, so
// there are many.
TEST(ReaderKernel, AChangeOfANexthopIsSeenThoughNoRouteTellsOfIt) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("ip link set lo up"), 0);
  std::mutex mu;
  std::condition_variable changed;
  int changes = 0;
  const std::jthread watcher([&](std::stop_token stop) {
    EXPECT_TRUE(WatchNetlink(stop, [&] {
                  const std::lock_guard<std::mutex> lock(mu);
                  ++changes;
                  changed.notify_all();
                }).ok());
  });
  std::unique_lock<std::mutex> lock(mu);
  for (int i = 0; i < 200 && changes == 0; ++i) {
    ASSERT_EQ(std::system("ip nexthop replace id 1 dev lo"), 0);
    changed.wait_for(lock, std::chrono::milliseconds(10), [&] { return changes > 0; });
  }
  EXPECT_GT(changes, 0);
}

}  // namespace
}  // namespace kube_lvs
