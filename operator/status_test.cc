#include "operator/status.h"

#include <gtest/gtest.h>

#include "operator/conditions.h"

namespace kube_lvs::controller {
namespace {

// A service that is fine: two directors, of which "a" answers and has programmed it.
class StatusTest : public testing::Test {
 protected:
  StatusTest() {
    service_.meta.name = "web";
    service_.meta.name_space = "shop";
    service_.meta.uid = "u1";
    service_.meta.generation = 3;
    service_.meta.resource_version = "100";
    service_.spec.ports = {
        {.name = "http", .protocol = Protocol::kTcp, .port = 80, .end_port = {}, .target_port = {}},
        {.name = "dns", .protocol = Protocol::kUdp, .port = 53, .end_port = {}, .target_port = {}}};
    service_.spec.backends.resize(1);
    service_.spec.backends[0].service_name = "web";
    group_.meta.name = "default";
    group_.status.members = {{.node = "a", .address = "192.0.2.1"},
                             {.node = "b", .address = "192.0.2.2"}};
    resolution_.ready = 3;
    resolution_.total = 4;
    allocation_ = {.addresses = {{.value = "192.0.2.10", .pool_name = "edge"}},
                   .satisfied = true,
                   .message = "192.0.2.10 of LVSAddressPool edge"};
    for (const char* name : {"a", "b"}) {
      nodes_[name].ready = true;
      reports_[name].meta.name = name;
      reports_[name].status.programmed_resource_version = "100";
    }
    reports_["a"].status.answers_for = {"192.0.2.9", "192.0.2.10"};
  }

  api::LvsServiceStatus Compute() {
    LvsNodeMap lvs_nodes;
    for (const auto& [name, node] : reports_) {
      lvs_nodes[name] = std::make_shared<api::LvsNode>(node);
    }
    NodeMap nodes;
    for (const auto& [name, node] : nodes_) nodes[name] = std::make_shared<api::KubeNode>(node);
    return ComputeStatus({.service = service_,
                          .group = has_group_ ? &group_ : nullptr,
                          .dataplane = dataplane_,
                          .problems = problems_,
                          .resolution = resolution_,
                          .allocation = allocated_ ? &allocation_ : nullptr,
                          .lvs_nodes = lvs_nodes,
                          .nodes = nodes,
                          .now = now_});
  }
  // "True InSync"
  std::string Condition(const std::string& type) {
    const api::LvsServiceStatus status = Compute();
    const api::Condition* condition = FindCondition(status.conditions, type);
    return condition == nullptr ? "none" : condition->status + " " + condition->reason;
  }
  void Write() { service_.status = Compute(); }

