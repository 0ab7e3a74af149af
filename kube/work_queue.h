// A queue of keys that need work, as client-go's: fair (in order), stingy (a key that is added
// twice before it is worked on is worked on once, and never by two workers at a time), with delays
// and a back-off per key.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "base/clock.h"

namespace kube_lvs::kube {

struct QueueBackoff {
  Duration first = std::chrono::milliseconds(5);
  Duration most = std::chrono::seconds(1000);
};

// first * 2^failures, at most `most`.
Duration BackoffAfter(int failures, const QueueBackoff& backoff);

// The queue's rules without a lock, a clock or a wait.
class QueueState {
 public:
  explicit QueueState(QueueBackoff backoff = {}) : backoff_(backoff) {}

  void Add(const std::string& key);
  // Ready at now + delay; the earlier one of two such adds counts.
  void AddAfter(const std::string& key, Duration delay, TimePoint now);
  // AddAfter the key's back-off, which doubles with each call until Forget.
  void AddRateLimited(const std::string& key, TimePoint now);
  void Forget(const std::string& key);

  // The next key to work on, which is then in processing until Done.
  std::optional<std::string> Take(TimePoint now);
  // When a delayed key becomes ready, if nothing is ready at `now`.
  std::optional<TimePoint> NextReady() const;
  // Ends the work on `key`; if it was added meanwhile, it is queued again.
  void Done(const std::string& key);

  size_t Length() const { return queue_.size(); }  // ready to be taken, without the delayed ones
  size_t Delayed() const { return ready_at_.size(); }
  int Failures(const std::string& key) const;

 private:
  void MoveReady(TimePoint now);

  const QueueBackoff backoff_;
  std::deque<std::string> queue_;     // in order; all of them are in dirty_, none in processing_
  std::set<std::string> dirty_;       // all keys that need work
  std::set<std::string> processing_;  // being worked on; may be in dirty_ too: then queued at Done
  std::map<std::string, TimePoint> ready_at_;            // delayed keys
  std::set<std::pair<TimePoint, std::string>> by_time_;  // the same, in order
  std::map<std::string, int> failures_;
};

// QueueState for threads.
class WorkQueue {
 public:
  // `clock` must outlive the queue. With a FakeClock use TryGet: Get waits in real time.
  explicit WorkQueue(const Clock& clock, QueueBackoff backoff = {})
      : clock_(clock), state_(backoff) {}

  void Add(const std::string& key);
  void AddAfter(const std::string& key, Duration delay);
  void AddRateLimited(const std::string& key);
  void Forget(const std::string& key);

  // Waits for a key; nullopt when `stop` is triggered or after Stop(). Call Done when the work on
  // it has ended, whatever its outcome.
  std::optional<std::string> Get(std::stop_token stop);
  std::optional<std::string> TryGet();  // does not wait
  void Done(const std::string& key);

  // Wakes all waiters; what is queued is dropped, later adds are ignored.
  void Stop();

  size_t Length() const;
  int Failures(const std::string& key) const;

 private:
  const Clock& clock_;
  mutable std::mutex mu_;
  std::condition_variable_any changed_;
  QueueState state_;      // guarded by mu_
  bool stopped_ = false;  // guarded by mu_
};

}  // namespace kube_lvs::kube
