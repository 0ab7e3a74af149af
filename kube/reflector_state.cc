#include "kube/reflector_state.h"

#include <algorithm>

#include "kube/api_error.h"

namespace kube_lvs::kube {
namespace {

// A watch that ends sooner than this was not worth its request.
constexpr Duration kShortWatch = std::chrono::seconds(1);
// A quiet watch that lasted this long shows only that the server sends no bookmarks.
constexpr Duration kLongWatch = std::chrono::seconds(60);
constexpr Duration kMostRetryAfter = std::chrono::minutes(2);

// Whether the API server refused the watch because of what it asked for. Of its own trouble (5xx,
// 429) and of our rights (401, 403) nothing follows for the version.
bool NeedsList(const absl::Status& error) {
  const std::optional<ApiError> api = ApiErrorOf(error);
  if (!api) return false;
  switch (api->http_status) {
    case 401:
    case 403:
    case 429:
      return false;
    case 504:
      return true;  // "Too large resource version": the server was restored from a backup
    default:
      return api->http_status < 500;
  }
}

}  // namespace

ReflectorStep ReflectorState::Next(double random) const {
  ReflectorStep step;
  const auto jittered = std::chrono::duration_cast<Duration>(backoff_ * (1.0 + random));
  step.wait = std::max(jittered, at_least_);
  if (version_.empty()) return step;
  step.action = ReflectorStep::Do::kWatch;
  step.resource_version = version_;
  step.watch_timeout =
      std::chrono::duration_cast<std::chrono::seconds>(kWatchTimeout * (1.0 + random));
  return step;
}

void ReflectorState::Listed(const std::string& resource_version) {
  version_ = resource_version;
  backoff_ = Duration::zero();
  at_least_ = Duration::zero();
}

void ReflectorState::ListFailed(const absl::Status& error, TimePoint now) {
  version_.clear();
  Fail(error, now, /*at_once_if_first=*/false);
}

void ReflectorState::WatchEnded(const absl::Status& error, TimePoint began, TimePoint now) {
  const Duration lasted = now - began;
  const bool quiet = absl::IsDeadlineExceeded(error) && !ApiErrorOf(error) && lasted >= kLongWatch;
  if ((error.ok() && lasted >= kShortWatch) || quiet) {
    backoff_ = Duration::zero();
    at_least_ = Duration::zero();
    return;
  }
  if (absl::IsDataLoss(error) && senseless_after_ == version_) version_.clear();
  senseless_after_ = absl::IsDataLoss(error) ? version_ : "";
  if (NeedsList(error)) version_.clear();
  Fail(error, now, /*at_once_if_first=*/IsGone(error));
}

void ReflectorState::Fail(const absl::Status& error, TimePoint now, bool at_once_if_first) {
  if (failed_at_ && now - *failed_at_ >= kBackoffReset) failures_ = 0;
  failed_at_ = now;
  const bool first = failures_ == 0;
  backoff_ = kBackoffFirst;
  for (int i = 0; i < failures_ && backoff_ < kBackoffMost; ++i) backoff_ *= 2;
  backoff_ = std::min(backoff_, kBackoffMost);
  if (first && at_once_if_first) backoff_ = Duration::zero();
  ++failures_;
  at_least_ = Duration::zero();
  if (const auto api = ApiErrorOf(error); api && api->retry_after) {
    at_least_ = std::min<Duration>(*api->retry_after, kMostRetryAfter);
  }
}

}  // namespace kube_lvs::kube
