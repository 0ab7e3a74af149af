#include "kube/api_error.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/status.h"

namespace kube_lvs::kube {
namespace {

using absl::StatusCode;
using std::chrono::seconds;

HttpResponse Answer(int status, const std::string& body) {
  return {.status = status, .body = body};
}

TEST(ApiErrorTest, CodeSaysWhatTheCallerDoesNext) {
  struct Case {
    int http_status;
    const char* reason;
    StatusCode code;
  };
  const std::vector<Case> cases = {
      {400, "BadRequest", StatusCode::kInvalidArgument},
      {401, "Unauthorized", StatusCode::kUnauthenticated},
      {403, "Forbidden", StatusCode::kPermissionDenied},
      {404, "NotFound", StatusCode::kNotFound},
      {409, "AlreadyExists", StatusCode::kAlreadyExists},
      {409, "Conflict", StatusCode::kAborted},
      {410, "Expired", StatusCode::kOutOfRange},
      {413, "RequestEntityTooLarge", StatusCode::kInvalidArgument},
      {422, "Invalid", StatusCode::kInvalidArgument},
      {429, "TooManyRequests", StatusCode::kUnavailable},
      {500, "InternalError", StatusCode::kUnavailable},
      {503, "ServiceUnavailable", StatusCode::kUnavailable},
      {504, "Timeout", StatusCode::kDeadlineExceeded},
      {302, "", StatusCode::kUnknown},
  };
  for (const Case& c : cases) {
    const absl::Status status = ApiStatusOf(
        Answer(c.http_status,
               std::string(R"({"kind":"Status","message":"why","reason":")") + c.reason + "\"}"));
    EXPECT_EQ(status.code(), c.code) << c.http_status;
    EXPECT_EQ(ApiErrorOf(status), (ApiError{c.http_status, c.reason})) << c.http_status;
    EXPECT_NE(Message(status).find("why"), std::string::npos);
  }
}

TEST(ApiErrorTest, SurvivesAnnotate) {
  const absl::Status status =
      Annotate(Annotate(ApiStatusOf(Answer(410, R"({"reason":"Expired"})")), "a"), "b");
  EXPECT_TRUE(IsGone(status));
  EXPECT_EQ(Message(status).substr(0, 6), "b: a: ");
}

TEST(ApiErrorTest, RetryAfterFromHeaderOrBody) {
  HttpResponse response = Answer(429, R"({"details":{"retryAfterSeconds":3}})");
  EXPECT_EQ(ApiErrorOf(ApiStatusOf(response))->retry_after, seconds(3));
  response.headers["retry-after"] = "7";
  EXPECT_EQ(ApiErrorOf(ApiStatusOf(response))->retry_after, seconds(7));
  response = Answer(429, "");
  for (const char* text :
       {"", "x", "-1", "1x", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999"}) {
    response.headers["retry-after"] = text;
    EXPECT_EQ(ApiErrorOf(ApiStatusOf(response))->retry_after, std::nullopt) << text;
  }
}

TEST(ApiErrorTest, AnyBodyIsSurvived) {
  for (const std::string& body :
       {std::string(), std::string("404 page not found\n"), std::string("<html>"),
        std::string("{\"reason\":5,\"message\":[],\"details\":\"x\"}"), std::string("[[[["),
        std::string("\xff\xfe"), std::string(1'000'000, '[')}) {
    const absl::Status status = ApiStatusOf(Answer(404, body));
    EXPECT_TRUE(absl::IsNotFound(status));
    EXPECT_EQ(ApiErrorOf(status)->http_status, 404);
    EXPECT_LT(status.message().size(), 300u);
  }
}

TEST(ApiErrorTest, OtherStatusesCarryNone) {
  EXPECT_EQ(ApiErrorOf(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(ApiErrorOf(absl::AbortedError("x")), std::nullopt);
  EXPECT_FALSE(IsConflict(absl::AbortedError("x")));
  EXPECT_FALSE(IsGone(absl::OutOfRangeError("x")));
}

}  // namespace
}  // namespace kube_lvs::kube
