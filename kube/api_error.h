// What an API server answered when it did not do what was asked: an absl::Status that also carries
// the HTTP status, the reason and Retry-After.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "kube/http.h"

namespace kube_lvs::kube {

struct ApiError {
  int http_status = 0;
  std::string reason = {};  // metav1.StatusReason: "NotFound", "Conflict", "Expired"; may be empty
  std::optional<std::chrono::seconds> retry_after = {};

  bool operator==(const ApiError&) const = default;
};

// The codes:
//   400, 405, 406, 413, 415, 422  kInvalidArgument     401  kUnauthenticated
//   403                           kPermissionDenied    404  kNotFound
//   409 AlreadyExists             kAlreadyExists       409 otherwise  kAborted
//   410                           kOutOfRange          429, 5xx       kUnavailable
//   504, 408                      kDeadlineExceeded    anything else  kUnknown
absl::Status MakeApiStatus(const ApiError& error, const std::string& message);

// From an answer that is not 2xx, with or without a metav1.Status as its body.
absl::Status ApiStatusOf(const HttpResponse& response);

// What a status carries; nullopt if it does not come from an API server's answer. Annotate() keeps
// it.
std::optional<ApiError> ApiErrorOf(const absl::Status& status);

// The HTTP status behind it. For 404 and "already exists" there are absl::IsNotFound and
// absl::IsAlreadyExists.
bool IsConflict(const absl::Status& status);  // 409, other than AlreadyExists
bool IsGone(const absl::Status& status);      // 410: Gone or Expired
bool IsUnauthorized(const absl::Status& status);
bool IsForbidden(const absl::Status& status);
bool IsInvalid(const absl::Status& status);  // 400 or 422
bool IsTooManyRequests(const absl::Status& status);

}  // namespace kube_lvs::kube
