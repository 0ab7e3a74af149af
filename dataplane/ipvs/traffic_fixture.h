// What tests of real packets share: the lab, and the backend in its director.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/nft_marks.h"
#include "dataplane/plan/diff.h"
#include "e2e/vm/lab.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {

inline constexpr char kJournal[] = "/run/ipvs.journal";

class TrafficTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    static const bool made = [] {
      vm::Run("modprobe -a ip_vs_lblc ip_vs_lblcr");  // see schedulers.h
      vm::MakeLab();
      return true;
    }();
    ASSERT_TRUE(made);
  }
  TrafficTest() { Restart(); }
  ~TrafficTest() override { Reach({}); }

  // As a new process of the agent.
  void Restart() {
    const vm::InNamespace in("ds");
    channel_ = std::make_unique<NetlinkChannel>();
    marks_ = *OpenMarkTable();
    auto journal = Journal::Open(kJournal, "boot");
    ASSERT_EQ(journal.status(), absl::OkStatus());
    journal_ = std::make_unique<Journal>(*std::move(journal));
    backend_ = std::make_unique<IpvsBackend>(*channel_, *journal_, *marks_);
  }

  void Reach(const State& desired) {
    const vm::InNamespace in("ds");
    const auto actual = backend_->Read();
    ASSERT_EQ(actual.status(), absl::OkStatus());
    const Plan plan = Diff(desired, *actual);
    const auto results = backend_->Apply(plan.steps);
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(results[i], absl::OkStatus()) << ToString(plan.steps[i]);
    }
  }

  // A service at a port that no other test had: old connections would go where they went.
  static ServiceKey NewKey(Protocol protocol, Family family) {
    static uint16_t port = 1000;
    return {.dataplane = Dataplane::kIpvs,
            .match = Endpoint{vm::Vip(family), ++port},
            .protocol = protocol};
  }
  // A port of the client for one test alone: to a real server, old connections of the same client
  // and port look like these.
  static uint16_t ClientPort(const ServiceKey& key) {
    return static_cast<uint16_t>(30000 + VipOf(key).port);
  }
  static const Endpoint& VipOf(const ServiceKey& key) { return std::get<Endpoint>(key.match); }

  static VirtualService ThreeServers(const std::string& scheduler, ForwardingMethod method,
                                     Family family, uint16_t port,
                                     const std::vector<uint32_t>& weights) {
    VirtualService out;
    out.config.scheduler = scheduler;
    for (int n = 1; n <= vm::kServers; ++n) {
      out.reals.push_back({.at = {vm::ServerAddress(n, family), port},
                           .method = method,
                           .weight = weights[static_cast<size_t>(n) - 1]});
    }
    return out;
  }

  std::unique_ptr<NetlinkChannel> channel_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<MarkTable> marks_;
  std::unique_ptr<IpvsBackend> backend_;
};

}  // namespace kube_lvs::ipvs
