#include "node-agent/desired/connection_sync.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

InterfaceFacts Interface(const std::string& name, const std::string& address, int prefix) {
  InterfaceFacts interface;
  interface.name = name;
  interface.loopback = name == "lo";
  interface.addresses = {{Ip(address), prefix}};
  return interface;
}

// d1 with an uplink 192.0.2.1/24, an inner leg 10.0.0.1/24, and a subnet that leads nowhere.
NodeFacts Node() {
  NodeFacts facts;
  facts.node_name = "d1";
  facts.interfaces["lo"] = Interface("lo", "203.0.113.1", 24);
  facts.interfaces["eth0"] = Interface("eth0", "192.0.2.1", 24);
  facts.interfaces["eth1"] = Interface("eth1", "10.0.0.1", 24);
  return facts;
}

api::LvsDirectorGroup Group(const std::vector<api::GroupMember>& members) {
  api::LvsDirectorGroup group;
  group.meta.name = "edge";
  group.spec.dataplane = api::DataplaneChoice::kIpvs;
  group.spec.connection_sync = true;
  group.status.members = members;
  return group;
}

SyncDaemon Daemon(SyncRole role, const std::string& interface) {
  return {.role = role, .interface = interface, .sync_id = SyncIdOf("edge")};
}

TEST(ConnectionSync, EachDirectorSendsAndTakesOnTheInterfaceOfItsFellows) {
  const ConnectionSync sync =
      FindConnectionSync(Group({{"d1", "10.0.0.1"}, {"d2", "10.0.0.2"}}), Node());
  EXPECT_EQ(sync.items, (std::set<NodeItem>{Daemon(SyncRole::kMaster, "eth1"),
                                            Daemon(SyncRole::kBackup, "eth1"),
                                            Sysctl{"net/ipv4/vs/backup_only", "0"},
                                            Sysctl{"net/ipv4/vs/sync_threshold", "0\t0"},
                                            Sysctl{"net/ipv4/vs/sync_refresh_period", "30"},
                                            Sysctl{"net/ipv4/vs/sync_retries", "1"}}));
  EXPECT_EQ(sync.problem, "");
}

TEST(ConnectionSync, NothingWithoutBeingAskedForOrWithoutFellows) {
  api::LvsDirectorGroup group = Group({{"d1", "10.0.0.1"}, {"d2", "10.0.0.2"}});
  group.spec.connection_sync = false;
  EXPECT_EQ(FindConnectionSync(group, Node()), ConnectionSync{});
  EXPECT_EQ(FindConnectionSync(Group({{"d1", "10.0.0.1"}}), Node()), ConnectionSync{});
  // One whose address is not known yet is no fellow.
  EXPECT_EQ(FindConnectionSync(Group({{"d1", "10.0.0.1"}, {"d2", ""}}), Node()), ConnectionSync{});
}

TEST(ConnectionSync, AFellowBehindARouterIsNamedAndTheOthersAreReached) {
  const ConnectionSync alone =
      FindConnectionSync(Group({{"d1", "10.0.0.1"}, {"d2", "203.0.113.2"}}), Node());
  EXPECT_TRUE(alone.items.empty());
  EXPECT_THAT(alone.problem, AllOf(HasSubstr("director d2 (203.0.113.2)"),
                                   HasSubstr("; put the directors of LVSDirectorGroup edge")));
  const ConnectionSync both = FindConnectionSync(
      Group({{"d1", "10.0.0.1"}, {"d2", "203.0.113.2"}, {"d3", "10.0.0.3"}}), Node());
  EXPECT_TRUE(both.items.contains(Daemon(SyncRole::kMaster, "eth1")));
  EXPECT_THAT(both.problem, HasSubstr("d2"));
}

TEST(ConnectionSync, AFellowBehindAnotherInterfaceIsNamed) {
  const ConnectionSync sync = FindConnectionSync(
      Group({{"d1", "10.0.0.1"}, {"d2", "192.0.2.2"}, {"d3", "10.0.0.3"}}), Node());
  EXPECT_TRUE(sync.items.contains(Daemon(SyncRole::kMaster, "eth0")));
  EXPECT_FALSE(sync.items.contains(Daemon(SyncRole::kMaster, "eth1")));
  EXPECT_THAT(sync.problem, HasSubstr("director d3 (10.0.0.3): it is behind interface eth1"));
}

TEST(ConnectionSync, WithoutIpv4NothingIsSent) {
  NodeFacts facts = Node();
  facts.interfaces["eth2"] = Interface("eth2", "2001:db8::1", 64);
  const ConnectionSync sync =
      FindConnectionSync(Group({{"d1", "2001:db8::1"}, {"d2", "2001:db8::2"}}), facts);
  EXPECT_TRUE(sync.items.empty());
  EXPECT_THAT(sync.problem, HasSubstr("eth2 has no IPv4 address"));
}

// A kernel takes 0 to 255, and a backup with 0 takes what anybody sends.
TEST(ConnectionSync, IdsAreOfTheGroupAlone) {
  EXPECT_EQ(SyncIdOf("default"), SyncIdOf("default"));
  EXPECT_NE(SyncIdOf("default"), SyncIdOf("edge"));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_GE(SyncIdOf(std::to_string(i)), 1u);
    EXPECT_LE(SyncIdOf(std::to_string(i)), 255u);
  }
}

}  // namespace
}  // namespace kube_lvs
