// The host backend on this machine's kernel, in a network namespace of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "dataplane/host/host_backend.h"
#include "dataplane/plan/diff.h"

namespace kube_lvs::host {
namespace {

const IpAddress kVip4 = *IpAddress::Parse("192.0.2.7");
const IpAddress kVip6 = *IpAddress::Parse("2001:db8::7");
const Cidr kPrefix = *Cidr::Parse("192.0.2.64/26");

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
    return std::make_unique<HostBackend>(*OpenAddresses(), *OpenLocalRoutes(), *OpenLocalClients(),
                                         *OpenMasqueradeTable(), *OpenAnswerClaims(),
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
                   Masquerade{{kVip4, 10000}, Protocol::kUdp, 10100},
                   Masquerade{{kVip6, 1}, Protocol::kSctp, 65535},
                   Masquerade{{*IpAddress::Parse("192.0.2.9"), 0}, Protocol::kTcp},
                   Masquerade{{*IpAddress::Parse("2001:db8::9"), 0}, Protocol::kTcp},
                   AnsweredVip{Dataplane::kIpvs, *IpAddress::Parse("192.0.2.8"), "kl0"},
                   AnsweredVip{Dataplane::kIpvs, *IpAddress::Parse("2001:db8::8"), "kl0"},
                   SilentVip{kPrefix.address, kPrefix.length},
                   SilentVip{*IpAddress::Parse("2001:db8:1::"), 48},
                   Masquerade{{kPrefix.address, 80}, Protocol::kTcp, 0, kPrefix.length},
                   Masquerade{{kPrefix.address, 90}, Protocol::kUdp, 99, kPrefix.length},
                   Masquerade{{*IpAddress::Parse("2001:db8:2::"), 0}, Protocol::kTcp, 0, 64}};
  Reach(desired);
  EXPECT_EQ(Diff(desired, *Open()->Read()), Plan{});
  // Read back by their comments; these are what the kernel goes by.
  for (const char* rule : {"ct original ip daddr 192.0.2.64/26 ct original proto-dst 80 ",
                           "ct original ip6 daddr 2001:db8:2::/64 "}) {
    EXPECT_EQ(
        std::system(
            ("nft list table inet kube-lvs | grep -qF \"" + std::string(rule) + "\"").c_str()),
        0)
        << rule;
  }
  desired.items.erase(Masquerade{{kVip4, 80}, Protocol::kTcp});
  desired.items.erase(SilentVip{kVip6});
  desired.items.erase(SilentVip{kPrefix.address, kPrefix.length});
  desired.items.erase(Masquerade{{kPrefix.address, 80}, Protocol::kTcp, 0, kPrefix.length});
  Reach(desired);
  Reach(State{});
  EXPECT_NE(std::system("nft list table inet kube-lvs 2>/dev/null"), 0);
}

TEST_F(HostKernelTest, ReservedPortsAreThoseThatWereReservedBeforeWhenOursGo) {
  const std::string path = "/proc/sys/net/ipv4/ip_local_reserved_ports";
  for (const std::string before : {"", "8080,40000-40010"}) {
    ASSERT_EQ(std::system(("echo '" + before + "' > " + path).c_str()), 0);
    State desired;
    desired.items = {Sysctl{"net/ipv4/ip_local_reserved_ports",
                            before.empty() ? "1024-32767" : "1024-32767,40000-40010"}};
    Reach(desired);
    Reach(State{});
    EXPECT_EQ(*ReadFile(path), before + "\n");
  }
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

  // From now on it has a route.
  void RoutesVia(const Cidr& to, const IpAddress& hop) const {
    EXPECT_EQ(std::system(("ip -n " + name_ + " route add " + to.ToString() + " via " +
                           hop.ToString() + " dev kl1")
                              .c_str()),
              0);
  }
  // Whether somebody refuses a connection to the address, and so has it.
  bool Reaches(const std::string& vip) const {
    return std::system(("ip netns exec " + name_ + " timeout 5 bash -c 'echo > /dev/tcp/" + vip +
                        "/9' 2>&1 | grep -q refused")
                           .c_str()) == 0;
  }

  // From now on it has each of these in its table, with another's link address.
  void Knows(const std::vector<std::string>& vips) const {
    for (const std::string& vip : vips) {
      EXPECT_EQ(std::system(("ip -n " + name_ + " neigh replace " + vip +
                             " lladdr 02:00:00:00:00:99 nud reachable dev kl1")
                                .c_str()),
                0);
    }
  }
  // Whether it has another link address for it now.
  bool WasTold(const std::string& vip) const {
    return std::system(
               ("ip -n " + name_ + " neigh show " + vip + " dev kl1 | grep -q 02:00:00:00:00:99")
                   .c_str()) != 0;
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

TEST_F(HostKernelTest, EachAddressOfAPrefixIsAnsweredForWhileItsOneClaimLasts) {
  const Neighbour neighbour;
  std::vector<IpAddress> inside;
  for (const char* text : {"192.0.2.64", "192.0.2.100", "192.0.2.127"}) {
    inside.push_back(*IpAddress::Parse(text));
  }
  State desired;
  desired.items = {AnsweredVip{Dataplane::kIpvs, *IpAddress::Parse("192.0.2.8"), "kl0"},
                   AnsweredVip{Dataplane::kIpvs, kPrefix.address, "kl0", kPrefix.length}};
  const auto backend = Open();
  TimePoint now{std::chrono::hours(1)};
  for (const absl::Status& status : backend->Apply(Diff(desired, *backend->Read()).steps)) {
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_TRUE(neighbour.Finds(inside[1]));
  ASSERT_TRUE(backend->RenewClaims(std::nullopt, now).ok());
  for (const IpAddress& vip : inside) EXPECT_TRUE(neighbour.Finds(vip)) << vip.ToString();
  EXPECT_FALSE(neighbour.Finds(*IpAddress::Parse("192.0.2.128")));

  ASSERT_TRUE(backend->RenewClaims(std::chrono::milliseconds(100), now).ok());
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (backend->RunOut()->size() < 2 && std::chrono::steady_clock::now() < give_up) {
  }
  EXPECT_EQ(*backend->RunOut(),
            (std::set<IpAddress>{*IpAddress::Parse("192.0.2.8"), kPrefix.address}));
  for (const IpAddress& vip : inside) EXPECT_FALSE(neighbour.Finds(vip)) << vip.ToString();
  EXPECT_TRUE(neighbour.Finds(*IpAddress::Parse("192.0.2.2")));

  now += std::chrono::seconds(5);
  ASSERT_TRUE(backend->RenewClaims(std::chrono::hours(1), now).ok());
  for (const IpAddress& vip : inside) EXPECT_TRUE(neighbour.Finds(vip)) << vip.ToString();

  // A second VIP does not take the prefix's rules along.
  const AddItem more{AnsweredVip{Dataplane::kIpvs, *IpAddress::Parse("192.0.2.9"), "kl0"}};
  ASSERT_TRUE(backend->Apply(std::vector<Step>{more})[0].ok());
  EXPECT_EQ(std::system("nft list chain arp kube-lvs prefix_requests | grep -q 192.0.2.64/26"), 0);

  // As a real server's, it is silent.
  State silent;
  silent.items = {Sysctl{"net/ipv4/conf/all/arp_ignore", "1"},
                  SilentVip{kPrefix.address, kPrefix.length}};
  Reach(silent);
  ASSERT_TRUE(Open()->RenewClaims(std::nullopt, now).ok());
  EXPECT_NE(std::system("nft list table arp kube-lvs 2>/dev/null"), 0);
  for (const IpAddress& vip : inside) EXPECT_FALSE(neighbour.Finds(vip)) << vip.ToString();
  const AddItem answer{AnsweredVip{Dataplane::kIpvs, kPrefix.address, "kl0", kPrefix.length}};
  EXPECT_TRUE(absl::IsFailedPrecondition(Open()->Apply(std::vector<Step>{answer})[0]));
  Reach(State{});
  EXPECT_NE(std::system("ip route show table local | grep 'proto 142'"), 0);
}

TEST_F(HostKernelTest, APrefixIsAnnouncedAddressByAddress) {
  const Neighbour neighbour;
  ASSERT_EQ(std::system("ip neigh flush all"), 0);
  const AddItem answer{AnsweredVip{Dataplane::kIpvs, kPrefix.address, "kl0", kPrefix.length}};
  neighbour.Knows({"192.0.2.65", "192.0.2.127", "192.0.2.128"});
  ASSERT_TRUE(Open()->Apply(std::vector<Step>{answer})[0].ok());
  EXPECT_TRUE(neighbour.WasTold("192.0.2.65"));
  EXPECT_TRUE(neighbour.WasTold("192.0.2.127"));
  EXPECT_FALSE(neighbour.WasTold("192.0.2.128"));
}

// The kernel answers NDP for no prefix. As items.cc asks for it, the first address is the next hop.
TEST_F(HostKernelTest, APrefixOfIpv6IsReachedByARouteViaItsFirstAddress) {
  const Neighbour neighbour;
  const Cidr vips = *Cidr::Parse("2001:db8::5:0/112");
  neighbour.RoutesVia(vips, vips.address);
  EXPECT_FALSE(neighbour.Reaches("2001:db8::5:77"));
  State desired;
  // And of a real server, too.
  desired.items = {AnsweredVip{Dataplane::kIpvs, vips.address, "kl0", vips.length},
                   AnsweredVip{Dataplane::kIpvs, vips.address, "kl0"},
                   SilentVip{vips.address, vips.length}};
  const auto backend = Open();
  neighbour.Knows({"2001:db8::5:0"});
  for (const absl::Status& status : backend->Apply(Diff(desired, *backend->Read()).steps)) {
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_TRUE(neighbour.WasTold("2001:db8::5:0"));
  EXPECT_EQ(*backend->Read(), desired);
  const TimePoint now{std::chrono::hours(1)};
  ASSERT_TRUE(backend->RenewClaims(std::nullopt, now).ok());
  ASSERT_TRUE(backend->AnnounceAgain({vips.address}).ok());
  for (const char* vip : {"2001:db8::5:0", "2001:db8::5:77", "2001:db8::5:ffff"}) {
    EXPECT_TRUE(neighbour.Reaches(vip)) << vip;
  }
  EXPECT_FALSE(neighbour.Reaches("2001:db8::6:0"));

  ASSERT_TRUE(backend->RenewClaims(std::chrono::milliseconds(100), now).ok());
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (backend->RunOut()->empty() && std::chrono::steady_clock::now() < give_up) {
  }
  EXPECT_EQ(*backend->RunOut(), std::set<IpAddress>{vips.address});
  EXPECT_FALSE(neighbour.Finds(vips.address));
  Reach(State{});
  EXPECT_NE(std::system("ip -6 route show table local | grep 'proto 142'"), 0);
}

// How the kernel would send to `vip`, in the words of `ip route get`.
bool GoesBy(const IpAddress& vip, const std::string& way) {
  return std::system(("ip route get " + vip.ToString() + " | grep -q '" + way + "'").c_str()) == 0;
}

TEST_F(HostKernelTest, LocalClientsAreRoutedIntoAPairOfDevicesThatIsMendedAndGoesAgain) {
  ASSERT_EQ(std::system("ip addr add 198.51.100.2/24 dev kl0 && ip addr add 198.51.100.3/24 dev "
                        "kl0 && ip addr add 2001:db8:1::2/64 dev kl0 nodad"),
            0);
  const IpAddress source4 = *IpAddress::Parse("198.51.100.2");
  const IpAddress source6 = *IpAddress::Parse("2001:db8:1::2");
  State desired;
  desired.items = {LocalLink{1400}, LocalVip{kVip4, source4}, LocalVip{kVip6, source6}};
  Reach(desired);
  EXPECT_EQ(Diff(desired, *Open()->Read()), Plan{});
  EXPECT_TRUE(GoesBy(kVip4, "dev kube-lvs0 .*src 198.51.100.2 "));
  EXPECT_TRUE(GoesBy(kVip6, "dev kube-lvs0 .*src 2001:db8:1::2 "));
  EXPECT_TRUE(GoesBy(LocalLinkSource(Family::kIpv4), "dev kube-lvs0"));
  EXPECT_TRUE(GoesBy(LocalLinkSource(Family::kIpv6), "dev kube-lvs0"));
  // It says nothing by itself.
  EXPECT_NE(std::system("ip addr show dev kube-lvs0 | grep -q inet"), 0);

  desired.items = {LocalLink{9000}, LocalVip{kVip4, *IpAddress::Parse("198.51.100.3")}};
  Reach(desired);
  EXPECT_TRUE(GoesBy(kVip4, "src 198.51.100.3 "));
  EXPECT_FALSE(GoesBy(kVip6, "kube-lvs0"));
  for (const char* breakage : {"ip link set kube-lvs0 down", "ip link set kube-lvs1 arp on",
                               "ip route del 169.254.142.187", "ip link del kube-lvs1"}) {
    ASSERT_EQ(std::system(breakage), 0);
    EXPECT_NE(*Open()->Read(), desired) << breakage;
    Reach(desired);
  }
  ASSERT_EQ(std::system("ip link set kube-lvs1 down"), 0);
  Reach(State{});
  EXPECT_NE(std::system("ip link show kube-lvs0 2>/dev/null"), 0);
}

// Only addresses inside, and of those not what somebody has a nearer route to.
TEST_F(HostKernelTest, LocalClientsOfAPrefixAreRoutedIntoThePair) {
  ASSERT_EQ(std::system("ip addr add 198.51.100.2/24 dev kl0 && ip addr add 198.51.100.3/24 dev "
                        "kl0 && ip addr add 2001:db8:1::2/64 dev kl0 nodad && "
                        "ip route add 192.0.2.70 dev kl0"),
            0);
  const auto inside = [](const char* last) { return *IpAddress::Parse(last); };
  const IpAddress source6 = *IpAddress::Parse("2001:db8:1::2");
  State desired;
  const LocalVip net{kPrefix.address, inside("198.51.100.2"), kPrefix.length};
  desired.items = {LocalLink{1400}, net,
                   LocalVip{*IpAddress::Parse("2001:db8:7::"), source6, 112}};
  Reach(desired);
  EXPECT_EQ(Diff(desired, *Open()->Read()), Plan{});
  EXPECT_TRUE(GoesBy(inside("192.0.2.64"), "dev kube-lvs0 .*src 198.51.100.2 "));
  EXPECT_TRUE(GoesBy(inside("192.0.2.127"), "dev kube-lvs0"));
  EXPECT_FALSE(GoesBy(inside("192.0.2.63"), "kube-lvs0"));
  EXPECT_FALSE(GoesBy(inside("192.0.2.128"), "kube-lvs0"));
  EXPECT_TRUE(GoesBy(inside("192.0.2.70"), "dev kl0"));
  EXPECT_TRUE(GoesBy(inside("2001:db8:7::ffff"), "dev kube-lvs0 .*src 2001:db8:1::2 "));
  EXPECT_FALSE(GoesBy(inside("2001:db8:7::1:0"), "kube-lvs0"));

  LocalVip moved = net;
  moved.source = inside("198.51.100.3");
  desired.items = {LocalLink{1400}, moved};
  Reach(desired);
  EXPECT_TRUE(GoesBy(inside("192.0.2.100"), "src 198.51.100.3 "));
  desired.items = {LocalLink{1400}};
  Reach(desired);
  EXPECT_FALSE(GoesBy(inside("192.0.2.100"), "kube-lvs0"));
  Reach(State{});

  ASSERT_EQ(std::system("ip route add 192.0.2.64/26 dev kl0"), 0);
  ASSERT_TRUE(Open()->Apply(std::vector<Step>{AddItem{LocalLink{1400}}})[0].ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Open()->Apply(std::vector<Step>{AddItem{net}})[0]));
  Reach(State{});
  EXPECT_TRUE(GoesBy(inside("192.0.2.100"), "dev kl0"));
}

TEST_F(HostKernelTest, ADeviceOrARouteOfSomebodyElseIsLeftAlone) {
  ASSERT_EQ(std::system("ip addr add 198.51.100.2/24 dev kl0"), 0);
  const LocalVip vip{kVip4, *IpAddress::Parse("198.51.100.2")};
  EXPECT_TRUE(absl::IsNotFound(Open()->Apply(std::vector<Step>{AddItem{vip}})[0]));
  ASSERT_EQ(std::system("ip link add kube-lvs1 type bridge"), 0);
  const std::vector<Step> link = {AddItem{LocalLink{1500}}};
  EXPECT_TRUE(absl::IsAlreadyExists(Open()->Apply(link)[0]));
  EXPECT_NE(std::system("ip link show kube-lvs0 2>/dev/null"), 0);
  ASSERT_EQ(std::system("ip link del kube-lvs1 && ip route add 192.0.2.7 dev kl0"), 0);
  ASSERT_TRUE(Open()->Apply(link)[0].ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Open()->Apply(std::vector<Step>{AddItem{vip}})[0]));
  ASSERT_TRUE(Open()->Apply(std::vector<Step>{RemoveItem{vip}})[0].ok());
  EXPECT_TRUE(GoesBy(kVip4, "dev kl0"));
}

TEST_F(HostKernelTest, ThePairOfLvsadmIsNotTheAgentsAndTheOtherWayRound) {
  using enum host::LocalLinkOwner;
  for (const bool agents : {false, true}) {
    const auto owner = *OpenLocalClients(agents ? kAgent : kLvsadm);
    const auto other = *OpenLocalClients(agents ? kLvsadm : kAgent);
    ASSERT_TRUE(owner->Add(LocalLink{1400}).ok());
    EXPECT_EQ(*owner->Read(), std::set<NodeItem>{LocalLink{1400}});
    EXPECT_EQ(*other->Read(), std::set<NodeItem>{});
    const absl::Status refused = other->Add(LocalLink{1500});
    EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
    EXPECT_EQ(refused.message().find("lvsadm --dataplane ebpf -C") != std::string::npos, !agents);
    EXPECT_TRUE(absl::IsAlreadyExists(other->Remove(LocalLink{})));
    EXPECT_TRUE(absl::IsNotFound(other->Add(LocalVip{kVip4, kVip4})));
    EXPECT_EQ(*owner->Read(), std::set<NodeItem>{LocalLink{1400}});
    ASSERT_TRUE(owner->Remove(LocalLink{}).ok());
    EXPECT_NE(std::system("ip link show kube-lvs0 2>/dev/null"), 0);
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
  ASSERT_EQ(std::system("ip route add local 192.0.2.64/26 dev lo table local"), 0);
  EXPECT_EQ(*Open()->Read(), State{});
  const std::vector<Step> prefix = {AddItem{SilentVip{kPrefix.address, kPrefix.length}},
                                    RemoveItem{SilentVip{kPrefix.address, kPrefix.length}}};
  EXPECT_TRUE(absl::IsAlreadyExists(Open()->Apply(prefix)[0]));
  EXPECT_EQ(std::system("ip route show table local | grep -q 192.0.2.64/26"), 0);
}

TEST_F(HostKernelTest, AnInterfaceThatIsNotThereIsNotFound) {
  const std::vector<Step> steps = {AddItem{AnsweredVip{Dataplane::kIpvs, kVip4, "nope"}}};
  EXPECT_TRUE(absl::IsNotFound(Open()->Apply(steps)[0]));
}

}  // namespace
}  // namespace kube_lvs::host
