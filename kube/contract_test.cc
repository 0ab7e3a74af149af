// What the client expects of an API server, as cases that run on the fake one and on a real one:
// if both pass, the fake is right about it. With KUBE_LVS_CONTRACT_KUBECONFIG it is the server of
// that file, which must have testing/things-crd.yaml; else the fake.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "kube/client.h"
#include "kube/config.h"
#include "kube/events.h"
#include "kube/json.h"
#include "kube/leader_election.h"
#include "kube/reflector.h"
#include "kube/rest_transport.h"
#include "kube/store.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Resource kThings{"kube-lvs.test", "v1", "things", "Thing", true};
constexpr char kNs[] = "default";

class QuietLogger final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

struct Seen {
  std::string type;
  std::string name;
  bool operator==(const Seen&) const = default;
};

class ContractTest : public testing::Test {
 protected:
  void SetUp() override {
    ClientConfig config;
    if (const char* file = std::getenv("KUBE_LVS_CONTRACT_KUBECONFIG")) {
      const auto loaded = LoadKubeconfig(file);
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      config = *loaded;
    } else {
      auto fake =
          FakeApiServer::Start({.resources = {kThings, kLeases, kEvents},
                                .list_maps = {{kThings, {{"spec", "ports"}, {"name"}}},
                                              {kThings, {{"status", "conditions"}, {"type"}}}},
                                .token = "secret"});
      ASSERT_TRUE(fake.ok()) << fake.status();
      fake_ = *std::move(fake);
      config = fake_->Config();
    }
    config_ = config;
    auto transport = NewRestTransport(config, clock_);
    ASSERT_TRUE(transport.ok()) << transport.status();
    transport_ = *std::move(transport);
    client_ = std::make_unique<Client>(*transport_);
    prefix_ = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::transform(prefix_.begin(), prefix_.end(), prefix_.begin(),
                   [](unsigned char c) { return std::tolower(c); });
  }

  void TearDown() override {
    if (client_ == nullptr) return;
    std::vector<std::string> names;
    (void)client_->List(kThings, Ours(), [&names](const json& item) {
      names.push_back(item["metadata"]["name"]);
      return absl::OkStatus();
    });
    for (const std::string& name : names) {
      (void)client_->Patch(kThings, {kNs, name}, PatchType::kMerge,
                           {{"metadata", {{"finalizers", nullptr}}}});
      (void)client_->Delete(kThings, {kNs, name});
    }
  }

  ListOptions Ours() const { return {.ns = kNs, .label_selector = "test=" + prefix_}; }
  ObjectName Name(const std::string& name) const { return {kNs, prefix_ + "-" + name}; }

  json Thing(const std::string& name, const json& spec = json::object()) const {
    return {{"apiVersion", kThings.ApiVersion()},
            {"kind", "Thing"},
            {"metadata", {{"name", Name(name).name}, {"labels", {{"test", prefix_}}}}},
            {"spec", spec}};
  }

  json MustCreate(const std::string& name, const json& spec = json::object()) {
    const auto created = client_->Create(kThings, kNs, Thing(name, spec));
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? *created : json();
  }

  json MustGet(const std::string& name) {
    const auto got = client_->Get(kThings, Name(name));
    EXPECT_TRUE(got.ok()) << got.status();
    return got.ok() ? *got : json();
  }

  absl::StatusOr<json> Apply(const std::string& name, const std::string& manager, json body,
                             bool force = true, const std::string& subresource = "") {
    return client_->Apply(kThings, Name(name), body,
                          {.field_manager = manager, .force = force, .subresource = subresource});
  }

  static std::string Version(const json& object) { return object["metadata"]["resourceVersion"]; }
  static int Generation(const json& object) { return object["metadata"]["generation"]; }

  // The first `count` events after `version`, bookmarks left out.
  std::vector<Seen> WatchFrom(const std::string& version, size_t count,
                              const std::string& selector) {
    std::vector<Seen> seen;
    const absl::Status ended = client_->Watch(
        kThings,
        {.ns = kNs,
         .label_selector = selector,
         .resource_version = version,
         .timeout = seconds(20),
         .quiet_timeout = seconds(20)},
        [&](WatchEventType type, const json& object) {
          if (type == WatchEventType::kBookmark) return absl::OkStatus();
          const std::string name = object["metadata"]["name"];
          seen.push_back({std::string(ToString(type)), name.substr(prefix_.size() + 1)});
          return seen.size() == count ? absl::CancelledError("enough") : absl::OkStatus();
        });
    EXPECT_TRUE(absl::IsCancelled(ended)) << ended;
    return seen;
  }

