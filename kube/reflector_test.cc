// The reflector against a server that misbehaves: what it keeps, what it tells, how it recovers.
// The order of lists and watches by itself is reflector_state_test's.
#include "kube/reflector.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "kube/json.h"
#include "kube/rest_transport.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;
using Sizes = std::map<std::string, int>;

constexpr Resource kThings{"kube-lvs.test", "v1", "things", "Thing", true};

class QuietLogger final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

class ReflectorTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = FakeApiServer::Start({.resources = {kThings}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto transport = NewRestTransport(server_->Config(), clock_);
    ASSERT_TRUE(transport.ok()) << transport.status();
    transport_ = *std::move(transport);
    client_ = std::make_unique<Client>(*transport_);
    reflector_ = std::make_unique<Reflector<int>>(
        *client_,
        ReflectorOptions{
            .resource = kThings,
            .definition = [this](const std::stop_token&) -> std::optional<std::string> {
              const int definition = definition_;
              if (definition == 0) return std::nullopt;
              return std::to_string(definition);
            },
            .grace = grace_,
            .remembered = {{"n/remembered", std::make_shared<const int>(9)}}},
        [](const json& object) -> absl::StatusOr<int> {
          KUBE_LVS_ASSIGN_OR_RETURN(const int64_t size, JsonInt(object, {"spec", "size"}));
          return static_cast<int>(size);
        },
        store_, clock_, log_, [](int size) { return size != 0; });
  }

  void Start() {
    thread_ = std::jthread(
        [this](const std::stop_token& stop) { EXPECT_TRUE(reflector_->Run(stop).ok()); });
  }

  void TearDown() override {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  void Put(const std::string& name, const json& size) {
    server_->Put(kThings,
                 {{"metadata", {{"name", name}, {"namespace", "n"}}}, {"spec", {{"size", size}}}});
  }

  // Waits for something that happens in another thread; fails after 20 s.
  template <typename F>
  void Until(const char* what, const F& holds) {
    const auto give_up = clock_.Now() + std::chrono::seconds(20);
    while (!holds()) {
      ASSERT_LT(clock_.Now(), give_up) << what;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  Sizes Now() const {
    Sizes out;
    const auto snapshot = store_.Snapshot();
    for (const auto& [key, value] : *snapshot) out[key] = *value;
    return out;
  }

  void Become(const Sizes& wanted) {
    Until("the store's content", [&] { return Now() == wanted; });
    EXPECT_EQ(Now(), wanted);
  }

  void WatchStarts() {
    Until("a watch", [this] {
      const auto requests = server_->Requests();
      return !requests.empty() && requests.back().find("watch=true") != std::string::npos;
    });
  }

  SystemClock clock_;
  QuietLogger log_;
  std::unique_ptr<FakeApiServer> server_;
  std::unique_ptr<HttpTransport> transport_;
  std::unique_ptr<Client> client_;
  std::atomic<int> definition_ = 1;  // 0: there is none
  const Duration grace_ = std::chrono::seconds(3);
  Store<int> store_;
  std::unique_ptr<Reflector<int>> reflector_;
  std::jthread thread_;
};

TEST_F(ReflectorTest, ForgottenVersionListsAgainAndFindsWhatWasDeletedMeanwhile) {
  Put("a", 1);
  Put("b", 2);
  server_->Inject({.type = FaultType::kWatchGone});
  server_->Inject(
      {.type = FaultType::kSlow, .method = "WATCH", .delay = std::chrono::milliseconds(1)});
  Start();
  Become({{"n/a", 1}, {"n/b", 2}});
  Until("a second list", [this] { return reflector_->Lists() == 2; });
  EXPECT_TRUE(reflector_->LastError().ok());

  WatchStarts();
  // The connection breaks, an object goes, and the version to go on from is compacted away.
  server_->Inject(
      {.type = FaultType::kSlow, .method = "WATCH", .delay = std::chrono::milliseconds(50)});
  server_->CloseConnections();
  server_->Remove(kThings, {"n", "a"});
  Put("c", 3);
  server_->Compact();
  Become({{"n/b", 2}, {"n/c", 3}});
  EXPECT_EQ(reflector_->Lists(), 3);
}

TEST_F(ReflectorTest, BrokenWatchGoesOnFromItsLastEventWithoutAList) {
  Put("a", 1);
  server_->Inject({.type = FaultType::kWatchMidLine, .after_events = 1});
  Start();
  Become({{"n/a", 1}});
  WatchStarts();
  Put("b", 2);
  Put("c", 3);
  Become({{"n/a", 1}, {"n/b", 2}, {"n/c", 3}});
  EXPECT_EQ(reflector_->Lists(), 1);
}

// Whatever the lists answer, what was known stays, and the error can be seen.
TEST_F(ReflectorTest, FailuresNeverEmptyTheStore) {
  Put("a", 1);
  Start();
  Become({{"n/a", 1}});
  WatchStarts();
  for (const int http_status : {401, 403, 404}) {
    server_->Inject({.type = FaultType::kStatus, .method = "GET", .http_status = http_status});
  }
  server_->Inject({.type = FaultType::kWatchGone});
  server_->CloseConnections();
  for (const auto code : {absl::StatusCode::kUnauthenticated, absl::StatusCode::kPermissionDenied,
                          absl::StatusCode::kNotFound}) {
    Until("the next error", [&] { return reflector_->LastError().code() == code; });
    EXPECT_EQ(Now(), (Sizes{{"n/a", 1}}));
  }
  EXPECT_TRUE(reflector_->Synced());
}

TEST_F(ReflectorTest, AnswersThatAreNoListsNeverEmptyTheStore) {
  Put("a", 1);
  server_->Inject({.type = FaultType::kTruncate, .method = "GET"});
  server_->Inject({.type = FaultType::kGarbage, .method = "GET"});
  Start();
  Until("the first error", [this] { return !reflector_->LastError().ok(); });
  EXPECT_FALSE(reflector_->Synced());
  EXPECT_FALSE(store_.HasSynced());
  Become({{"n/a", 1}});
  EXPECT_TRUE(reflector_->Synced());
  EXPECT_TRUE(reflector_->LastError().ok());
}

TEST_F(ReflectorTest, RemovedKindIsAnErrorAndNotADeletion) {
  Put("a", 1);
  Start();
  Become({{"n/a", 1}});
  server_->RemoveResource(kThings);
  Until("the error", [this] { return absl::IsNotFound(reflector_->LastError()); });
  EXPECT_EQ(Now(), (Sizes{{"n/a", 1}}));
  EXPECT_TRUE(reflector_->Synced());
}

TEST_F(ReflectorTest, ObjectsThatGoWithTheirKindStay) {
  Put("a", 1);
  Put("b", 2);
  Start();
  Become({{"n/a", 1}, {"n/b", 2}});
  definition_ = 0;
  server_->Remove(kThings, {"n", "a"});
  Until("the error", [this] { return absl::IsFailedPrecondition(reflector_->LastError()); });
  server_->Compact();  // so that it lists again, and finds one object less
  const int64_t lists = reflector_->Lists();
  Until("another try", [this, before = server_->Requests().size()] {
    return server_->Requests().size() > before + 2;
  });
  EXPECT_EQ(reflector_->Lists(), lists);
  EXPECT_EQ(Now(), (Sizes{{"n/a", 1}, {"n/b", 2}}));
  definition_ = 1;
  Become({{"n/b", 2}});
}

// As a backup is restored: the definition first, then one object after the other, without status.
TEST_F(ReflectorTest, WhatWentWithItsKindStaysUntilItIsBackOrTheGraceIsOver) {
  Put("back", 1);
  Put("gone", 2);
  Put("half", 3);
  Start();
  Become({{"n/back", 1}, {"n/gone", 2}, {"n/half", 3}});
  definition_ = 0;
  server_->RemoveResource(kThings);
  Until("the error", [this] { return absl::IsNotFound(reflector_->LastError()); });
  definition_ = 2;
  server_->AddResource(kThings);
  Until("the kind", [this] { return reflector_->Kept().size() == 3; });
  const TimePoint there = clock_.Now();
  Put("back", 5);
  Put("half", 0);
  Put("new", 6);
  Become({{"n/back", 5}, {"n/gone", 2}, {"n/half", 3}, {"n/new", 6}});
  // One that is there is deleted as ever.
  server_->Remove(kThings, {"n", "new"});
  Become({{"n/back", 5}, {"n/gone", 2}, {"n/half", 3}});
  EXPECT_EQ(reflector_->Kept(), (std::set<std::string>{"n/gone", "n/half"}));
  EXPECT_LT(clock_.Now() - there, grace_);
  Become({{"n/back", 5}, {"n/half", 0}});
  EXPECT_GE(clock_.Now() - there, grace_ - std::chrono::seconds(1));
  EXPECT_EQ(reflector_->Kept(), std::set<std::string>());
  server_->Remove(kThings, {"n", "back"});
  Become({{"n/half", 0}});
}

TEST_F(ReflectorTest, WhatIsBackAndDeletedIsGoneAtOnce) {
  Put("a", 1);
  Put("b", 2);
  Start();
  Become({{"n/a", 1}, {"n/b", 2}});
  definition_ = 2;  // nobody was there to see it go
  server_->CloseConnections();
  server_->Remove(kThings, {"n", "a"});
  server_->Remove(kThings, {"n", "b"});
  server_->Compact();
  Until("a list", [this] { return reflector_->Kept().size() == 2; });
  Put("a", 0);
  server_->Remove(kThings, {"n", "a"});
  Become({{"n/b", 2}});
  EXPECT_EQ(reflector_->Kept(), std::set<std::string>{"n/b"});
}

TEST_F(ReflectorTest, WhereTheKindIsGoneFromTheStartWhatIsRememberedCounts) {
  server_->RemoveResource(kThings);
  Start();
  Until("the error", [this] { return absl::IsNotFound(reflector_->LastError()); });
  server_->AddResource(kThings);
  Put("a", 1);
  Become({{"n/a", 1}, {"n/remembered", 9}});
  Become({{"n/a", 1}});
}

TEST_F(ReflectorTest, WhereTheKindIsThereNothingIsRemembered) {
  Put("a", 1);
  Start();
  Until("a list", [this] { return reflector_->Synced(); });
  EXPECT_EQ(Now(), (Sizes{{"n/a", 1}}));
}

TEST_F(ReflectorTest, UndecodableObjectKeepsItsLastGoodVersion) {
  Put("a", 1);
  Put("never", "good");
  Start();
  Become({{"n/a", 1}});
  const std::string why = "spec.size: is a string, not a whole number";
  EXPECT_EQ(reflector_->Undecodable(), (std::map<std::string, std::string>{{"n/never", why}}));
  Put("a", "bad");
  Put("b", 2);
  Become({{"n/a", 1}, {"n/b", 2}});
  EXPECT_EQ(reflector_->Undecodable(),
            (std::map<std::string, std::string>{{"n/a", why}, {"n/never", why}}));
  Put("a", 3);
  server_->Remove(kThings, {"n", "never"});
  Become({{"n/a", 3}, {"n/b", 2}});
  Until("no complaint", [this] { return reflector_->Undecodable().empty(); });
}

// Each watch begins with the same bad event, as a server does that has it in its history.
TEST_F(ReflectorTest, AnEventThatCannotBeReadIsReportedAndTheNextOneSeen) {
  Put("a", 1);
  server_->Inject({.type = FaultType::kWatchLine,
                   .times = 1000,
                   .line = R"({"type": "MODIFIED", "object": {"metadata": {"name": "a", )"
                           R"("namespace": "n", "labels": 7}, "spec": {"size": "bad"}}})"});
  Start();
  Become({{"n/a", 1}});
  WatchStarts();
  Put("b", 2);
  Become({{"n/a", 1}, {"n/b", 2}});
  EXPECT_EQ(
      reflector_->Undecodable(),
      (std::map<std::string, std::string>{{"n/a", "spec.size: is a string, not a whole number"}}));
  EXPECT_EQ(reflector_->Lists(), 1);
  EXPECT_EQ(server_->Requests().size(), 2u);
}

TEST_F(ReflectorTest, AnEventWithoutANameIsReportedAndTheNextOneSeen) {
  Put("a", 1);
  server_->Inject({.type = FaultType::kWatchLine,
                   .times = 1000,
                   .line = R"({"type": "ADDED", "object": {"metadata": {}, "spec": {}}})"});
  Start();
  Become({{"n/a", 1}});
  WatchStarts();
  Put("b", 2);
  Become({{"n/a", 1}, {"n/b", 2}});
  EXPECT_TRUE(reflector_->Nameless());
  EXPECT_EQ(reflector_->Lists(), 1);
  EXPECT_EQ(server_->Requests().size(), 2u);
}

TEST_F(ReflectorTest, AVersionAfterWhichComesNonsenseIsLeftByAList) {
  Put("a", 1);
  const std::string version =
      (*server_->Read(kThings, {"n", "a"}))["metadata"]["resourceVersion"].get<std::string>();
  server_->Inject({.type = FaultType::kWatchLine,
                   .times = 1000,
                   .path_contains = "resourceVersion=" + version + "&",
                   .line = R"({"type": "ADDED", "object": {"metadata": {"na)"});
  Start();
  Become({{"n/a", 1}});
  Until("the error", [this] { return absl::IsDataLoss(reflector_->LastError()); });
  Put("b", 2);
  Become({{"n/a", 1}, {"n/b", 2}});
  // A list, a watch, the watch again, a list; and perhaps a watch by now.
  EXPECT_EQ(reflector_->Lists(), 2);
  EXPECT_LE(server_->Requests().size(), 5u);
  Put("c", 3);
  Become({{"n/a", 1}, {"n/b", 2}, {"n/c", 3}});
  EXPECT_EQ(reflector_->Lists(), 2);
}

TEST_F(ReflectorTest, ServerThatIsNotThereYetIsWaitedFor) {
  server_->Inject({.type = FaultType::kClose});
  Put("a", 1);
  Start();
  Until("the error", [this] { return absl::IsUnavailable(reflector_->LastError()); });
  Become({{"n/a", 1}});
}

}  // namespace
}  // namespace kube_lvs::kube
