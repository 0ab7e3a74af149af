// The host backend on this machine's kernel, in a network namespace of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "dataplane/host/host_backend.h"
#include "dataplane/plan/diff.h"

namespace kube_lvs::host {
namespace {

const IpAddress kVip4 = *IpAddress::Parse("192.0.2.7");
const IpAddress kVip6 = *IpAddress::Parse("2001:db8::7");

class HostKernelTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
    ASSERT_EQ(std::system("ip link set lo up && ip link add kl0 type veth peer name kl1 && "
                          "ip link set kl0 up && ip link set kl1 up"),
              0);
    std::filesystem::remove(journal_);
  }

  std::unique_ptr<HostBackend> Open() {
    return std::make_unique<HostBackend>(*OpenAddresses(), *OpenMasqueradeTable(),
                                         Sysctls("/proc/sys", journal_));
  }

  void Reach(const State& desired) {
    const Plan plan = Diff(desired, *Open()->Read());
    for (const absl::Status& status : Open()->Apply(plan.steps)) EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(*Open()->Read(), desired);
  }

  const std::string journal_ = testing::TempDir() + "/sysctl-journal";
};

TEST_F(HostKernelTest, EveryItemIsReadBackByANewBackendAndGoesAgain) {
  State desired;
  desired.items = {Sysctl{"net/ipv4/conf/all/arp_ignore", "1"},
                   Sysctl{"net/ipv4/conf/all/arp_announce", "2"},
                   SilentVip{kVip4},
                   SilentVip{kVip6},
                   Masquerade{{kVip4, 80}, Protocol::kTcp},
                   Masquerade{{kVip4, 80}, Protocol::kUdp},
                   Masquerade{{kVip6, 443}, Protocol::kTcp},
                   AnsweredVip{Dataplane::kIpvs, *IpAddress::Parse("192.0.2.8"), "kl0"},
                   AnsweredVip{Dataplane::kIpvs, *IpAddress::Parse("2001:db8::8"), "kl0"}};
  Reach(desired);
  EXPECT_EQ(Diff(desired, *Open()->Read()), Plan{});
  desired.items.erase(Masquerade{{kVip4, 80}, Protocol::kTcp});
  desired.items.erase(SilentVip{kVip6});
  Reach(desired);
  Reach(State{});
  EXPECT_NE(std::system("nft list table inet kube-lvs 2>/dev/null"), 0);
}

TEST_F(HostKernelTest, WhatOthersSetIsNotOursAndIsNeverTouched) {
  ASSERT_EQ(std::system("ip addr add 192.0.2.7/32 dev lo && ip addr add 2001:db8::7/128 dev lo && "
                        "nft 'add table inet other; add table ip kube-lvs'"),
            0);
  EXPECT_EQ(*Open()->Read(), State{});
  const std::vector<Step> steps = {AddItem{SilentVip{kVip4}}, RemoveItem{SilentVip{kVip6}}};
  for (const absl::Status& status : Open()->Apply(steps)) {
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  }
  EXPECT_EQ(std::system("ip -o addr show dev lo | grep -q 2001:db8::7"), 0);
}

TEST_F(HostKernelTest, AnInterfaceThatIsNotThereIsNotFound) {
  const std::vector<Step> steps = {AddItem{AnsweredVip{Dataplane::kIpvs, kVip4, "nope"}}};
  EXPECT_TRUE(absl::IsNotFound(Open()->Apply(steps)[0]));
}

}  // namespace
}  // namespace kube_lvs::host