  SystemClock clock_;
  QuietLogger log_;
  ClientConfig config_;
  std::unique_ptr<FakeApiServer> fake_;
  std::unique_ptr<HttpTransport> transport_;
  std::unique_ptr<Client> client_;
  std::string prefix_;
};

TEST_F(ContractTest, CreateGetDelete) {
  const json created = MustCreate("a", {{"size", 3}});
  EXPECT_EQ(Generation(created), 1);
  EXPECT_FALSE(Version(created).empty());
  EXPECT_FALSE(created["metadata"].contains("managedFields"));
  EXPECT_EQ(MustGet("a")["spec"], (json{{"size", 3}}));
  EXPECT_TRUE(absl::IsAlreadyExists(client_->Create(kThings, kNs, Thing("a")).status()));
  EXPECT_TRUE(client_->Delete(kThings, Name("a")).ok());
  EXPECT_TRUE(absl::IsNotFound(client_->Get(kThings, Name("a")).status()));
  EXPECT_TRUE(absl::IsNotFound(client_->Delete(kThings, Name("a"))));
}

TEST_F(ContractTest, RefusedObjectsAreInvalid) {
  json bad = Thing("a");
  bad["metadata"]["name"] = "Not A Name";
  EXPECT_TRUE(IsInvalid(client_->Create(kThings, kNs, bad).status()));
  json elsewhere = Thing("a");
  elsewhere["metadata"]["namespace"] = "another";
  EXPECT_TRUE(IsInvalid(client_->Create(kThings, kNs, elsewhere).status()));
  EXPECT_TRUE(IsInvalid(
      client_->List(kThings, {.ns = kNs, .field_selector = "spec.size=3"}, nullptr).status()));
}

TEST_F(ContractTest, UnknownKindIsNotFound) {
  constexpr Resource kNone{"none.kube-lvs.test", "v1", "nothings", "Nothing", true};
  const auto listed = client_->List(kNone, {}, nullptr);
  EXPECT_TRUE(absl::IsNotFound(listed.status())) << listed.status();
  const absl::Status watched = client_->Watch(kNone, {.resource_version = "1"}, nullptr);
  EXPECT_TRUE(absl::IsNotFound(watched)) << watched;
}

TEST_F(ContractTest, WrongTokenIsUnauthorized) {
  ClientConfig config = config_;
  config.token = "wrong";
  auto transport = NewRestTransport(config, clock_);
  ASSERT_TRUE(transport.ok());
  const absl::Status status = Client(**transport).Get(kThings, Name("a")).status();
  EXPECT_TRUE(IsUnauthorized(status)) << status;
}

TEST_F(ContractTest, UpdateOfAnOldVersionIsAConflict) {
  json first = MustCreate("a", {{"size", 1}});
  json changed = first;
  changed["spec"]["size"] = 2;
  const auto updated = client_->Update(kThings, Name("a"), changed);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(Generation(*updated), 2);
  EXPECT_NE(Version(*updated), Version(first));
  first["spec"]["size"] = 3;
  const absl::Status conflict = client_->Update(kThings, Name("a"), first).status();
  EXPECT_TRUE(IsConflict(conflict)) << conflict;
  EXPECT_EQ(MustGet("a")["spec"]["size"], 2);
}

TEST_F(ContractTest, WriteThatChangesNothingMakesNoVersion) {
  const json first = MustCreate("a", {{"size", 1}});
  const auto updated = client_->Update(kThings, Name("a"), first);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(Version(*updated), Version(first));
}

TEST_F(ContractTest, StatusAndTheRestAreWrittenApart) {
  json object = MustCreate("a", {{"size", 1}});
  object["spec"]["size"] = 2;
  object["status"]["phase"] = "Good";
  auto written = client_->Update(kThings, Name("a"), object, {.subresource = "status"});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ((*written)["spec"]["size"], 1);
  EXPECT_EQ((*written)["status"]["phase"], "Good");
  EXPECT_EQ(Generation(*written), 1);
  object = *written;
  object["spec"]["size"] = 5;
  object["status"]["phase"] = "Bad";
  written = client_->Update(kThings, Name("a"), object);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ((*written)["spec"]["size"], 5);
  EXPECT_EQ((*written)["status"]["phase"], "Good");
  EXPECT_EQ(Generation(*written), 2);
}

