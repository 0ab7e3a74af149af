// The client on answers that no sane API server gives. What a sane one does: contract_test.
#include "kube/client.h"

#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

// Answers with what it is told to, in order; the last answer for ever.
class ScriptedTransport final : public HttpTransport {
 public:
  absl::StatusOr<HttpResponse> Send(const HttpRequest& request, std::stop_token) override {
    requests.push_back(request);
    HttpResponse answer = answers.front();
    if (answers.size() > 1) answers.pop_front();
    return answer;
  }

  absl::StatusOr<HttpResponse> Stream(const HttpRequest& request, const LineSink& on_line,
                                      std::stop_token) override {
    requests.push_back(request);
    for (const std::string& line : lines) {
      if (const absl::Status taken = on_line(line); !taken.ok()) return taken;
    }
    return HttpResponse{.status = 200};
  }

  std::deque<HttpResponse> answers;
  std::vector<std::string> lines;
  std::vector<HttpRequest> requests;
};

class ClientTest : public testing::Test {
 protected:
  void Answer(const std::string& body, int status = 200) {
    transport_.answers.push_back({.status = status, .body = body});
  }

  absl::Status List() {
    return client_.List(kNodes, {}, [](const json&) { return absl::OkStatus(); }).status();
  }

  absl::Status Watch(const std::string& line) {
    transport_.lines = {line};
    return client_.Watch(kNodes, {.resource_version = "7"},
                         [](WatchEventType, const json&) { return absl::OkStatus(); });
  }

  ScriptedTransport transport_;
  Client client_{transport_};
};

TEST_F(ClientTest, AnswersThatAreNoObjectsAreDataLoss) {
  for (const char* body : {"", "[]", "5", "null", "{", "<html>", "{\"a\":1e9999}"}) {
    transport_.answers.clear();
    Answer(body);
    EXPECT_TRUE(absl::IsDataLoss(client_.Get(kNodes, {"", "n"}).status())) << body;
    EXPECT_TRUE(absl::IsDataLoss(List())) << body;
  }
}

TEST_F(ClientTest, ListWithoutAVersionOrWithAbsurdItemsIsDataLoss) {
  for (const char* body :
       {R"({"metadata":{},"items":[]})", R"({"metadata":{"resourceVersion":7},"items":[]})",
        R"({"metadata":{"resourceVersion":"7"},"items":[5]})",
        R"({"metadata":{"resourceVersion":"7"},"items":[{"a":tru}]})",
        R"({"metadata":{"resourceVersion":"7"},"items":{"a":1}})"}) {
    transport_.answers.clear();
    Answer(body);
    EXPECT_TRUE(absl::IsDataLoss(List())) << body;
  }
}

TEST_F(ClientTest, ListThatNeverEndsIsNoticed) {
  Answer(R"({"metadata":{"resourceVersion":"7","continue":"x"},"items":[]})");
  EXPECT_TRUE(absl::IsDataLoss(List()));
  EXPECT_EQ(transport_.requests.size(), 2u);
}

TEST_F(ClientTest, PagesCarryLimitAndContinue) {
  Answer(R"({"metadata":{"resourceVersion":"7","continue":"a b"},"items":[{}]})");
  Answer(R"({"metadata":{"resourceVersion":"7"},"items":[{}]})");
  int items = 0;
  const auto version = client_.List(
      kServices, {.ns = "shop", .label_selector = "a=b", .page_size = 9}, [&items](const json&) {
        ++items;
        return absl::OkStatus();
      });
  EXPECT_EQ(*version, "7");
  EXPECT_EQ(items, 2);
  EXPECT_EQ(transport_.requests[0].target,
            "/api/v1/namespaces/shop/services?labelSelector=a%3Db&limit=9");
  EXPECT_EQ(transport_.requests[1].target,
            "/api/v1/namespaces/shop/services?labelSelector=a%3Db&limit=9&continue=a%20b");
}

