// Events: what `kubectl describe` shows below an object. Best effort: they may be dropped, they
// never hold anybody up.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"

namespace kube_lvs::kube {

enum class EventType { kNormal, kWarning };

struct EventTarget {
  std::string api_version = {};  // Resource::ApiVersion()
  std::string kind = {};
  ObjectName object = {};
  std::string uid = {};

  auto operator<=>(const EventTarget&) const = default;
  bool operator==(const EventTarget&) const = default;
};

struct Event {
  EventTarget about = {};
  EventType type = EventType::kNormal;
  std::string reason = {};   // CamelCase, a constant: "PoolExhausted"
  std::string message = {};  // a sentence; cut at 1024 bytes

  auto operator<=>(const Event&) const = default;
  bool operator==(const Event&) const = default;
};

// What to do with an event: pure, so that dedup and limits are tested without time. Equal events
// within 10 minutes become one object with a count; of one target at most 25 at once and one every
// 5 minutes after that are written. Remembers at most 4096 events and targets, the oldest go first.
class EventFilter {
 public:
  struct Decision {
    enum class Do { kCreate, kCount, kDrop } action = Do::kDrop;
    std::string name = {};  // of the Event object to create or to patch
    int64_t count = 1;      // how often it was seen by now
    bool operator==(const Decision&) const = default;
  };
  // `serial` makes the name of a new one unique.
  Decision Decide(const Event& event, TimePoint now, uint64_t serial);
  void Forget(const Event& event);  // the next equal one is created anew

 private:
  struct Seen {
    std::string name = {};
    int64_t count = 0;
    TimePoint last{};
  };
  struct Bucket {
    double tokens = 25;
    TimePoint at{};
  };
  std::map<Event, Seen> seen_;
  std::map<EventTarget, Bucket> buckets_;
};

class EventRecorder {
 public:
  // `component` ("kube-lvs-operator") and `instance` (the pod or node) say who reports. All
  // references must outlive the recorder.
  EventRecorder(const Client& client, std::string component, std::string instance,
                const Clock& clock, Logger& log);

  // Thread-safe, does not block; drops the event when 1000 wait already. Events about objects of
  // the cluster go to namespace "default".
  void Record(Event event);

  // Writes what was recorded until `stop`; then OK. A write that fails is logged and dropped.
  absl::Status Run(std::stop_token stop);

 private:
  void Write(const Event& event, std::stop_token stop);

  const Client& client_;
  const std::string component_;
  const std::string instance_;
  const Clock& clock_;
  Logger& log_;
  EventFilter filter_;   // only used by Run
  uint64_t serial_ = 0;  // only used by Run

  std::mutex mu_;
  std::condition_variable_any changed_;
  std::deque<Event> waiting_;  // guarded by mu_
};

}  // namespace kube_lvs::kube
