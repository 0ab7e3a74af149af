// Facts of a network namespace that the test made.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>

#include "base/status.h"
#include "node-agent/facts/reader.h"

namespace kube_lvs {
namespace {

TEST(ReaderKernel, PodsBehindABridgeAreReachedThroughIt) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("ip link set lo up && ip link add name cni0 type bridge && "
                        "ip link set cni0 up && ip addr add 10.244.2.1/24 dev cni0"),
            0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  ASSERT_TRUE(facts->interfaces.contains("cni0"));
  EXPECT_EQ(facts->interfaces.at("cni0").kind, "bridge");
  const InterfaceFacts* towards = InterfaceTowards(*facts, *IpAddress::Parse("10.244.2.3"));
  ASSERT_NE(towards, nullptr);
  EXPECT_EQ(towards->name, "cni0");
}

TEST(ReaderKernel, WhatAnInterfaceIsPartOfIsKnown) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
  ASSERT_EQ(std::system("ip link add name cni0 type bridge && "
                        "ip link add name port0 type veth peer name alone0 && "
                        "ip link set port0 master cni0"),
            0);
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_EQ(facts->interfaces.at("port0").master_kind, "bridge");
  EXPECT_EQ(facts->interfaces.at("alone0").master_kind, "");
  EXPECT_EQ(facts->interfaces.at("cni0").master_kind, "");
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

}  // namespace
}  // namespace kube_lvs
