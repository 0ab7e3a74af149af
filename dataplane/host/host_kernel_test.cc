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
                                         *OpenAnswerClaims(), Sysctls("/proc/sys", journal_));
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
                   Masquerade{{kVip4, 10000}, Protocol::kUdp, 10100},
                   Masquerade{{kVip6, 1}, Protocol::kSctp, 65535},
                   Masquerade{{*IpAddress::Parse("192.0.2.9"), 0}, Protocol::kTcp},
                   Masquerade{{*IpAddress::Parse("2001:db8::9"), 0}, Protocol::kTcp},
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

// A neighbour in a network namespace of its own, at the other end of the cable.
class Neighbour {
 public:
  Neighbour() : name_("klvs" + std::to_string(getpid())) {
    EXPECT_EQ(std::system(("ip netns add " + name_ + " && ip link set kl1 netns " + name_ +
                           " && ip -n " + name_ + " link set kl1 up && ip -n " + name_ +
                           " addr add 192.0.2.1/24 dev kl1 && ip -n " + name_ +
                           " addr add 2001:db8::1/64 dev kl1 nodad && "
                           "ip addr add 192.0.2.2/24 dev kl0 && "
                           "ip addr add 2001:db8::2/64 dev kl0 nodad")
                              .c_str()),
              0);
  }
  ~Neighbour() { EXPECT_EQ(std::system(("ip netns del " + name_).c_str()), 0); }

  // Whether somebody answers for the address now: what is known of it is forgotten first.
  bool Finds(const IpAddress& vip) const {
    const std::string on = "ip netns exec " + name_ + " ";
    // Sending a datagram makes the kernel ask for it; the answer, or that none came within a second
    // or so, is then in its table.
    return std::system((on + "ip neigh flush dev kl1; " + on + "bash -c 'echo > /dev/udp/" +
                        vip.ToString() + "/9'; for i in $(seq 500); do state=$(" + on +
                        "ip neigh show " + vip.ToString() +
                        " dev kl1); case $state in *lladdr*) exit 0;; *FAILED*) exit 1;; esac; "
                        "sleep 0.01; done; exit 1")
                           .c_str()) == 0;
  }

 private:
  const std::string name_;
};

TEST_F(HostKernelTest, AClaimThatIsNotRenewedSilencesTheVipUntilTheNextRenewal) {
  const Neighbour neighbour;
  const std::vector<IpAddress> vips = {*IpAddress::Parse("192.0.2.8"),
                                       *IpAddress::Parse("2001:db8::8")};
  State desired;
  for (const IpAddress& vip : vips) desired.items.insert(AnsweredVip{Dataplane::kIpvs, vip, "kl0"});
  const auto backend = Open();
  TimePoint now{std::chrono::hours(1)};
  for (const absl::Status& status : backend->Apply(Diff(desired, *backend->Read()).steps)) {
    EXPECT_TRUE(status.ok()) << status;
  }
  ASSERT_TRUE(backend->RenewClaims(std::nullopt, now).ok());
  for (const IpAddress& vip : vips) EXPECT_TRUE(neighbour.Finds(vip)) << vip.ToString();

  // From now on it has fellows. This is the last that it does before it freezes.
  ASSERT_TRUE(backend->RenewClaims(std::chrono::milliseconds(100), now).ok());
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (backend->RunOut()->size() < 2 && std::chrono::steady_clock::now() < give_up) {
  }
  EXPECT_EQ(*backend->RunOut(), std::set<IpAddress>(vips.begin(), vips.end()));
  for (const IpAddress& vip : vips) EXPECT_FALSE(neighbour.Finds(vip)) << vip.ToString();
  EXPECT_TRUE(neighbour.Finds(*IpAddress::Parse("192.0.2.2")));
  EXPECT_EQ(*backend->Read(), desired);  // the claim is no part of the plan

  now += std::chrono::seconds(5);
  ASSERT_TRUE(backend->RenewClaims(std::chrono::hours(1), now).ok());
  for (const IpAddress& vip : vips) EXPECT_TRUE(neighbour.Finds(vip)) << vip.ToString();
  EXPECT_TRUE(backend->RunOut()->empty());

  // A new process finds them claimed, and what others broke is mended.
  const auto again = Open();
  ASSERT_EQ(*again->Read(), desired);
  EXPECT_TRUE(again->RunOut()->empty());
  ASSERT_EQ(std::system("nft delete table arp kube-lvs"), 0);
  ASSERT_TRUE(again->RenewClaims(std::chrono::hours(1), now).ok());
  EXPECT_EQ(std::system("nft list set arp kube-lvs claims | grep -q '192.0.2.8 timeout 1h'"), 0);

  for (const absl::Status& status : again->Apply(Diff(State{}, *again->Read()).steps)) {
    EXPECT_TRUE(status.ok()) << status;
  }
  ASSERT_TRUE(again->RenewClaims(std::nullopt, now).ok());
  for (const char* table : {"arp", "ip6"}) {
    const std::string list = "nft list table " + std::string(table) + " kube-lvs 2>/dev/null";
    EXPECT_NE(std::system(list.c_str()), 0) << table;
  }
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
