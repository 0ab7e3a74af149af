// A veth device in a network namespace that the test made, with /sys of that namespace.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>

#include "base/status.h"
#include "node-agent/facts/nic.h"
#include "node-agent/facts/reader.h"

namespace kube_lvs {
namespace {

class NicKernelTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNET | CLONE_NEWNS), 0) << "needs root";
    ASSERT_EQ(std::system("mount --make-rprivate / && mount -t sysfs sysfs /sys && "
                          "ip link add eth0 numrxqueues 4 numtxqueues 4 type veth peer name far0 "
                          "numrxqueues 4 numtxqueues 4 && ip link set eth0 up && "
                          "ip link set far0 up && ethtool -L eth0 rx 3 tx 3"),
              0);
  }
};

TEST_F(NicKernelTest, ADeviceTellsWhatItHas) {
  ASSERT_EQ(std::system("ethtool -K eth0 rx off >/dev/null"), 0);
  auto nic = ReadNic("eth0");
  ASSERT_TRUE(nic.ok()) << Message(nic.status());
  EXPECT_EQ(nic->driver, "veth");
  EXPECT_EQ(nic->queues, 3u);
  EXPECT_EQ(nic->most_queues, 4u);
  EXPECT_TRUE(nic->separate);
  EXPECT_EQ(nic->longest_ring, 0u);
  EXPECT_FALSE(nic->rps);
  EXPECT_EQ(nic->rx_checksum, (NicFacts::Feature{.on = false, .changeable = true}));
  EXPECT_EQ(nic->lro, (NicFacts::Feature{.on = false, .changeable = false}));

  ASSERT_EQ(std::system("ethtool -K eth0 rx on >/dev/null && "
                        "echo 2 > /sys/class/net/eth0/queues/rx-1/rps_cpus"),
            0);
  nic = ReadNic("eth0");
  ASSERT_TRUE(nic.ok()) << Message(nic.status());
  EXPECT_TRUE(nic->rps);
  EXPECT_EQ(nic->rx_checksum, (NicFacts::Feature{.on = true, .changeable = true}));
}

TEST_F(NicKernelTest, WhatIsNotThereIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadNic("eth7").status()));
}

TEST_F(NicKernelTest, TheCardsBelowAnInterfaceAreFound) {
  ASSERT_EQ(std::system("ip link add br0 type bridge && ip link set eth0 master br0 && "
                        "ip link set br0 up && ip link add mac0 link br0 type macvlan && "
                        "ip link add eth1 type veth peer name far1 && ip link set eth1 up"),
            0);
  auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  facts->interfaces["eth0"].kind = "";
  facts->interfaces["eth1"].kind = "";
  using Names = std::vector<std::string>;
  EXPECT_EQ(NicsBelow(*facts, {"mac0"}), Names{"eth0"});
  EXPECT_EQ(NicsBelow(*facts, {"br0", "eth0"}), Names{"eth0"});
  EXPECT_EQ(NicsBelow(*facts, {"br0", "eth1"}), (Names{"eth0", "eth1"}));
  EXPECT_EQ(NicsBelow(*facts, {"far1", "lo", "gone0"}), Names{});  // its peer is not below it
}

TEST_F(NicKernelTest, DevicesOfSoftwareAreNoNics) {
  const auto facts = NewKernelFactsReader("n1", std::nullopt)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  ASSERT_TRUE(facts->interfaces.contains("eth0"));
  EXPECT_EQ(NicsOf(*facts), std::vector<std::string>());
  NodeFacts real = *facts;
  real.interfaces["eth0"].kind = "";
  EXPECT_EQ(NicsOf(real), std::vector<std::string>{"eth0"});
  real.interfaces["eth0"].up = false;
  EXPECT_EQ(NicsOf(real), std::vector<std::string>());
}

}  // namespace
}  // namespace kube_lvs