TEST_F(ContractTest, PatchesMergeTestAndRefuse) {
  MustCreate("a", {{"size", 1}, {"color", "red"}});
  auto patched = client_->Patch(kThings, Name("a"), PatchType::kMerge,
                                {{"spec", {{"size", 2}, {"color", nullptr}}}});
  ASSERT_TRUE(patched.ok()) << patched.status();
  EXPECT_EQ((*patched)["spec"], (json{{"size", 2}}));
  patched =
      client_->Patch(kThings, Name("a"), PatchType::kJson,
                     json::array({{{"op", "test"}, {"path", "/spec/size"}, {"value", 2}},
                                  {{"op", "replace"}, {"path", "/spec/size"}, {"value", 3}}}));
  ASSERT_TRUE(patched.ok()) << patched.status();
  EXPECT_EQ((*patched)["spec"]["size"], 3);
  const absl::Status refused =
      client_
          ->Patch(kThings, Name("a"), PatchType::kJson,
                  json::array({{{"op", "test"}, {"path", "/spec/size"}, {"value", 99}},
                               {{"op", "replace"}, {"path", "/spec/size"}, {"value", 4}}}))
          .status();
  EXPECT_TRUE(IsInvalid(refused)) << refused;
  EXPECT_EQ(MustGet("a")["spec"]["size"], 3);
}

TEST_F(ContractTest, PatchWithAnOldVersionIsAConflict) {
  const json first = MustCreate("a", {{"size", 1}});
  ASSERT_TRUE(
      client_->Patch(kThings, Name("a"), PatchType::kMerge, {{"spec", {{"size", 2}}}}).ok());
  const absl::Status conflict =
      client_
          ->Patch(kThings, Name("a"), PatchType::kMerge,
                  {{"metadata", {{"resourceVersion", Version(first)}}}, {"spec", {{"size", 3}}}})
          .status();
  EXPECT_TRUE(IsConflict(conflict)) << conflict;
}

TEST_F(ContractTest, DeleteHonoursItsPreconditions) {
  const json object = MustCreate("a");
  EXPECT_TRUE(IsConflict(client_->Delete(kThings, Name("a"), {.uid = "another"})));
  EXPECT_TRUE(IsConflict(client_->Delete(kThings, Name("a"), {.resource_version = "1"})));
  EXPECT_TRUE(client_
                  ->Delete(kThings, Name("a"),
                           {.uid = object["metadata"]["uid"], .resource_version = Version(object)})
                  .ok());
}

TEST_F(ContractTest, FinalizerHoldsTheObjectUntilItIsTakenOut) {
  json object = Thing("a");
  object["metadata"]["finalizers"] = {"kube-lvs.test/hold"};
  ASSERT_TRUE(client_->Create(kThings, kNs, object).ok());
  EXPECT_TRUE(client_->Delete(kThings, Name("a")).ok());
  const auto meta = DecodeMeta(MustGet("a"));
  ASSERT_TRUE(meta.ok());
  EXPECT_TRUE(meta->deleting);
  ASSERT_TRUE(
      client_
          ->Patch(kThings, Name("a"), PatchType::kMerge, {{"metadata", {{"finalizers", nullptr}}}})
          .ok());
  EXPECT_TRUE(absl::IsNotFound(client_->Get(kThings, Name("a")).status()));
}

TEST_F(ContractTest, ListGoesThroughAllPages) {
  std::vector<std::string> expected;
  for (int i = 0; i < 7; ++i) {
    MustCreate(std::to_string(i));
    expected.push_back(Name(std::to_string(i)).name);
  }
  ListOptions options = Ours();
  options.page_size = 3;
  std::vector<std::string> names;
  const auto version = client_->List(kThings, options, [&names](const json& item) {
    names.push_back(item["metadata"]["name"]);
    EXPECT_FALSE(item["metadata"].contains("managedFields"));
    return absl::OkStatus();
  });
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_FALSE(version->empty());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, expected);
}

