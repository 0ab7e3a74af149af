// What the contract test cannot ask of a real server: faults, compaction, direct access.
#include "kube/testing/fake_api.h"

#include <gtest/gtest.h>

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

constexpr Resource kThings{"kube-lvs.test", "v1", "things", "Thing", true};
constexpr char kPath[] = "/apis/kube-lvs.test/v1/namespaces/n/things";

json Thing(const std::string& name) { return {{"metadata", {{"name", name}, {"namespace", "n"}}}}; }

class FakeApiTest : public testing::Test {
 protected:
  FakeResponse Get(const std::string& target) {
    return api_.Handle({.method = "GET", .target = target});
  }
  FakeApi api_{{kThings, kNodes}, {}};
};

TEST_F(FakeApiTest, PagesShowOneMomentAndExpire) {
  for (const char* name : {"a", "b", "c"}) api_.Put(kThings, Thing(name));
  const json first = json::parse(Get(std::string(kPath) + "?limit=1").body);
  const std::string next = first["metadata"]["continue"];
  api_.Remove(kThings, {"n", "b"});
  const json rest =
      json::parse(Get(std::string(kPath) + "?limit=5&continue=" + UrlEncode(next)).body);
  EXPECT_EQ(rest["items"].size(), 2u);
  EXPECT_EQ(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
  api_.Compact();
  EXPECT_EQ(Get(std::string(kPath) + "?limit=5&continue=" + UrlEncode(next)).status, 410);
}

TEST_F(FakeApiTest, CompactionForgetsOnlyWhatIsOlder) {
  api_.Put(kThings, Thing("a"));
  const std::string target = std::string(kPath) + "?watch=true&resourceVersion=";
  const std::string version = json::parse(Get(kPath).body)["metadata"]["resourceVersion"];
  FakeWatch now;
  ASSERT_FALSE(api_.StartWatch({.method = "GET", .target = target + version}, now));
  api_.Compact();
  EXPECT_TRUE(api_.Poll(now, false).empty());
  api_.Put(kThings, Thing("b"));
  EXPECT_EQ(api_.Poll(now, false).size(), 1u);
  api_.Compact();
  FakeWatch old;
  ASSERT_FALSE(api_.StartWatch({.method = "GET", .target = target + version}, old));
  const auto lines = api_.Poll(old, false);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(json::parse(lines[0])["object"]["code"], 410);
}

TEST_F(FakeApiTest, VersionFromTheFutureIsATimeout) {
  FakeWatch watch;
  const auto refused = api_.StartWatch(
      {.method = "GET", .target = std::string(kPath) + "?watch=true&resourceVersion=999999"},
      watch);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 504);
}

TEST_F(FakeApiTest, RemovedKindAnswersPlain404) {
  api_.RemoveResource(kThings);
  EXPECT_EQ(Get(kPath).status, 404);
  EXPECT_EQ(Get(kPath).body, "404 page not found\n");
  api_.AddResource(kThings);
  EXPECT_EQ(Get(kPath).status, 200);
}

TEST_F(FakeApiTest, WrongMethodsTypesAndScopesAreRefused) {
  const auto status = [this](const FakeRequest& request) { return api_.Handle(request).status; };
  const std::string path = kPath;
  EXPECT_EQ(status({"POST", path, "text/plain", "{}"}), 415);
  EXPECT_EQ(status({"POST", path, "application/json", "{"}), 400);
  EXPECT_EQ(status({"PATCH", path + "/a", "application/strategic-merge-patch+json", "{}"}), 404);
  EXPECT_EQ(status({"FLY", path, "", ""}), 405);
  EXPECT_EQ(status({"GET", "/api/v1/namespaces/n/nodes", "", ""}), 404);
  EXPECT_EQ(status({"GET", path + "/a/scale", "", ""}), 404);
  EXPECT_EQ(status({"GET", path + "?labelSelector=a+in+(b)", "", ""}), 400);
}

}  // namespace
}  // namespace kube_lvs::kube
