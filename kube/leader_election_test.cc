#include "kube/leader_election.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "kube/rest_transport.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(ValidateTest, TimesMustLeaveRoomForEachOther) {
  EXPECT_TRUE(Validate({}).ok());
  const auto refused = [](int lease, int renew, int retry) {
    return absl::IsInvalidArgument(
        Validate({milliseconds(lease), milliseconds(renew), milliseconds(retry)}));
  };
  EXPECT_TRUE(refused(10'000, 10'000, 2'000));
  EXPECT_TRUE(refused(15'000, 2'400, 2'000));
  EXPECT_FALSE(refused(15'000, 2'401, 2'000));
  EXPECT_TRUE(refused(15'000, 10'000, 0));
  EXPECT_TRUE(refused(15'000, 10'000, -1));
  EXPECT_TRUE(refused(1'500, 1'000, 100));  // the API has whole seconds
  EXPECT_TRUE(refused(0, -1, -2));
  EXPECT_TRUE(refused(4'000'000, 10'000, 2'000));
}

TEST(DecideTest, Table) {
  struct Case {
    std::optional<LeaseView> seen;
    Duration since_change;
    LeaseAction action;
  };
  const auto held_by = [](const std::string& holder, int duration = 15) {
    return LeaseView{.holder = holder, .resource_version = "1", .duration = seconds(duration)};
  };
  const std::vector<Case> cases = {
      {std::nullopt, seconds(0), LeaseAction::kCreate},
      {held_by("me"), seconds(0), LeaseAction::kRenew},
      {held_by("me"), seconds(99), LeaseAction::kRenew},  // ran out, but nobody took it
      {held_by(""), seconds(0), LeaseAction::kTake},      // released
      {held_by("other"), seconds(0), LeaseAction::kWait},
      {held_by("other"), milliseconds(14'999), LeaseAction::kWait},
      {held_by("other"), seconds(15), LeaseAction::kTake},
      {held_by("other", 0), seconds(0), LeaseAction::kTake},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Decide(c.seen, kStart, "me", kStart + c.since_change), c.action)
        << (c.seen ? c.seen->holder : "none") << " " << c.since_change.count();
  }
}

class QuietLogger final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

class LeaderElectorTest : public testing::Test {
 protected:
  static constexpr LeaseTimes kFast{milliseconds(1'000), milliseconds(600), milliseconds(50)};

  void SetUp() override {
    auto server = FakeApiServer::Start({.resources = {kLeases}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto transport = NewRestTransport(server_->Config(), clock_);
    ASSERT_TRUE(transport.ok()) << transport.status();
    transport_ = *std::move(transport);
    client_ = std::make_unique<Client>(*transport_, seconds(1));
  }

  std::unique_ptr<LeaderElector> Elector(const std::string& identity) {
    return std::make_unique<LeaderElector>(
        *client_, LeaderElectionOptions{kLease, identity, kFast},
        [this](const std::stop_token& stop) {
          most_ = std::max<int>(most_, ++leading_);
          while (!stop.stop_requested()) std::this_thread::sleep_for(milliseconds(1));
          --leading_;
        },
        clock_, log_);
  }

  void PutHolder(const std::string& holder, int duration_seconds) {
    server_->Put(kLeases, {{"metadata", {{"name", kLease.name}, {"namespace", kLease.ns}}},
                           {"spec",
                            {{"holderIdentity", holder},
                             {"leaseDurationSeconds", duration_seconds},
                             {"renewTime", "2999-01-01T00:00:00.000000Z"},
                             {"leaseTransitions", 4}}}});
  }

  template <typename F>
  void Until(const F& holds) {
    const auto give_up = clock_.Now() + seconds(20);
    while (!holds()) {
      ASSERT_LT(clock_.Now(), give_up);
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  const ObjectName kLease{"kube-lvs", "operator"};
  SystemClock clock_;
  QuietLogger log_;
  std::unique_ptr<FakeApiServer> server_;
  std::unique_ptr<HttpTransport> transport_;
  std::unique_ptr<Client> client_;
  std::atomic<int> leading_{0};
  std::atomic<int> most_{0};
};

TEST_F(LeaderElectorTest, WrongOptionsAreRefused) {
  LeaderElector elector(*client_, {kLease, "", kFast}, nullptr, clock_, log_);
  EXPECT_TRUE(absl::IsInvalidArgument(elector.Run({})));
}

TEST_F(LeaderElectorTest, DeadHoldersLeaseIsTakenByOurClockAlone) {
  PutHolder("dead", 1);
  const auto elector = Elector("me");
  const TimePoint began = clock_.Now();
  std::jthread thread([&](const std::stop_token& stop) { EXPECT_TRUE(elector->Run(stop).ok()); });
  Until([&] { return leading_ == 1; });
  EXPECT_GE(clock_.Now() - began, seconds(1));
  EXPECT_EQ((*server_->Read(kLeases, kLease))["spec"]["leaseTransitions"], 5);
}

TEST_F(LeaderElectorTest, StoppedLeaderReleasesTheLease) {
  const auto elector = Elector("me");
  std::jthread thread([&](const std::stop_token& stop) { EXPECT_TRUE(elector->Run(stop).ok()); });
  Until([&] { return leading_ == 1; });
  EXPECT_TRUE(elector->IsLeader());
  thread.request_stop();
  thread.join();
  EXPECT_EQ(leading_, 0);
  EXPECT_FALSE(elector->IsLeader());
  EXPECT_EQ((*server_->Read(kLeases, kLease))["spec"]["holderIdentity"], "");
}

TEST_F(LeaderElectorTest, LeaderThatCannotRenewStopsByItsDeadline) {
  for (const Fault& fault :
       {Fault{.type = FaultType::kHang, .times = 1000},
        Fault{.type = FaultType::kStatus, .times = 1000, .http_status = 503}}) {
    server_->ClearFaults();
    server_->Remove(kLeases, kLease);
    const auto elector = Elector("me");
    absl::Status ended;
    std::jthread thread([&](const std::stop_token& stop) { ended = elector->Run(stop); });
    Until([&] { return leading_ == 1; });
    const TimePoint cut = clock_.Now();
    server_->Inject(fault);
    Until([&] { return leading_ == 0; });
    EXPECT_FALSE(elector->IsLeader());
    EXPECT_GE(clock_.Now() - cut, milliseconds(400));  // not at the first failure
    thread.join();
    EXPECT_TRUE(absl::IsAborted(ended)) << ended;
    // It did not release what it no longer held for sure.
    EXPECT_EQ((*server_->Read(kLeases, kLease))["spec"]["holderIdentity"], "me");
  }
}

TEST_F(LeaderElectorTest, LeaderStopsWhenAnotherHoldsTheLease) {
  const auto elector = Elector("me");
  absl::Status ended;
  std::jthread thread([&](const std::stop_token& stop) { ended = elector->Run(stop); });
  Until([&] { return leading_ == 1; });
  PutHolder("usurper", 15);
  thread.join();
  EXPECT_TRUE(absl::IsAborted(ended)) << ended;
  EXPECT_EQ(elector->Holder(), "usurper");
  EXPECT_EQ((*server_->Read(kLeases, kLease))["spec"]["holderIdentity"], "usurper");
}

TEST_F(LeaderElectorTest, OfManyOneLeadsAtATime) {
  std::vector<std::unique_ptr<LeaderElector>> electors;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 5; ++i) {
    electors.push_back(Elector("candidate-" + std::to_string(i)));
    threads.emplace_back([elector = electors.back().get()](const std::stop_token& stop) {
      EXPECT_TRUE(elector->Run(stop).ok());
    });
  }
  for (int gone = 0; gone < 5; ++gone) {
    Until([&] { return leading_ == 1; });
    for (int i = 0; i < 5; ++i) {
      if (electors[i]->IsLeader()) {
        threads[i].request_stop();
        threads[i].join();
        break;
      }
    }
  }
  EXPECT_EQ(most_, 1);
}

TEST_F(LeaderElectorTest, GarbledLeaseIsAnErrorAndIsNotTaken) {
  server_->Put(kLeases, {{"metadata", {{"name", kLease.name}, {"namespace", kLease.ns}}},
                         {"spec", {{"holderIdentity", 5}}}});
  const auto elector = Elector("me");
  std::jthread thread([&](const std::stop_token& stop) { EXPECT_TRUE(elector->Run(stop).ok()); });
  Until([&] { return server_->Requests().size() > 5; });
  EXPECT_EQ(leading_, 0);
  EXPECT_EQ((*server_->Read(kLeases, kLease))["spec"]["holderIdentity"], 5);
}

}  // namespace
}  // namespace kube_lvs::kube