TEST_F(ContractTest, SelectorsChoose) {
  MustCreate("a");
  MustCreate("b");
  ASSERT_TRUE(client_
                  ->Patch(kThings, Name("b"), PatchType::kMerge,
                          {{"metadata", {{"labels", {{"color", "red"}}}}}})
                  .ok());
  const auto names = [this](const std::string& labels, const std::string& fields) {
    std::vector<std::string> out;
    EXPECT_TRUE(
        client_
            ->List(
                kThings,
                {.ns = kNs, .label_selector = "test=" + prefix_ + labels, .field_selector = fields},
                [&](const json& item) {
                  const std::string name = item["metadata"]["name"];
                  out.push_back(name.substr(prefix_.size() + 1));
                  return absl::OkStatus();
                })
            .ok());
    return out;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("", ""), (Names{"a", "b"}));
  EXPECT_EQ(names(",color=red", ""), (Names{"b"}));
  EXPECT_EQ(names(",color!=red", ""), (Names{"a"}));
  EXPECT_EQ(names(",color", ""), (Names{"b"}));
  EXPECT_EQ(names(",!color", ""), (Names{"a"}));
  EXPECT_EQ(names("", "metadata.name=" + Name("a").name), (Names{"a"}));
  EXPECT_EQ(names("", "metadata.name!=" + Name("a").name), (Names{"b"}));
}

TEST_F(ContractTest, WatchTellsWhatHappensAfterTheList) {
  MustCreate("old");
  const auto version = client_->List(kThings, Ours(), [](const json&) { return absl::OkStatus(); });
  ASSERT_TRUE(version.ok()) << version.status();
  MustCreate("a");
  ASSERT_TRUE(
      client_->Patch(kThings, Name("a"), PatchType::kMerge, {{"spec", {{"size", 2}}}}).ok());
  ASSERT_TRUE(client_->Delete(kThings, Name("a")).ok());
  MustCreate("b");
  EXPECT_EQ(
      WatchFrom(*version, 4, "test=" + prefix_),
      (std::vector<Seen>{{"ADDED", "a"}, {"MODIFIED", "a"}, {"DELETED", "a"}, {"ADDED", "b"}}));
}

TEST_F(ContractTest, ObjectThatLeavesTheSelectorIsDeletedForTheWatch) {
  const json first = MustCreate("a");
  const auto label = [this](const json& value) {
    ASSERT_TRUE(client_
                    ->Patch(kThings, Name("a"), PatchType::kMerge,
                            {{"metadata", {{"labels", {{"color", value}}}}}})
                    .ok());
  };
  label("red");
  label("blue");
  label("red");
  EXPECT_EQ(WatchFrom(Version(first), 3, "test=" + prefix_ + ",color=red"),
            (std::vector<Seen>{{"ADDED", "a"}, {"DELETED", "a"}, {"ADDED", "a"}}));
}

TEST_F(ContractTest, WatchFromAForgottenVersionIsGone) {
  const absl::Status ended = client_->Watch(
      kThings, {.ns = kNs, .resource_version = "1", .timeout = seconds(10)},
      [](WatchEventType, const json&) { return absl::InternalError("no event is due"); });
  EXPECT_TRUE(IsGone(ended)) << ended;
}

TEST_F(ContractTest, WatchEndsWithItsTimeout) {
  const json first = MustCreate("a");
  const absl::Status ended =
      client_->Watch(kThings,
                     {.ns = kNs,
                      .label_selector = "test=nobody",
                      .resource_version = Version(first),
                      .timeout = seconds(1)},
                     [](WatchEventType, const json&) { return absl::OkStatus(); });
  EXPECT_TRUE(ended.ok()) << ended;
}

TEST_F(ContractTest, ApplyCreatesChangesAndTakesOutWhatItLeavesOut) {
  json body = Thing("a", {{"size", 1}, {"color", "red"}});
  auto applied = Apply("a", "one", body);
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ((*applied)["spec"], (json{{"size", 1}, {"color", "red"}}));
  EXPECT_FALSE((*applied)["metadata"].contains("managedFields"));
  const std::string version = Version(*applied);
  applied = Apply("a", "one", body);
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(Version(*applied), version);  // nothing changed
  body["spec"].erase("color");
  applied = Apply("a", "one", body);
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ((*applied)["spec"], (json{{"size", 1}}));
  EXPECT_EQ(Generation(*applied), 2);
}