TEST_F(ClientTest, WatchAsksForBookmarksFromItsVersion) {
  transport_.lines = {""};
  EXPECT_TRUE(client_.Watch(kNodes, {.resource_version = "7"}, nullptr).ok());
  EXPECT_EQ(transport_.requests[0].target,
            "/api/v1/nodes?watch=true&allowWatchBookmarks=true&resourceVersion=7"
            "&timeoutSeconds=300");
  EXPECT_EQ(transport_.requests[0].quiet_timeout, std::chrono::seconds(75));
}

TEST_F(ClientTest, EventsThatMakeNoSenseAreDataLoss) {
  for (const char* line : {"{", "[]", "5", "{}", R"({"type":"ADDED"})", R"({"type":5,"object":{}})",
                           R"({"type":"ADDED","object":[]})", R"({"type":"EXPLODED","object":{}})",
                           R"({"type":"ADDED","object":{}}{"type":"ADDED","object":{}})"}) {
    EXPECT_TRUE(absl::IsDataLoss(Watch(line))) << line;
  }
}

TEST_F(ClientTest, ErrorEventIsTheStatusItCarries) {
  EXPECT_TRUE(IsGone(Watch(R"({"type":"ERROR","object":{"code":410,"reason":"Expired"}})")));
  EXPECT_TRUE(IsTooManyRequests(Watch(R"({"type":"ERROR","object":{"code":429}})")));
  const absl::Status odd = Watch(R"({"type":"ERROR","object":{"code":"x","message":[1]}})");
  EXPECT_FALSE(odd.ok());
}

TEST_F(ClientTest, ManagedFieldsOfEventsAreDropped) {
  transport_.lines = {
      R"({"type":"ADDED","object":{"metadata":{"name":"a","managedFields":[{"x":1}]}}})"};
  json seen;
  EXPECT_TRUE(client_
                  .Watch(kNodes, {},
                         [&seen](WatchEventType, const json& object) {
                           seen = object;
                           return absl::OkStatus();
                         })
                  .ok());
  EXPECT_EQ(seen, json::parse(R"({"metadata":{"name":"a"}})"));
}

TEST_F(ClientTest, ApplyFillsInWhatNamesTheObject) {
  Answer("{}");
  ASSERT_TRUE(client_
                  .Apply(kLeases, {"shop", "l"}, {{"spec", {{"a", 1}}}},
                         {.field_manager = "a b", .subresource = "status"})
                  .ok());
  const HttpRequest& request = transport_.requests[0];
  EXPECT_EQ(request.method, HttpMethod::kPatch);
  EXPECT_EQ(request.target,
            "/apis/coordination.k8s.io/v1/namespaces/shop/leases/l/status?fieldManager=a%20b"
            "&force=true");
  EXPECT_EQ(request.content_type, "application/apply-patch+yaml");
  EXPECT_EQ(json::parse(request.body), json::parse(R"({"apiVersion":"coordination.k8s.io/v1",
      "kind":"Lease","metadata":{"name":"l","namespace":"shop"},"spec":{"a":1}})"));
}

TEST_F(ClientTest, WrongNamesAreRefusedBeforeAnythingIsSent) {
  Answer("{}");
  EXPECT_TRUE(absl::IsInvalidArgument(client_.Get(kNodes, {"", ""}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client_.Get(kServices, {"", "a"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client_.Delete(kServices, {"..", "a"})));
  EXPECT_TRUE(absl::IsInvalidArgument(client_.Create(kServices, "", json::object()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client_.Create(kNodes, "shop", json::object()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      client_.Apply(kNodes, {"", "n"}, json::array(), {.field_manager = "m"}).status()));
  EXPECT_TRUE(transport_.requests.empty());
}

TEST_F(ClientTest, AnyDamageIsSurvived) {
  const std::string good =
      R"({"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"9"},"spec":[1]}})";
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good.substr(0, random() % (good.size() + 1));
    for (int n = 0; n < 3 && !bad.empty(); ++n) {
      bad[random() % bad.size()] = static_cast<char>(random());
    }
    (void)Watch(bad);
  }
}

}  // namespace
}  // namespace kube_lvs::kube
