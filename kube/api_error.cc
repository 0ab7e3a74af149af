#include "kube/api_error.h"

#include <absl/strings/cord.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "kube/json.h"

namespace kube_lvs::kube {
namespace {

constexpr char kPayload[] = "kube-lvs.io/api-error";

absl::StatusCode CodeOf(const ApiError& error) {
  switch (error.http_status) {
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return error.reason == "AlreadyExists" ? absl::StatusCode::kAlreadyExists
                                             : absl::StatusCode::kAborted;
    case 410:
      return absl::StatusCode::kOutOfRange;
    case 408:
    case 504:
      return absl::StatusCode::kDeadlineExceeded;
    case 429:
      return absl::StatusCode::kUnavailable;
    default:
      return error.http_status >= 500 ? absl::StatusCode::kUnavailable : absl::StatusCode::kUnknown;
  }
}

// Retry-After as seconds; the form with a date is not used by API servers and is ignored.
std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view text) {
  uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return std::chrono::seconds(seconds);
}

bool HasStatus(const absl::Status& status, int http_status) {
  const std::optional<ApiError> error = ApiErrorOf(status);
  return error.has_value() && error->http_status == http_status;
}

}  // namespace

absl::Status MakeApiStatus(const ApiError& error, const std::string& message) {
  absl::Status status(CodeOf(error), message);
  nlohmann::json payload = {{"status", error.http_status}, {"reason", error.reason}};
  if (error.retry_after) payload["retryAfter"] = error.retry_after->count();
  status.SetPayload(kPayload, absl::Cord(DumpJson(payload)));
  return status;
}

absl::Status ApiStatusOf(const HttpResponse& response) {
  ApiError error{.http_status = response.status};
  std::string message;
  // A proxy before the API server may answer with anything: then the HTTP status says it all.
  if (const auto body = ParseJson(response.body); body.ok()) {
    error.reason = JsonString(*body, {"reason"}).value_or("");
    message = JsonString(*body, {"message"}).value_or("");
    const int64_t seconds = JsonInt(*body, {"details", "retryAfterSeconds"}).value_or(0);
    if (seconds > 0) error.retry_after = std::chrono::seconds(seconds);
  }
  if (const auto header = response.headers.find("retry-after"); header != response.headers.end()) {
    if (const auto seconds = ParseRetryAfter(header->second)) error.retry_after = seconds;
  }
  if (message.empty()) {
    constexpr size_t kMost = 200;
    message = response.body.substr(0, kMost);
  }
  std::string text = "HTTP " + std::to_string(response.status);
  if (!error.reason.empty()) text += " " + error.reason;
  if (!message.empty()) text += ": " + message;
  return MakeApiStatus(error, text);
}

std::optional<ApiError> ApiErrorOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload) return std::nullopt;
  const auto value = ParseJson(std::string(*payload));
  if (!value.ok()) return std::nullopt;
  ApiError error;
  error.http_status = static_cast<int>(JsonInt(*value, {"status"}).value_or(0));
  error.reason = JsonString(*value, {"reason"}).value_or("");
  if (FindJson(*value, {"retryAfter"}) != nullptr) {
    error.retry_after = std::chrono::seconds(JsonInt(*value, {"retryAfter"}).value_or(0));
  }
  return error;
}

bool IsConflict(const absl::Status& status) {
  return HasStatus(status, 409) && !absl::IsAlreadyExists(status);
}
bool IsGone(const absl::Status& status) { return HasStatus(status, 410); }
bool IsUnauthorized(const absl::Status& status) { return HasStatus(status, 401); }
bool IsForbidden(const absl::Status& status) { return HasStatus(status, 403); }
bool IsInvalid(const absl::Status& status) {
  return HasStatus(status, 400) || HasStatus(status, 422);
}
bool IsTooManyRequests(const absl::Status& status) { return HasStatus(status, 429); }

}  // namespace kube_lvs::kube