TEST_F(ContractTest, ApplyOfAnothersFieldIsAConflictUnlessForced) {
  ASSERT_TRUE(Apply("a", "one", Thing("a", {{"size", 1}, {"color", "red"}})).ok());
  const json other = {{"spec", {{"size", 2}}}};
  const absl::Status conflict = Apply("a", "two", other, /*force=*/false).status();
  EXPECT_TRUE(IsConflict(conflict)) << conflict;
  EXPECT_NE(Message(conflict).find(".spec.size"), std::string::npos) << conflict;
  EXPECT_EQ(MustGet("a")["spec"]["size"], 1);
  // The same value is no conflict: then both own it, and it stays when one lets go.
  ASSERT_TRUE(Apply("a", "two", {{"spec", {{"size", 1}}}}, /*force=*/false).ok());
  ASSERT_TRUE(Apply("a", "two", {{"spec", json::object()}}, /*force=*/false).ok());
  EXPECT_EQ(MustGet("a")["spec"]["size"], 1);
  ASSERT_TRUE(Apply("a", "two", other).ok());
  EXPECT_EQ(MustGet("a")["spec"]["size"], 2);
  // Force took it from the first, whose next apply without it changes nothing.
  ASSERT_TRUE(Apply("a", "one", Thing("a", {{"color", "red"}})).ok());
  EXPECT_EQ(MustGet("a")["spec"], (json{{"size", 2}, {"color", "red"}}));
}

TEST_F(ContractTest, ListMapsAreSharedByItemAndOtherListsAreOneValue) {
  ASSERT_TRUE(Apply("a", "one",
                    Thing("a", {{"ports", {{{"name", "http"}, {"port", 80}}}},
                                {"addresses", {"192.0.2.1"}}}))
                  .ok());
  ASSERT_TRUE(Apply("a", "two", {{"spec", {{"ports", {{{"name", "dns"}, {"port", 53}}}}}}},
                    /*force=*/false)
                  .ok());
  EXPECT_EQ(MustGet("a")["spec"]["ports"].size(), 2u);
  const absl::Status conflict =
      Apply("a", "two", {{"spec", {{"addresses", {"192.0.2.2"}}}}}, /*force=*/false).status();
  EXPECT_TRUE(IsConflict(conflict)) << conflict;
  ASSERT_TRUE(Apply("a", "one", Thing("a", {{"addresses", {"192.0.2.1"}}})).ok());
  EXPECT_EQ(MustGet("a")["spec"]["ports"], json::parse(R"([{"name":"dns","port":53}])"));
}

