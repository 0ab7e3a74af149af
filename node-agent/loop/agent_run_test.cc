// The loop against failing calls, and on the machine's clock.
#include "node-agent/loop/agent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dataplane/plan/text.h"
#include "node-agent/loop/agent_fixture.h"

namespace kube_lvs {
namespace {

// The loop itself, on the machine's clock.
TEST(AgentLoop, WakesForObjectsAndForOtherFactsAndEndsWhenAsked) {
  FakeBackend ebpf("eBPF", TakenByEbpf), ipvs("IPVS", TakenByIpvs), host("host", TakenByHost);
  class LockedSource final : public DesiredSource {
   public:
    SnapshotPtr Get() override {
      const std::lock_guard<std::mutex> lock(mu);
      return source.Get();
    }
    absl::Status Run(std::stop_token, std::function<void()>) override { return absl::OkStatus(); }
    std::mutex mu;
    FixedSource source;
  } source;
  class LockedFacts final : public FactsReader {
   public:
    absl::StatusOr<NodeFacts> Read() override {
      const std::lock_guard<std::mutex> lock(mu);
      return fixed.facts;
    }
    std::mutex mu;
    FixedFacts fixed;
  } facts;
  FixedPeers peers;
  SystemClock clock;
  NoLog log;
  Agent agent(source, facts, {&ebpf, &ipvs, &host}, peers, clock, log, AgentOptions{});
  std::mutex mu;
  std::condition_variable changed;
  std::vector<std::pair<size_t, size_t>> passes;  // services and interfaces that each saw
  agent.AddObserver([&](const PassReport& report) {
    const std::lock_guard<std::mutex> lock(mu);
    passes.emplace_back(report.snapshot->services->size(), report.facts.interfaces.size());
    changed.notify_all();
  });
  std::jthread thread([&agent](std::stop_token stop) { EXPECT_TRUE(agent.Run(stop).ok()); });
  const auto seen = [&](size_t services, size_t interfaces) {
    std::unique_lock<std::mutex> lock(mu);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] {
      return !passes.empty() && passes.back() == std::pair(services, interfaces);
    });
  };
  EXPECT_TRUE(seen(0, 1));
  {
    const std::lock_guard<std::mutex> lock(source.mu);
    source.source.Put(Service("web", "192.0.2.200", {"10.0.0.1"}));
  }
  agent.wakeup().Wake(WakeReason::kSource);
  EXPECT_TRUE(seen(1, 1));
  {
    const std::lock_guard<std::mutex> lock(facts.mu);
    facts.fixed.facts.interfaces["eth1"] = {};
  }
  agent.wakeup().Wake(WakeReason::kNetlink);
  EXPECT_TRUE(seen(1, 2));
}

// Law 6: with any share of failing calls below 1, repeated passes reach what is desired, and once
// there, no further step is taken.
TEST_F(AgentTest, ItHeals) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    uint32_t share = random() % 90;  // percent of calls that fail
    const auto fault = [&random, &share](const std::string& call) -> absl::Status {
      if (random() % 100 >= share) return absl::OkStatus();
      return random() % 2 == 0 ? absl::UnavailableError(call) : absl::InternalError(call);
    };
    for (FakeBackend* backend : {&ebpf_, &ipvs_, &host_}) backend->SetFault(fault);
    source_.objects.clear();
    for (uint32_t n = 0; n < 1 + random() % 6; ++n) {
      std::vector<std::string> reals;
      for (uint32_t r = 1; r <= 5; ++r) {
        if (random() % 2 == 0) reals.push_back("10.0.0." + std::to_string(r));
      }
      if (reals.empty()) reals.push_back("10.0.0.9");
      api::LvsService service = Service("s" + std::to_string(n),
                                        "192.0.2." + std::to_string(200 + n), reals, random() % 5);
      if (random() % 3 == 0) service.spec.dataplane = api::DataplaneChoice::kIpvs;
      if (random() % 2 == 0) service.spec.source_nat = api::SourceNatChoice::kEnabled;
      source_.Put(service);
    }
    if (random() % 3 == 0) Restart();
    for (int pass = 0; pass < 3; ++pass) {
      if (random() % 2 == 0 || !agent_->TouchedPass().has_value()) agent_->Pass();
      clock_.Advance(std::chrono::milliseconds(random() % 2000));
    }
    // From here on some still fail, but fewer.
    share /= 2;
    bool in_sync = false;
    for (int pass = 0; pass < 3000 && !in_sync; ++pass) {
      clock_.Advance(std::chrono::seconds(31));
      const PassReport report = agent_->Pass();
      // One that cannot be read, and of which nothing is wanted, may hold something all the same.
      in_sync = report.in_sync && report.readable.size() == 3;
    }
    ASSERT_TRUE(in_sync) << "share " << share;
    // Changes of single services, some of which fail.
    for (int change = 0; change < 4; ++change) {
      const auto any = std::next(source_.objects.begin(),
                                 static_cast<ptrdiff_t>(random() % source_.objects.size()));
      auto service = std::get<api::LvsService>(any->second);
      service.spec.backends[0].static_reals[0].weight = static_cast<uint32_t>(random() % 5);
      source_.Put(service);
      const auto report = agent_->TouchedPass();
      in_sync = report.has_value() && report->in_sync;
      for (int pass = 0; pass < 3000 && !in_sync; ++pass) {
        clock_.Advance(std::chrono::seconds(31));
        const PassReport whole = agent_->Pass();
        in_sync = whole.in_sync && whole.readable.size() == 3;
      }
      ASSERT_TRUE(in_sync) << "share " << share;
    }
    // In sync means so: a faultless look finds nothing to do.
    for (FakeBackend* backend : {&ebpf_, &ipvs_, &host_}) backend->SetFault(nullptr);
    const size_t steps = Steps();
    clock_.Advance(std::chrono::seconds(31));
    EXPECT_TRUE(agent_->Pass().in_sync);
    EXPECT_EQ(Steps(), steps) << ToText(Node());
  }
}

}  // namespace
}  // namespace kube_lvs
