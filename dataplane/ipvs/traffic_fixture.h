// What tests of real packets share: the lab, and the backend in its director.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
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

// With rr, six connections: in the canonical order of the real servers, twice, each from the
// client's own address.
class InTurnTest : public TrafficTest {
 protected:
  // `reals`: the IP family of the real servers' own addresses.
  void ExpectThreeServersInTurn(Protocol protocol, Family family, ForwardingMethod method,
                                const Tunnel& tunnel = {}, std::optional<Family> reals = {}) {
    const ServiceKey key = NewKey(protocol, family);
    const bool direct = method != ForwardingMethod::kNat;
    const uint16_t port = direct ? VipOf(key).port : 8080;
    const int type = protocol == Protocol::kUdp ? SOCK_DGRAM : SOCK_STREAM;
    vm::Servers servers(type, family, port, direct, static_cast<int>(protocol));
    State desired;
    desired.services[key] = ThreeServers("rr", method, reals.value_or(family), port, {1, 1, 1});
    for (RealServer& real : desired.services[key].reals) real.tunnel = tunnel;
    Reach(desired);
    for (int i = 0; i < 6; ++i) {
      const Endpoint from{vm::ClientAddress(i, family), ClientPort(key)};
      EXPECT_EQ(servers.Ask(from, VipOf(key)),
                (vm::Answer{.server = i % 3 + 1, .client = vm::ClientAddress(i, family)}))
          << "connection " << i << " to " << ToString(key);
    }
  }
};

// Commands in each real server's namespace, undone at the end. "{4}" and "{6}" are its addresses.
class AtRealServers {
 public:
  AtRealServers(const std::string& make, std::string undo) : undo_(std::move(undo)) { Each(make); }
  ~AtRealServers() { Each(undo_); }

 private:
  static void Each(const std::string& commands) {
    std::string lines;
    for (int n = 1; n <= vm::kServers; ++n) {
      std::string own = "cd /run && nsenter --net=/run/netns/rs" + std::to_string(n) + " sh -ec '" +
                        commands + "'\n";
      for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const std::string place = family == Family::kIpv4 ? "{4}" : "{6}";
        for (size_t at; (at = own.find(place)) != std::string::npos;) {
          own.replace(at, place.size(), vm::ServerAddress(n, family).ToString());
        }
      }
      lines += own;
    }
    vm::Run("set -e\n" + lines);
  }

  std::string undo_;
};

}  // namespace kube_lvs::ipvs