TEST_F(ContractTest, ApplyOfStatusOwnsStatusOnly) {
  const json status = {
      {"status", {{"phase", "Good"}, {"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}};
  const absl::Status missing = Apply("a", "one", status, true, "status").status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  MustCreate("a", {{"size", 1}});
  json more = status;
  more["spec"]["size"] = 9;
  auto applied = Apply("a", "one", more, true, "status");
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ((*applied)["spec"]["size"], 1);
  EXPECT_EQ((*applied)["status"]["phase"], "Good");
  // Another writer's condition stands beside it; an apply that leaves a field out deletes it.
  ASSERT_TRUE(Apply("a", "two",
                    {{"status", {{"conditions", {{{"type", "Fast"}, {"status", "False"}}}}}}},
                    false, "status")
                  .ok());
  applied = Apply("a", "one", {{"status", {{"conditions", json::array()}}}}, true, "status");
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_FALSE((*applied)["status"].contains("phase"));
  EXPECT_EQ((*applied)["status"]["conditions"],
            json::parse(R"([{"type":"Fast","status":"False"}])"));
  EXPECT_EQ(Generation(*applied), 1);
}

TEST_F(ContractTest, ApplyWithAnOldVersionIsAConflict) {
  const auto first = Apply("a", "one", Thing("a", {{"size", 1}}));
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(Apply("a", "one", Thing("a", {{"size", 2}})).ok());
  json body = Thing("a", {{"size", 3}});
  body["metadata"]["resourceVersion"] = Version(*first);
  const absl::Status conflict = Apply("a", "one", body).status();
  EXPECT_TRUE(IsConflict(conflict)) << conflict;
}

TEST_F(ContractTest, LongManagerNamesAreRefusedBeforeTheyAreSent) {
  EXPECT_TRUE(absl::IsInvalidArgument(Apply("a", std::string(129, 'x'), Thing("a")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Apply("a", "", Thing("a")).status()));
  EXPECT_TRUE(Apply("a", std::string(128, 'x'), Thing("a")).ok());
}

TEST_F(ContractTest, ReflectorFollowsTheServer) {
  MustCreate("a", {{"size", 1}});
  MustCreate("b", {{"size", 2}});
  Store<int> store;
  Reflector<int> reflector(
      *client_, {.resource = kThings, .ns = kNs, .label_selector = "test=" + prefix_},
      [](const json& object) -> absl::StatusOr<int> {
        KUBE_LVS_ASSIGN_OR_RETURN(const int64_t size, JsonInt(object, {"spec", "size"}));
        return static_cast<int>(size);
      },
      store, clock_, log_);
  std::jthread thread([&reflector](const std::stop_token& stop) { (void)reflector.Run(stop); });
  const auto become = [&store, this](const std::map<std::string, int>& wanted) {
    const auto give_up = clock_.Now() + seconds(20);
    std::map<std::string, int> is;
    while (clock_.Now() < give_up) {
      is.clear();
      const auto snapshot = store.Snapshot();
      for (const auto& [key, value] : *snapshot) is[key] = *value;
      if (is == wanted) return;
      std::this_thread::sleep_for(milliseconds(5));
    }
    EXPECT_EQ(is, wanted);
  };
  const std::string a = Name("a").Key();
  const std::string b = Name("b").Key();
  const std::string c = Name("c").Key();
  become({{a, 1}, {b, 2}});
  EXPECT_TRUE(reflector.Synced());
  EXPECT_TRUE(reflector.LastError().ok());
  MustCreate("c", {{"size", 3}});
  become({{a, 1}, {b, 2}, {c, 3}});
  ASSERT_TRUE(
      client_->Patch(kThings, Name("a"), PatchType::kMerge, {{"spec", {{"size", 9}}}}).ok());
  ASSERT_TRUE(client_->Delete(kThings, Name("b")).ok());
  become({{a, 9}, {c, 3}});
  EXPECT_EQ(reflector.Lists(), 1);
}

TEST_F(ContractTest, LeaderHandsOverWhenItStops) {
  const ObjectName lease{kNs, prefix_};
  (void)client_->Delete(kLeases, lease);
  std::atomic<int> leading{0};
  const auto lead = [&leading](const std::stop_token& stop) {
    ++leading;
    while (!stop.stop_requested()) std::this_thread::sleep_for(milliseconds(1));
    --leading;
  };
  const LeaseTimes times{.retry_period = milliseconds(100)};
  LeaderElector one(*client_, {lease, "one", times}, lead, clock_, log_);
  LeaderElector two(*client_, {lease, "two", times}, lead, clock_, log_);
  std::jthread first([&one](const std::stop_token& stop) { EXPECT_TRUE(one.Run(stop).ok()); });
  while (leading == 0) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(one.IsLeader());
  std::jthread second([&two](const std::stop_token& stop) { EXPECT_TRUE(two.Run(stop).ok()); });
  while (two.Holder() != "one") std::this_thread::sleep_for(milliseconds(1));
  EXPECT_FALSE(two.IsLeader());
  first.request_stop();
  first.join();
  EXPECT_FALSE(one.IsLeader());
  while (!two.IsLeader()) std::this_thread::sleep_for(milliseconds(1));
  const auto got = client_->Get(kLeases, lease);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ((*got)["spec"]["holderIdentity"], "two");
  EXPECT_EQ((*got)["spec"]["leaseDurationSeconds"], 15);
  EXPECT_GE((*got)["spec"]["leaseTransitions"].get<int>(), 1);
  second.request_stop();
  second.join();
  EXPECT_TRUE(client_->Delete(kLeases, lease).ok());
}

TEST_F(ContractTest, EqualEventsAreCounted) {
  const json object = MustCreate("a");
  EventRecorder recorder(*client_, "contract-test", "here", clock_, log_);
  const Event event{.about = {kThings.ApiVersion(), "Thing", Name("a"), object["metadata"]["uid"]},
                    .type = EventType::kWarning,
                    .reason = "Tested",
                    .message = "It was tested."};
  recorder.Record(event);
  recorder.Record(event);
  recorder.Record(event);
  std::jthread writer([&recorder](const std::stop_token& stop) { (void)recorder.Run(stop); });
  json found = json::object();
  const auto give_up = clock_.Now() + seconds(20);
  while (clock_.Now() < give_up && found.value("count", 0) != 3) {
    std::this_thread::sleep_for(milliseconds(5));
    ASSERT_TRUE(client_
                    ->List(kEvents, {.ns = kNs},
                           [&](const json& item) {
                             if (item["involvedObject"]["name"] == Name("a").name) found = item;
                             return absl::OkStatus();
                           })
                    .ok());
  }
  EXPECT_EQ(found.value("count", 0), 3);
  EXPECT_EQ(found.value("reason", ""), "Tested");
  EXPECT_EQ(found.value("type", ""), "Warning");
  EXPECT_EQ(found["source"]["component"], "contract-test");
}

}  // namespace
}  // namespace kube_lvs::kube
