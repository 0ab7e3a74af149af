#include "kube/reflector_state.h"

#include <gtest/gtest.h>

#include <vector>

#include "kube/api_error.h"

namespace kube_lvs::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Do = ReflectorStep::Do;

constexpr TimePoint kStart{std::chrono::hours(1)};

absl::Status Api(int http_status, const std::string& reason = "",
                 std::optional<seconds> retry_after = {}) {
  return MakeApiStatus({http_status, reason, retry_after}, "x");
}

ReflectorStep List(Duration wait) { return {.action = Do::kList, .wait = wait}; }
ReflectorStep Watch(const std::string& version, Duration wait) {
  return {Do::kWatch, wait, version, kWatchTimeout};
}

TEST(ReflectorStateTest, BeginsWithAListAtOnceAndWatchesFromItsVersion) {
  ReflectorState state;
  EXPECT_EQ(state.Next(0), List(Duration(0)));
  state.Listed("7");
  EXPECT_EQ(state.Next(0), Watch("7", Duration(0)));
}

TEST(ReflectorStateTest, WatchTimeoutIsFiveToTenMinutes) {
  ReflectorState state;
  state.Listed("7");
  EXPECT_EQ(state.Next(0).watch_timeout, minutes(5));
  EXPECT_EQ(state.Next(0.5).watch_timeout, seconds(450));
}

TEST(ReflectorStateTest, WatchThatTheServerEndsGoesOnFromTheLastVersionAtOnce) {
  ReflectorState state;
  state.Listed("7");
  state.Advanced("9");
  state.WatchEnded(absl::OkStatus(), kStart, kStart + minutes(5));
  EXPECT_EQ(state.Next(0), Watch("9", Duration(0)));
}

TEST(ReflectorStateTest, NonsenseTwiceAfterOneVersionLeadsToAList) {
  ReflectorState state;
  state.Listed("7");
  const absl::Status nonsense = absl::DataLossError("not JSON");
  state.WatchEnded(nonsense, kStart, kStart);
  EXPECT_EQ(state.Next(0), Watch("7", milliseconds(800)));
  state.Advanced("8");  // it got further
  state.WatchEnded(nonsense, kStart, kStart + seconds(1));
  EXPECT_EQ(state.Next(0), Watch("8", milliseconds(1600)));
  state.WatchEnded(nonsense, kStart, kStart + seconds(2));
  EXPECT_EQ(state.Next(0), List(milliseconds(3200)));
  // The list was no way around it: the same again, ever more seldom.
  state.Listed("8");
  state.WatchEnded(nonsense, kStart, kStart + seconds(3));
  EXPECT_EQ(state.Next(0), Watch("8", milliseconds(6400)));
  state.WatchEnded(nonsense, kStart, kStart + seconds(4));
  EXPECT_EQ(state.Next(0), List(milliseconds(12800)));
}

// What follows the first failed watch, by its error.
TEST(ReflectorStateTest, ErrorsOfAWatch) {
  struct Case {
    absl::Status error;
    Duration lasted;
    ReflectorStep next;
  };
  const Duration first = milliseconds(800);
  const std::vector<Case> cases = {
      {absl::UnavailableError("reset"), seconds(9), Watch("7", first)},
      {absl::DataLossError("garbled"), seconds(9), Watch("7", first)},
      {absl::DeadlineExceededError("quiet"), seconds(75), Watch("7", Duration(0))},
      {absl::DeadlineExceededError("no headers"), seconds(30), Watch("7", first)},
      {absl::OkStatus(), milliseconds(10), Watch("7", first)},
      {Api(410, "Expired"), seconds(9), List(Duration(0))},
      {Api(410, "Gone"), milliseconds(10), List(Duration(0))},
      {Api(504, "Timeout"), seconds(3), List(first)},
      {Api(404), seconds(9), List(first)},
      {Api(400, "BadRequest"), seconds(9), List(first)},
      {Api(401), seconds(9), Watch("7", first)},
      {Api(403), seconds(9), Watch("7", first)},
      {Api(500), seconds(9), Watch("7", first)},
      {Api(503), seconds(9), Watch("7", first)},
      {Api(429, "TooManyRequests"), seconds(9), Watch("7", first)},
      {Api(429, "TooManyRequests", seconds(5)), seconds(9), Watch("7", seconds(5))},
      {Api(503, "", seconds(100'000)), seconds(9), Watch("7", minutes(2))},
  };
  for (const Case& c : cases) {
    ReflectorState state;
    state.Listed("7");
    state.WatchEnded(c.error, kStart, kStart + c.lasted);
    EXPECT_EQ(state.Next(0), c.next) << c.error;
  }
}

TEST(ReflectorStateTest, BackoffDoublesToThirtySecondsWithJitter) {
  ReflectorState state;
  TimePoint now = kStart;
  for (const auto& wait : {800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}) {
    state.ListFailed(absl::UnavailableError("down"), now);
    EXPECT_EQ(state.Next(0), List(milliseconds(wait)));
    EXPECT_EQ(state.Next(0.5).wait, milliseconds(wait) * 3 / 2);
    now += milliseconds(wait);
  }
}

TEST(ReflectorStateTest, BackoffStartsAnewAfterTwoHealthyMinutes) {
  ReflectorState state;
  state.ListFailed(absl::UnavailableError("down"), kStart);
  state.ListFailed(absl::UnavailableError("down"), kStart + seconds(1));
  state.Listed("7");
  EXPECT_EQ(state.Next(0).wait, Duration(0));
  state.WatchEnded(absl::UnavailableError("reset"), kStart, kStart + seconds(60));
  EXPECT_EQ(state.Next(0).wait, milliseconds(3200));  // too soon: it goes on doubling
  state.WatchEnded(absl::UnavailableError("reset"), kStart, kStart + seconds(60) + minutes(2));
  EXPECT_EQ(state.Next(0).wait, milliseconds(800));
}

TEST(ReflectorStateTest, RepeatedExpiryDoesNotListWithoutPause) {
  ReflectorState state;
  state.Listed("7");
  state.WatchEnded(Api(410), kStart, kStart + seconds(1));
  EXPECT_EQ(state.Next(0), List(Duration(0)));
  state.Listed("8");
  state.WatchEnded(Api(410), kStart, kStart + seconds(2));
  EXPECT_EQ(state.Next(0), List(milliseconds(1600)));
}

TEST(ReflectorStateTest, FailedListNeverWatches) {
  ReflectorState state;
  state.Listed("7");
  state.WatchEnded(Api(410), kStart, kStart + seconds(1));
  state.ListFailed(Api(403), kStart + seconds(2));
  EXPECT_EQ(state.Next(0).action, Do::kList);
}

}  // namespace
}  // namespace kube_lvs::kube
