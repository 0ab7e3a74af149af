#include "operator/group.h"

#include <gtest/gtest.h>

namespace kube_lvs::controller {
namespace {

class GroupTest : public testing::Test {
 protected:
  GroupTest() {
    for (const char* name : {"a", "b", "c"}) AddNode(name, {{"director", "yes"}});
    group_.meta.name = "default";
    group_.meta.creation_timestamp = "2026-01-02T00:00:00Z";
    group_.meta.generation = 4;
    group_.spec.node_selector.match_labels = {{"director", "yes"}};
  }
  void AddNode(const std::string& name, std::map<std::string, std::string> labels) {
    api::KubeNode node;
    node.meta.name = name;
    node.meta.labels = std::move(labels);
    node.internal_addresses = {"2001:db8::" + std::to_string(nodes_.size() + 1),
                               "192.0.2." + std::to_string(nodes_.size() + 1)};
    nodes_[name] = std::make_shared<api::KubeNode>(node);
  }
  void Report(const std::string& name, std::vector<std::string> dataplanes) {
    api::LvsNode node;
    node.meta.name = name;
    node.status.kernel = "6.1";
    node.status.dataplanes = std::move(dataplanes);
    lvs_nodes_[name] = std::make_shared<api::LvsNode>(node);
  }
  void AddGroup(const std::string& name, const std::string& created,
                std::map<std::string, std::string> labels) {
    api::LvsDirectorGroup group;
    group.meta.name = name;
    group.meta.creation_timestamp = created;
    group.spec.node_selector.match_labels = std::move(labels);
    groups_[name] = std::make_shared<api::LvsDirectorGroup>(group);
  }
  // "a b c | epoch 1 | eBPF | True Ready"; what was computed becomes the group's status.
  std::string Run() {
    groups_["default"] = std::make_shared<api::LvsDirectorGroup>(group_);
    group_.status = ComputeGroup({.group = group_,
                                  .groups = groups_,
                                  .nodes = nodes_,
                                  .lvs_nodes = lvs_nodes_,
                                  .services = 2,
                                  .now = "now"});
    std::string out;
    for (const api::GroupMember& member : group_.status.members) out += member.node + " ";
    const api::Condition& ready = group_.status.conditions.at(0);
    return out + "| epoch " + std::to_string(group_.status.epoch) + " | " +
           group_.status.dataplane + " | " + ready.status + " " + ready.reason;
  }

  api::LvsDirectorGroup group_;
  GroupMap groups_;
  NodeMap nodes_;
  LvsNodeMap lvs_nodes_;
};

TEST_F(GroupTest, MembersAreTheNodesThatItNamesAndTheEpochRisesWithEachChange) {
  EXPECT_EQ(Run(), "a b c | epoch 1 |  | Unknown Pending");
  EXPECT_EQ(group_.status.members[0].address, "192.0.2.1");
  Report("a", {"eBPF"});
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | True Ready");
  AddNode("d", {});
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | True Ready");
  nodes_.erase("b");
  EXPECT_EQ(Run(), "a c | epoch 2 | eBPF | True Ready");
  EXPECT_EQ(group_.status.counts,
            (api::LvsDirectorGroup::Status::Counts{
                .selected = 2, .members = 2, .maintenance = 0, .services = 2}));
  EXPECT_EQ(group_.status.observed_generation, 4);
}

TEST_F(GroupTest, MaintenanceTakesANodeOut) {
  group_.spec.maintenance_nodes = {"b", "nobody"};
  EXPECT_EQ(Run(), "a c | epoch 1 |  | Unknown Pending");
  EXPECT_EQ(group_.status.counts.maintenance, 1);
  EXPECT_EQ(group_.status.counts.selected, 3);
}

TEST_F(GroupTest, ANodeBelongsToTheOlderGroup) {
  Report("b", {"eBPF"});
  AddNode("b", {{"director", "yes"}, {"rack", "1"}});
  AddGroup("older", "2026-01-01T00:00:00Z", {{"rack", "1"}});
  EXPECT_EQ(Run(), "a c | epoch 1 |  | Unknown Pending");
  Report("a", {"eBPF"});
  EXPECT_EQ(Run(), "a c | epoch 1 | eBPF | True Conflict");
  AddGroup("older", "2026-01-01T00:00:00Z", {{"director", "yes"}});
  EXPECT_EQ(Run(), "| epoch 2 | eBPF | False Conflict");
  // The same time: the name decides.
  AddGroup("older", "2026-01-02T00:00:00Z", {{"director", "yes"}});
  EXPECT_EQ(Run(), "a b c | epoch 3 | eBPF | True Ready");
}

TEST_F(GroupTest, NobodyIsAMemberWithoutAnAddress) {
  api::KubeNode node = *nodes_["a"];
  node.internal_addresses = {"nonsense"};
  nodes_["a"] = std::make_shared<api::KubeNode>(node);
  EXPECT_EQ(Run(), "b c | epoch 1 |  | Unknown Pending");
  node.internal_addresses = {"2001:db8::9"};
  nodes_["a"] = std::make_shared<api::KubeNode>(node);
  EXPECT_EQ(Run(), "a b c | epoch 2 |  | Unknown Pending");
  EXPECT_EQ(group_.status.members[0].address, "2001:db8::9");
  nodes_.clear();
  EXPECT_EQ(Run(), "| epoch 3 |  | False NoMembers");
}

TEST_F(GroupTest, TheDataplaneIsResolvedOnceAndChangedByTheUserOnly) {
  Report("a", {"IPVS", "eBPF"});
  Report("b", {"IPVS"});
  EXPECT_EQ(Run(), "a b c | epoch 1 | IPVS | True Ready");
  Report("b", {"IPVS", "eBPF"});
  EXPECT_EQ(Run(), "a b c | epoch 1 | IPVS | True Ready");
  group_.spec.dataplane = api::DataplaneChoice::kEbpf;
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | True Ready");
  group_.spec.dataplane = api::DataplaneChoice::kAuto;
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | True Ready");
  Report("c", {"IPVS"});
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | False PrerequisiteMissing");
}

TEST_F(GroupTest, WithoutACommonDataplaneThereIsNone) {
  Report("a", {"eBPF"});
  Report("b", {"IPVS"});
  EXPECT_EQ(Run(), "a b c | epoch 1 |  | False PrerequisiteMissing");
}

TEST_F(GroupTest, ReportsOfNodesThatAreNoMembersDoNotCount) {
  Report("z", {"IPVS"});
  Report("a", {"eBPF"});
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | True Ready");
}

TEST_F(GroupTest, ASpecThatCannotBeServedSaysSo) {
  Report("a", {"eBPF"});
  group_.spec.static_allowed_ranges = {"10.0.0.1/8"};
  EXPECT_EQ(Run(), "a b c | epoch 1 | eBPF | False InvalidSpec");
}

TEST_F(GroupTest, AtMost64Members) {
  for (int i = 0; i < 80; ++i) AddNode("n" + std::to_string(i), {{"director", "yes"}});
  Run();
  EXPECT_EQ(group_.status.members.size(), 64u);
  EXPECT_EQ(group_.status.counts.selected, 83);
}

}  // namespace
}  // namespace kube_lvs::controller
