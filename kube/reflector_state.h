// What a reflector does next, as a pure state machine: no clock, no socket, no store.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"

namespace kube_lvs::kube {

// client-go's figures.
inline constexpr Duration kBackoffFirst = std::chrono::milliseconds(800);
inline constexpr Duration kBackoffMost = std::chrono::seconds(30);
inline constexpr Duration kBackoffReset = std::chrono::minutes(2);
inline constexpr std::chrono::seconds kWatchTimeout = std::chrono::minutes(5);  // up to twice that

struct ReflectorStep {
  enum class Do { kList, kWatch } action = Do::kList;
  Duration wait{0};                       // before it
  std::string resource_version = {};      // kWatch
  std::chrono::seconds watch_timeout{0};  // kWatch

  bool operator==(const ReflectorStep&) const = default;
};

class ReflectorState {
 public:
  // What to do now. `random` in [0, 1) makes the jitter.
  ReflectorStep Next(double random) const;

  void Listed(const std::string& resource_version);
  void ListFailed(const absl::Status& error, TimePoint now);

  void ListAnew() { version_.clear(); }

  // An event or a bookmark came.
  void Advanced(const std::string& resource_version) { version_ = resource_version; }

  // The watch lasted from `began` to `now`. OK: the server ended it, as it does all the time. Only
  // what says that our version is unusable leads to a new list; a connection that broke, or an API
  // server that is not well, leads to a watch from the same version. So does an answer that makes
  // no sense (kDataLoss), but when the next one from there makes none either, a list leads past it.
  void WatchEnded(const absl::Status& error, TimePoint began, TimePoint now);

 private:
  void Fail(const absl::Status& error, TimePoint now, bool at_once_if_first);

  std::string version_;          // empty: a list is needed
  std::string senseless_after_;  // what the last watch sent after this version made no sense
  int failures_ = 0;             // in a row, without two quiet minutes between them
  Duration backoff_{0};          // before the next step, without jitter
  Duration at_least_{0};         // what Retry-After asked for
  std::optional<TimePoint> failed_at_;
};

}  // namespace kube_lvs::kube
