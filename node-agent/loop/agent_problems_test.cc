// What the agent says is not as it should be.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "node-agent/loop/agent_fixture.h"
#include "node-agent/loop/lazy_backend.h"

namespace kube_lvs {
namespace {

TEST_F(AgentTest, ARealServerWhoseRepliesGoAnotherWayIsAProblemOfTheNode) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1", "10.0.0.2"}));
  api::LvsService direct = Service("direct", "192.0.2.201", {"192.0.2.11"});
  direct.spec.method = ForwardingMethod::kDirectRouting;
  source_.Put(direct);
  api::LvsService with_source_nat = Service("snat", "192.0.2.202", {"10.0.0.1"});
  with_source_nat.spec.source_nat = api::SourceNatChoice::kEnabled;
  source_.Put(with_source_nat);
  agent_->Pass();
  const auto at = [&](const std::string& vip, const std::string& real) -> Counters& {
    return ebpf_.stats().reals[{Key(vip), Endpoint{Ip(real), 80}}].counters;
  };
  at("192.0.2.201", "192.0.2.11").connections = 1000;
  at("192.0.2.202", "10.0.0.1").connections = 1000;
  at("192.0.2.200", "10.0.0.1").connections = 30;
  at("192.0.2.200", "10.0.0.1").reply_packets = 1;
  at("192.0.2.200", "10.0.0.2").connections = 9;
  clock_.Advance(std::chrono::seconds(30));
  EXPECT_EQ(agent_->Pass().node_problems.count("NoReplies"), 0u);
  at("192.0.2.200", "10.0.0.2").connections = 10;
  clock_.Advance(std::chrono::seconds(30));
  PassReport report = agent_->Pass();
  ASSERT_EQ(report.node_problems.count("NoReplies"), 1u);
  EXPECT_EQ(Message(report.node_problems["NoReplies"]),
            "eBPF 192.0.2.200:80/tcp -> 10.0.0.2:80 of LVSService shop/web got 10 connections, and "
            "not one packet came back through this director");
  EXPECT_TRUE(report.in_sync);
  EXPECT_TRUE(report.service_problems.empty());
  EXPECT_EQ(agent_->Pass().node_problems.count("NoReplies"), 1u);
  at("192.0.2.200", "10.0.0.2").reply_packets = 1;
  clock_.Advance(std::chrono::seconds(30));
  EXPECT_EQ(agent_->Pass().node_problems.count("NoReplies"), 0u);
}

TEST_F(AgentTest, AServiceForWhichThereIsNoRoomSaysSo) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  ebpf_.SetFault([](const std::string& call) -> absl::Status {
    if (call.find("192.0.2.200:80") == std::string::npos) return absl::OkStatus();
    return absl::ResourceExhaustedError("the table of services is full: all 4096 are taken");
  });
  const PassReport report = agent_->Pass();
  ASSERT_EQ(report.service_problems.size(), 1u);
  EXPECT_EQ(report.service_problems[0].reason, "TableFull");
  EXPECT_NE(report.service_problems[0].message.find("all 4096"), std::string::npos);
}

TEST_F(AgentTest, ConnectionsThatFoundNoRoomAreAProblemWhileThereAreMore) {
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  std::map<std::string, uint64_t> drops = {{"table_full", 5}, {"no_source_port", 7}, {"ttl", 3}};
  agent_->SetDrops([&] { return drops; });
  const auto look = [&] {
    clock_.Advance(std::chrono::seconds(30));
    return agent_->Pass().node_problems;
  };
  const auto text = [](const std::map<std::string, absl::Status>& problems) {
    std::string out;
    for (const auto& [check, status] : problems) out += check + ": " + Message(status) + "\n";
    return out;
  };
  EXPECT_EQ(text(look()), "");  // they were before we looked
  drops["table_full"] = 12;
  drops["ttl"] = 9;
  const std::string full =
      "ConnectionTable: 7 packets that begin connections were dropped since the last look: the "
      "connection table had no free slot for them (table_full)\n";
  EXPECT_EQ(text(look()), full);
  EXPECT_EQ(text(agent_->Pass().node_problems), full);
  EXPECT_TRUE(agent_->Pass().in_sync);
  drops["no_source_port"] = 8;
  EXPECT_EQ(text(look()),
            "SourcePorts: 1 packets that begin connections were dropped since the last look: no "
            "source port was free for their real server (no_source_port)\n");
  EXPECT_EQ(text(look()), "");
  drops = {{"table_full", 2}};  // maps that were made anew
  EXPECT_EQ(look().count("ConnectionTable"), 1u);
  EXPECT_EQ(text(look()), "");
}

TEST_F(AgentTest, AnotherProgramsMarksOnPacketsForManyPortsAreAProblemWhileThereAreMore) {
  api::LvsService media = Service("media", "192.0.2.200", {"10.0.0.1"});
  media.spec.ports[0].end_port = uint16_t{89};
  media.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(media);
  const auto look = [&](uint64_t replaced) {
    ipvs_.stats().replaced_marks = replaced;
    clock_.Advance(std::chrono::seconds(30));
    return agent_->Pass();
  };
  EXPECT_TRUE(look(0).in_sync);
  EXPECT_EQ(look(0).node_problems.count("ForeignMarks"), 0u);
  PassReport report = look(7);
  ASSERT_EQ(report.node_problems.count("ForeignMarks"), 1u);
  EXPECT_EQ(Message(report.node_problems["ForeignMarks"]),
            "7 packets for port ranges, allPorts or CIDRs came with another program's mark (a "
            "firewall's, kube-proxy's, a network plugin's), which ours replaced");
  EXPECT_TRUE(report.in_sync);
  EXPECT_EQ(look(7).node_problems.count("ForeignMarks"), 0u);
  report = look(2);
  ASSERT_EQ(report.node_problems.count("ForeignMarks"), 1u);
  EXPECT_EQ(Message(report.node_problems["ForeignMarks"]).substr(0, 10), "2 packets ");
  media.spec.ports[0].end_port.reset();
  source_.Put(media);
  look(9);
  EXPECT_EQ(look(10).node_problems.count("ForeignMarks"), 0u);
}

// What lvsadm made there is in the way of the agent's own.
TEST_F(AgentTest, ADataplaneOfAnotherOwnerIsAConflictThatSaysHowToHandItOver) {
  const std::string mend = "save its rules and run: lvsadm --dataplane ebpf -C";
  LazyBackend taken("eBPF", TakenByEbpf, [] { return false; },
                    [&mend]() -> absl::StatusOr<std::unique_ptr<Backend>> {
                      return absl::AlreadyExistsError(mend);
                    });
  agent_ = std::make_unique<Agent>(source_, facts_, std::vector<Backend*>{&taken, &ipvs_, &host_},
                                   *peers_, clock_, log_, AgentOptions{});
  source_.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  api::LvsService of_ipvs = Service("mail", "192.0.2.201", {"10.0.0.1"});
  of_ipvs.spec.dataplane = api::DataplaneChoice::kIpvs;
  source_.Put(of_ipvs);
  const PassReport report = agent_->Pass();
  ASSERT_EQ(report.service_problems.size(), 1U);
  EXPECT_EQ(report.service_problems[0].reason, "Conflict");
  EXPECT_NE(report.service_problems[0].message.find(mend), std::string::npos)
      << report.service_problems[0].message;
  EXPECT_EQ(ipvs_.state().services.size(), 1U);
}

}  // namespace
}  // namespace kube_lvs
