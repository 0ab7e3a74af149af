#include "node-agent/nic_advice.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

using Feature = NicFacts::Feature;
using Strings = std::vector<std::string>;

// A card with nothing to say about, on four CPUs.
NicFacts Good() {
  return {.interface = "eth0",
          .driver = "mlx5_core",
          .queues = 4,
          .most_queues = 63,
          .ring = 1024,
          .longest_ring = 8192,
          .lro = Feature{.on = false, .changeable = true},
          .hardware_gro = Feature{.on = false, .changeable = true},
          .rx_checksum = Feature{.on = true, .changeable = true},
          .rps = false};
}

Strings Mends(const NicFacts& nic, uint32_t cpus = 4) {
  Strings mends;
  for (const NicAdvice& advice : AdviseOn(nic, cpus)) {
    EXPECT_NE(advice.what, "");
    EXPECT_NE(advice.why, "");
    mends.push_back(advice.mend);
  }
  return mends;
}

TEST(NicAdvice, AGoodCardAndOneThatTellsNothingNeedNone) {
  EXPECT_EQ(Mends(Good()), Strings{});
  EXPECT_EQ(Mends(NicFacts{.interface = "eth0"}), Strings{});
}

TEST(NicAdvice, AQueueForEachCpuAsFarAsThereAreQueues) {
  NicFacts nic = Good();
  nic.queues = 1;
  EXPECT_EQ(Mends(nic), Strings{"ethtool -L eth0 combined 4"});
  EXPECT_EQ(Mends(nic, 64), Strings{"ethtool -L eth0 combined 63"});
  EXPECT_EQ(Mends(nic, 1), Strings{});
  nic.queues = 63;
  EXPECT_EQ(Mends(nic, 64), Strings{});
  EXPECT_EQ(AdviseOn({.interface = "eth0", .driver = "i40e", .queues = 2, .most_queues = 8}, 4),
            (std::vector<NicAdvice>{{"2 queues for 4 CPUs", "the other CPUs take no packets",
                                     "ethtool -L eth0 combined 4"}}));
}

TEST(NicAdvice, QueuesThatAreToldApartAreSetApart) {
  NicFacts nic = Good();
  nic.separate = true;
  nic.queues = 2;
  EXPECT_EQ(Mends(nic), Strings{"ethtool -L eth0 rx 4 tx 4"});
}

TEST(NicAdvice, DriversThatSendByHalfOfTheQueuesKeepThem) {
  for (const char* driver : {"ena", "gve"}) {
    NicFacts nic = Good();
    nic.driver = driver;
    nic.queues = nic.most_queues = 8;
    EXPECT_EQ(Mends(nic, 8), Strings{"ethtool -L eth0 combined 4"}) << driver;
    nic.queues = 4;
    EXPECT_EQ(Mends(nic, 8), Strings{}) << driver;
    nic.queues = 2;
    EXPECT_EQ(Mends(nic, 8), Strings{"ethtool -L eth0 combined 4"}) << driver;
  }
}

TEST(NicAdvice, VirtioNeedsQueuesToSendFromItsHost) {
  NicFacts nic = Good();
  nic.driver = "virtio_net";
  nic.ring = nic.longest_ring = 256;
  nic.most_queues = 4;
  EXPECT_EQ(Mends(nic), Strings{"give it 8 queues on the VM's host (QEMU: queues=8)"});
  nic.most_queues = 8;
  EXPECT_EQ(Mends(nic), Strings{});
  nic.hardware_gro = Feature{.on = true, .changeable = true};
  EXPECT_EQ(Mends(nic), Strings{});
}

TEST(NicAdvice, OneQueueIsSpreadBySoftware) {
  NicFacts nic = Good();
  nic.queues = 1;
  for (const uint32_t most : {0u, 1u}) {
    nic.most_queues = most;
    EXPECT_EQ(Mends(nic), Strings{"echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus"});
    EXPECT_EQ(Mends(nic, 40),
              Strings{"echo ff,ffffffff > /sys/class/net/eth0/queues/rx-0/rps_cpus"});
    EXPECT_EQ(Mends(nic, 64),
              Strings{"echo ffffffff,ffffffff > /sys/class/net/eth0/queues/rx-0/rps_cpus"});
    EXPECT_EQ(Mends(nic, 1), Strings{});
  }
  nic.rps = true;
  EXPECT_EQ(Mends(nic), Strings{});
}

TEST(NicAdvice, AShortRingIsMadeLongerButNotAsLongAsItCanBe) {
  NicFacts nic = Good();
  nic.ring = 256;
  EXPECT_EQ(Mends(nic), Strings{"ethtool -G eth0 rx 1024"});
  nic.longest_ring = 512;
  EXPECT_EQ(Mends(nic), Strings{"ethtool -G eth0 rx 512"});
  nic.longest_ring = 256;
  EXPECT_EQ(Mends(nic), Strings{});
}

TEST(NicAdvice, OffloadsAreAdvisedOnOnlyWhereTheyCanBeChanged) {
  NicFacts nic = Good();
  nic.lro = nic.hardware_gro = Feature{.on = true, .changeable = true};
  nic.rx_checksum = Feature{.on = false, .changeable = true};
  EXPECT_EQ(Mends(nic), (Strings{"ethtool -K eth0 lro off", "ethtool -K eth0 rx-gro-hw off",
                                 "ethtool -K eth0 rx on"}));
  nic.lro->changeable = nic.hardware_gro->changeable = nic.rx_checksum->changeable = false;
  EXPECT_EQ(Mends(nic), Strings{});
}

TEST(NicAdvice, VethNeedsNone) {
  NicFacts nic = Good();
  nic.driver = "veth";
  nic.queues = 1;
  nic.lro = Feature{.on = true, .changeable = true};
  EXPECT_EQ(Mends(nic), Strings{});
}

}  // namespace
}  // namespace kube_lvs