  api::LvsService service_;
  api::LvsDirectorGroup group_;
  bool has_group_ = true;
  std::optional<Dataplane> dataplane_ = Dataplane::kEbpf;
  std::vector<api::Problem> problems_;
  api::Resolution resolution_;
  Allocation allocation_;
  bool allocated_ = true;
  std::map<std::string, api::LvsNode> reports_;
  std::map<std::string, api::KubeNode> nodes_;
  std::string now_ = "t1";
};

TEST_F(StatusTest, AServiceThatIsFine) {
  const api::LvsServiceStatus status = Compute();
  std::string text;
  for (const api::Condition& condition : status.conditions) {
    EXPECT_EQ(condition.observed_generation, 3);
    EXPECT_EQ(condition.last_transition_time, "t1");
    text += condition.type + " " + condition.status + " " + condition.reason + "\n";
  }
  EXPECT_EQ(text,
            "Accepted True Accepted\n"
            "AddressesAssigned True Assigned\n"
            "BackendsReady True QuorumMet\n"
            "Programmed True InSync\n"
            "Announced True Announced\n"
            "Redundant True Redundant\n"
            "Ready True Ready\n");
  EXPECT_EQ(status.observed_generation, 3);
  EXPECT_EQ(status.addresses, allocation_.addresses);
  EXPECT_EQ(status.directors, (std::vector<api::DirectorStatus>{{.node = "a", .role = "Active"},
                                                                {.node = "b", .role = "Standby"}}));
  EXPECT_EQ(status.summary, (api::LvsServiceStatus::Summary{.addresses = "192.0.2.10",
                                                            .ports = "80/TCP,53/UDP",
                                                            .real_servers = "3/4",
                                                            .directors = "a"}));
  EXPECT_EQ(status.effective, (api::LvsServiceStatus::Effective{
                                  .method = "NAT", .source_nat = "Enabled", .dataplane = "eBPF"}));
}

TEST_F(StatusTest, NothingChangesWhenNothingChanges) {
  Write();
  now_ = "t2";
  EXPECT_EQ(Compute(), service_.status);
}

TEST_F(StatusTest, TheTimeOfATransitionIsKeptUnlessTheStatusChanges) {
  Write();
  now_ = "t2";
  resolution_.ready = 2;
  EXPECT_EQ(FindCondition(Compute().conditions, "BackendsReady")->last_transition_time, "t1");
  resolution_.ready = 0;
  EXPECT_EQ(FindCondition(Compute().conditions, "BackendsReady")->last_transition_time, "t2");
  EXPECT_EQ(FindCondition(Compute().conditions, "Accepted")->last_transition_time, "t1");
}

TEST_F(StatusTest, Accepted) {
  problems_ = {{.reason = "InvalidSpec", .message = "x"}, {.reason = "Other", .message = "y"}};
  EXPECT_EQ(Condition("Accepted"), "False InvalidSpec");
  EXPECT_EQ(FindCondition(Compute().conditions, "Accepted")->message, "x; y");
  EXPECT_EQ(Condition("Ready"), "False InvalidSpec");
  problems_ = {};
  resolution_.problems = {{.reason = "NoBackends", .message = "s"},
                          {.reason = "BackendNotPermitted", .message = "z"}};
  EXPECT_EQ(Condition("Accepted"), "False BackendNotPermitted");
  resolution_.problems = {};
  dataplane_ = std::nullopt;
  EXPECT_EQ(Condition("Accepted"), "Unknown Pending");
  EXPECT_EQ(Condition("Ready"), "Unknown Pending");
  has_group_ = false;
  EXPECT_EQ(Condition("Accepted"), "False DirectorGroupNotFound");
}

TEST_F(StatusTest, ARefusedSpecKeepsTheAddressItHas) {
  Write();
  problems_ = {{.reason = "InvalidSpec", .message = "x"}};
  allocated_ = false;
  EXPECT_EQ(Compute().addresses, allocation_.addresses);
  EXPECT_EQ(Condition("AddressesAssigned"), "Unknown Pending");
}

TEST_F(StatusTest, AddressesAssigned) {
  allocation_ = {.addresses = {}, .satisfied = false, .reason = kPoolExhausted, .message = "full"};
  EXPECT_EQ(Condition("AddressesAssigned"), "False PoolExhausted");
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
  EXPECT_EQ(Condition("Announced"), "Unknown Pending");
  EXPECT_EQ(Condition("Ready"), "False PoolExhausted");
}

TEST_F(StatusTest, BackendsReady) {
  resolution_.ready = 0;
  EXPECT_EQ(Condition("BackendsReady"), "False QuorumLost");
  resolution_.total = 0;
  EXPECT_EQ(Condition("BackendsReady"), "False NoBackends");
  resolution_.problems = {{.reason = "PortNotFound", .message = "p"}};
  EXPECT_EQ(Condition("BackendsReady"), "False PortNotFound");
  EXPECT_EQ(Condition("Accepted"), "True Accepted");
}

TEST_F(StatusTest, ProgrammedWaitsForTheVersionAndThenForFailuresOnly) {
  reports_["a"].status.programmed_resource_version = "99";
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
  reports_["a"].status.programmed_resource_version = "100";
  Write();
  // Our own write made a new version; nothing of it concerns the directors.
  service_.meta.resource_version = "101";
  EXPECT_EQ(Condition("Programmed"), "True InSync");
  // A new spec does.
  service_.meta.generation = 4;
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
  reports_["a"].status.programmed_resource_version = "1000";
  EXPECT_EQ(Condition("Programmed"), "True InSync");
  // And another address.
  Write();
  reports_["a"].status.programmed_resource_version = "100";
  reports_["a"].status.answers_for = {"192.0.2.11"};
  allocation_.addresses[0].value = "192.0.2.11";
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
}

TEST_F(StatusTest, ProgrammedIsWhatAnsweringDirectorsSay) {
  Write();
  const api::NodeServiceReport bad{
      .name_space = "shop", .name = "web", .uid = "u1", .reason = "Conflict", .message = "held"};
  reports_["b"].status.services = {bad};
  EXPECT_EQ(Condition("Programmed"), "True InSync");
  EXPECT_EQ(Condition("Redundant"), "False StandbyOutOfSync");
  EXPECT_EQ(Condition("Ready"), "True Ready");
  reports_["a"].status.services = {bad};
  EXPECT_EQ(Condition("Programmed"), "False Conflict");
  // What it says is about a spec that was changed since.
  reports_["a"].status.services[0].generation = 2;
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
  reports_["a"].status.services[0].generation = 3;
  EXPECT_EQ(Condition("Programmed"), "False Conflict");
  // Another service of the same name, long deleted.
  reports_["a"].status.services[0].uid = "u0";
  EXPECT_EQ(Condition("Programmed"), "True InSync");
  // Nobody answers: what they report is still the reason.
  reports_["a"].status.answers_for = {};
  EXPECT_EQ(Condition("Programmed"), "False Conflict");
  EXPECT_EQ(Condition("Announced"), "False NoDirector");
  reports_["b"].status.services = {};
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
}

TEST_F(StatusTest, MoreThanAReportCanNameIsNotSilentlyFine) {
  reports_["a"].status.services_omitted = 5;
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
}

TEST_F(StatusTest, ADeadNodesLastReportGivesWayToTheLiveOnes) {
  reports_["b"].status.answers_for = {"192.0.2.10"};
  nodes_["a"].ready = false;
  EXPECT_EQ(Compute().summary.directors, "b");
  EXPECT_EQ(Condition("Redundant"), "False StandbyOutOfSync");
  // But while nobody else answers, it may well still do.
  reports_["b"].status.answers_for = {};
  EXPECT_EQ(Compute().summary.directors, "a");
  EXPECT_EQ(Condition("Announced"), "True Announced");
}

TEST_F(StatusTest, OneMemberAloneIsNotRedundant) {
  group_.status.members.pop_back();
  EXPECT_EQ(Condition("Redundant"), "False SingleDirector");
  group_.status.members.clear();
  EXPECT_EQ(Condition("Announced"), "False NoDirector");
}

TEST_F(StatusTest, WithoutAnnouncementAllMembersCount) {
  group_.spec.layer2 = false;
  reports_["a"].status.answers_for = {};
  EXPECT_EQ(Condition("Announced"), "True NotManaged");
  EXPECT_EQ(Condition("Redundant"), "Unknown NotApplicable");
  EXPECT_EQ(Condition("Programmed"), "True InSync");
  EXPECT_EQ(Compute().summary.directors, "a,b");
  reports_["b"].status.programmed_resource_version = "";
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
  reports_.erase("b");
  EXPECT_EQ(Condition("Programmed"), "Unknown Pending");
}

TEST_F(StatusTest, TheSummaryNamesRangesAndAllPorts) {
  service_.spec.ports[1].end_port = uint16_t{59};
  EXPECT_EQ(Compute().summary.ports, "80/TCP,53-59/UDP");
  service_.spec.ports.clear();
  service_.spec.all_ports = true;
  EXPECT_EQ(Compute().summary.ports, "all");
}

TEST_F(StatusTest, ListsAreCutAtTheSchemasLimits) {
  service_.spec.ports.clear();
  for (uint16_t i = 0; i < 64; ++i) {
    service_.spec.ports.push_back({.name = "p",
                                   .protocol = Protocol::kSctp,
                                   .port = static_cast<uint16_t>(60000 + i),
                                   .end_port = static_cast<uint16_t>(60999),
                                   .target_port = {}});
  }
  group_.status.members.clear();
  for (int i = 0; i < 64; ++i) group_.status.members.push_back({.node = "n", .address = "x"});
  const api::LvsServiceStatus status = Compute();
  EXPECT_LE(status.summary.ports.size(), 1024u);
  EXPECT_TRUE(status.summary.ports.ends_with("/SCTP,..."));
  EXPECT_EQ(status.directors.size(), 8u);
}

TEST(ReachesVersionTest, VersionsAreNumbersElseTheyAreEqualOrNot) {
  EXPECT_TRUE(ReachesVersion("100", "99"));
  EXPECT_TRUE(ReachesVersion("100", "100"));
  EXPECT_FALSE(ReachesVersion("99", "100"));
  EXPECT_FALSE(ReachesVersion("", ""));
  EXPECT_TRUE(ReachesVersion("x", "x"));
  EXPECT_FALSE(ReachesVersion("x", "y"));
  EXPECT_FALSE(ReachesVersion("7", "y"));
}

TEST(CompareReportsTest, OnlyWhatChangedIsNamed) {
  api::LvsNode before, after;
  EXPECT_EQ(CompareReports(&before, &after), ReportChange{});
  before.status.answers_for = {"192.0.2.1", "192.0.2.2"};
  after.status.answers_for = {"192.0.2.2", "192.0.2.3"};
  const auto report = [](const char* name, const char* reason) {
    api::NodeServiceReport out;
    out.name_space = "shop";
    out.name = name;
    out.reason = reason;
    return out;
  };
  before.status.services = {report("a", "Conflict"), report("b", "Conflict")};
  after.status.services = {report("b", "Pending"), report("c", "Conflict")};
  after.status.programmed_resource_version = "7";
  after.status.dataplanes = {"eBPF"};
  EXPECT_EQ(CompareReports(&before, &after),
            (ReportChange{.services = {"shop/a", "shop/b", "shop/c"},
                          .vips = {"192.0.2.1", "192.0.2.3"},
                          .all = false,
                          .version = true,
                          .capabilities = true}));
  EXPECT_TRUE(CompareReports(nullptr, &after).all);
  EXPECT_TRUE(CompareReports(&before, nullptr).all);
  EXPECT_EQ(CompareReports(&before, nullptr).vips.size(), 2u);
}

}  // namespace
}  // namespace kube_lvs::controller
