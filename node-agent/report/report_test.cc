#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/status.h"
#include "kube/api/decode.h"
#include "kube/api/kinds.h"
#include "kube/rest_transport.h"
#include "kube/testing/fake_api_server.h"
#include "node-agent/report/mends.h"
#include "node-agent/report/reporter.h"
#include "node-agent/report/status.h"

namespace kube_lvs {
namespace {

class NoLog final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

PassReport Example() {
  PassReport report;
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->complete = true;
  ObjectMap<api::LvsService> services;
  auto service = std::make_shared<api::LvsService>();
  service->meta.resource_version = "120";
  services.emplace("shop/web", service);
  snapshot->services = std::make_shared<const ObjectMap<api::LvsService>>(services);
  ObjectMap<api::KubeNode> nodes;
  auto node = std::make_shared<api::KubeNode>();
  node->meta.uid = "node-uid";
  nodes.emplace("n1", node);
  snapshot->nodes = std::make_shared<const ObjectMap<api::KubeNode>>(nodes);
  report.snapshot = snapshot;
  report.facts.kernel_release = "6.1.0";
  report.facts.node_address = *IpAddress::Parse("192.0.2.1");
  report.group = "default";
  report.dataplane = "eBPF";
  report.answers =
      std::make_shared<const std::set<Cidr>>(std::set<Cidr>{*Cidr::Parse("192.0.2.200")});
  return report;
}

TEST(Status, ANodeInOrderSaysWhatItDoesAndNoMore) {
  const api::LvsNode::Status status = StatusOf(Example(), {"0.1.0", {"eBPF"}, {}, {}}, {});
  EXPECT_EQ(status.role, "Director");
  EXPECT_EQ(status.address, "192.0.2.1");
  EXPECT_EQ(status.answers_for, std::vector<std::string>{"192.0.2.200"});
  EXPECT_EQ(status.programmed_resource_version, "120");
  EXPECT_TRUE(status.services.empty());
  EXPECT_TRUE(status.problems.empty());
}

TEST(Status, ANetworkOfVipsIsNamedByItsPrefix) {
  PassReport report = Example();
  report.answers = std::make_shared<const std::set<Cidr>>(
      std::set<Cidr>{*Cidr::Parse("192.0.2.200"), *Cidr::Parse("198.51.100.0/24")});
  EXPECT_EQ(StatusOf(report, {}, {}).answers_for,
            (std::vector<std::string>{"192.0.2.200", "198.51.100.0/24"}));
}

TEST(Status, InterfacesSayWhetherXdpServesThemAndWhyNot) {
  PassReport report = Example();
  report.attached = {"eth0", "eth1", "eth2"};
  report.facts.interfaces["eth0"].mtu = 1500;
  Capabilities can;
  can.attachments = {{"eth0", ""}, {"eth1", "VLAN devices are on it"}};
  EXPECT_EQ(StatusOf(report, can, {}).interfaces,
            (std::vector<api::NodeInterface>{{"eth0", 1500, true, ""},
                                             {"eth1", 0, false, "VLAN devices are on it"},
                                             {"eth2", 0, false, ""}}));  // not read yet
  can.attachments["eth1"] = std::string(300, 'x');
  EXPECT_EQ(StatusOf(report, can, {}).interfaces[1].xdp_reason, std::string(256, 'x'));
}

TEST(Status, AdviceIsToldAndIsNoProblem) {
  Capabilities can;
  can.advice = {{"eth0", "2 queues for 4 CPUs", "ethtool -L eth0 combined 4"}};
  const api::LvsNode::Status status = StatusOf(Example(), can, {});
  EXPECT_EQ(status.advice, can.advice);
  EXPECT_TRUE(status.problems.empty());
  can.advice.assign(40, {"eth0", std::string(300, 'x'), std::string(300, 'y')});
  EXPECT_EQ(StatusOf(Example(), can, {}).advice,
            (std::vector<api::NodeAdvice>(
                32, {"eth0", std::string(256, 'x'), std::string(256, 'y')})));
}

TEST(Status, EachProblemSaysWhatFailedAndWhatToDo) {
  PassReport report = Example();
  report.node_problems["Attachment"] = absl::FailedPreconditionError(
      "add programs on eth0: /sys/fs/bpf is not on a BPF file system; run: mount -t bpf bpf x");
  report.node_problems["Sysctl"] = absl::PermissionDeniedError("write net/ipv4/ip_forward: denied");
  report.node_problems["Service"] = absl::InternalError("netlink says a; b");
  auto snapshot = std::make_shared<Snapshot>(*report.snapshot);
  snapshot->problems = {{"web.yaml", "no YAML"}};
  report.snapshot = snapshot;
  const std::vector<api::NodeProblem> problems = StatusOf(report, {}, {}).problems;
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_EQ(problems[0],
            (api::NodeProblem{"Attachment",
                              "add programs on eth0: /sys/fs/bpf is not on a BPF file system",
                              "run: mount -t bpf bpf x"}));
  EXPECT_EQ(problems[1].message, "netlink says a; b");
  EXPECT_EQ(problems[2].message, "write net/ipv4/ip_forward: denied");
  EXPECT_NE(problems[2].mend.find("agent.privileged: true"), std::string::npos);
  EXPECT_EQ(problems[3].message, "web.yaml: no YAML");
  for (const api::NodeProblem& problem : problems) EXPECT_NE(problem.mend, "") << problem.check;
}

TEST(Status, EveryCheckHasAMend) {
  for (const char* check : {"Sysctl", "Attachment", "TunnelPeer", "MssClamp", "SilentVip",
                            "Masquerade", "AnsweredVip", "Service", "Facts", "Source", "NoReplies",
                            "ForeignMarks", "SourcePorts", "LocalPorts", "ConnectionTable"}) {
    EXPECT_NE(MendOf(check), "") << check;
  }
}

TEST(Status, AnIncompleteListKeepsTheVersionThatWasProgrammed) {
  PassReport report = Example();
  auto incomplete = std::make_shared<Snapshot>(*report.snapshot);
  incomplete->complete = false;
  report.snapshot = incomplete;
  api::LvsNode::Status previous;
  previous.programmed_resource_version = "77";
  EXPECT_EQ(StatusOf(report, {}, previous).programmed_resource_version, "77");
}

TEST(Status, EachServiceIsNamedOnceAndAtMostAHundred) {
  PassReport report = Example();
  for (int i = 0; i < 130; ++i) {
    const std::string name = "s" + std::to_string(i);
    report.service_problems.push_back({"shop", name, "uid" + name, 1, "Conflict", "one"});
    report.service_problems.push_back(
        {"shop", name, "uid" + name, 1, "Pending", std::string(2000, 'x')});
  }
  const api::LvsNode::Status status = StatusOf(report, {}, {});
  ASSERT_EQ(status.services.size(), 100u);
  EXPECT_EQ(status.services[0].reason, "Conflict");
  EXPECT_LE(status.services[0].message.size(), 1024u);
  EXPECT_EQ(status.services[0].message.rfind("one; x", 0), 0u);
  EXPECT_EQ(status.services_omitted, 30);
}

class ReporterTest : public testing::Test {
 protected:
  void SetUp() override {
    kube::FakeApiServer::Options options;
    options.resources = {api::kLvsNodes};
    server_ = *kube::FakeApiServer::Start(options);
    transport_ = *kube::NewRestTransport(server_->Config(), clock_);
    client_ = std::make_unique<kube::Client>(*transport_);
    reporter_ = std::make_unique<Reporter>(*client_, "n1", log_);
    thread_ = std::jthread([this](std::stop_token stop) {
      const absl::Status status = reporter_->Run(stop);
      EXPECT_TRUE(status.ok()) << Message(status);
    });
  }
  void TearDown() override {
    thread_.request_stop();
    thread_.join();
  }
  // Waits until the object says that this many VIPs are answered.
  bool Answers(size_t count) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < give_up) {
      const auto object = server_->Read(api::kLvsNodes, {"", "n1"});
      if (object.ok()) {
        const auto node = api::DecodeLvsNode(*object);
        if (node.ok() && node->status.answers_for.size() == count) return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
  size_t Writes() {
    const auto requests = server_->Requests();
    return static_cast<size_t>(
        std::count_if(requests.begin(), requests.end(),
                      [](const std::string& request) { return request.rfind("PATCH", 0) == 0; }));
  }

  SystemClock clock_;
  NoLog log_;
  std::unique_ptr<kube::FakeApiServer> server_;
  std::unique_ptr<kube::HttpTransport> transport_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<Reporter> reporter_;
  std::jthread thread_;
};

TEST_F(ReporterTest, WritesTheObjectOwnedByItsNodeAndNothingWhenNothingChanged) {
  reporter_->Report(Example(), {});
  ASSERT_TRUE(Answers(1));
  const auto object = server_->Read(api::kLvsNodes, {"", "n1"});
  EXPECT_EQ((*object)["metadata"]["ownerReferences"][0]["uid"], "node-uid");
  EXPECT_EQ(Writes(), 2u);  // the object, its status
  reporter_->Report(Example(), {});
  PassReport more = Example();
  more.answers = std::make_shared<const std::set<Cidr>>(
      std::set<Cidr>{*Cidr::Parse("192.0.2.200"), *Cidr::Parse("192.0.2.201")});
  reporter_->Report(more, {});
  ASSERT_TRUE(Answers(2));
  EXPECT_EQ(Writes(), 3u);
}

// The loop waits for it, and passes for each change of one service.
TEST_F(ReporterTest, TakingAReportLooksAtNoObject) {
  Reporter idle(*client_, "n1", log_);
  PassReport report = Example();
  auto snapshot = std::make_shared<Snapshot>(*report.snapshot);
  // Whoever looks at it dies.
  snapshot->services = std::make_shared<const ObjectMap<api::LvsService>>(
      ObjectMap<api::LvsService>{{"shop/web", nullptr}});
  report.snapshot = snapshot;
  idle.Report(report, {});
}

// Of several passes since the last write, some may not have tried all.
TEST_F(ReporterTest, TheVersionIsThatOfTheLastPassThatTriedAll) {
  Reporter late(*client_, "n1", log_);
  late.Report(Example(), {});  // 120
  PassReport more = Example();
  auto newer = std::make_shared<api::LvsService>();
  newer->meta.resource_version = "130";
  auto snapshot = std::make_shared<Snapshot>(*more.snapshot);
  snapshot->services = std::make_shared<const ObjectMap<api::LvsService>>(
      ObjectMap<api::LvsService>{{"shop/web", newer}});
  more.snapshot = snapshot;
  more.held_back_lately = true;
  late.Report(more, {});
  const std::jthread thread([&late](std::stop_token stop) {
    const absl::Status status = late.Run(stop);
    EXPECT_TRUE(status.ok()) << Message(status);
  });
  ASSERT_TRUE(Answers(1));
  const auto node = api::DecodeLvsNode(*server_->Read(api::kLvsNodes, {"", "n1"}));
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_EQ(node->status.programmed_resource_version, "120");
}

TEST_F(ReporterTest, AFailedWriteIsTriedAgainAndADeletedObjectMadeAnew) {
  server_->Inject({.type = kube::FaultType::kStatus, .times = 1, .http_status = 500});
  reporter_->Report(Example(), {});
  ASSERT_TRUE(Answers(1));
  server_->Remove(api::kLvsNodes, {"", "n1"});
  PassReport more = Example();
  more.answers = std::make_shared<const std::set<Cidr>>(
      std::set<Cidr>{*Cidr::Parse("192.0.2.200"), *Cidr::Parse("192.0.2.201")});
  reporter_->Report(more, {});
  EXPECT_TRUE(Answers(2));
}

}  // namespace
}  // namespace kube_lvs
