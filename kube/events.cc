#include "kube/events.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "kube/json.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

constexpr auto kSame = std::chrono::minutes(10);
constexpr double kBurst = 25;
constexpr auto kRefill = std::chrono::minutes(5);
constexpr size_t kRemembered = 4096;
constexpr size_t kWaiting = 1000;
constexpr size_t kMaxMessage = 1024;  // the API server's limit
constexpr size_t kMaxReason = 128;

// Cuts at `most` bytes without leaving a part of a UTF-8 character.
std::string Cut(std::string text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text.resize(most);
  return text;
}

std::string Seconds(std::chrono::system_clock::time_point when) {
  const std::time_t whole = std::chrono::system_clock::to_time_t(when);
  std::tm utc{};
  gmtime_r(&whole, &utc);
  char out[40];
  std::strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return out;
}

// Makes room in `map` by taking out what was used longest ago.
template <typename Map, typename UsedAt>
void MakeRoom(Map& map, const UsedAt& used_at) {
  if (map.size() < kRemembered) return;
  auto oldest = map.begin();
  for (auto it = map.begin(); it != map.end(); ++it) {
    if (used_at(it->second) < used_at(oldest->second)) oldest = it;
  }
  map.erase(oldest);
}

}  // namespace

EventFilter::Decision EventFilter::Decide(const Event& event, TimePoint now, uint64_t serial) {
  auto bucket = buckets_.find(event.about);
  if (bucket == buckets_.end()) {
    MakeRoom(buckets_, [](const Bucket& b) { return b.at; });
    bucket = buckets_.emplace(event.about, Bucket{kBurst, now}).first;
  }
  const std::chrono::duration<double> since = now - bucket->second.at;
  bucket->second.tokens =
      std::min(kBurst, bucket->second.tokens + since / std::chrono::duration<double>(kRefill));
  bucket->second.at = now;
  const bool may_write = bucket->second.tokens >= 1;
  if (may_write) bucket->second.tokens -= 1;

  Decision decision;
  auto seen = seen_.find(event);
  if (seen != seen_.end() && now - seen->second.last < kSame) {
    seen->second.last = now;
    decision.count = ++seen->second.count;
    decision.name = seen->second.name;
    decision.action = may_write ? Decision::Do::kCount : Decision::Do::kDrop;
    return decision;
  }
  if (!may_write) return decision;
  if (seen == seen_.end()) {
    MakeRoom(seen_, [](const Seen& s) { return s.last; });
    seen = seen_.emplace(event, Seen{}).first;
  }
  char suffix[24];
  std::snprintf(suffix, sizeof(suffix), ".%016llx", static_cast<unsigned long long>(serial));
  constexpr size_t kMaxName = 200;
  seen->second = {event.about.object.name.substr(0, kMaxName) + suffix, 1, now};
  decision.action = Decision::Do::kCreate;
  decision.name = seen->second.name;
  return decision;
}

void EventFilter::Forget(const Event& event) { seen_.erase(event); }

EventRecorder::EventRecorder(const Client& client, std::string component, std::string instance,
                             const Clock& clock, Logger& log)
    : client_(client),
      component_(std::move(component)),
      instance_(std::move(instance)),
      clock_(clock),
      log_(log),
      serial_(static_cast<uint64_t>(clock.Wall().time_since_epoch().count())) {}

void EventRecorder::Record(Event event) {
  event.message = Cut(std::move(event.message), kMaxMessage);
  event.reason = Cut(std::move(event.reason), kMaxReason);
  const std::lock_guard<std::mutex> lock(mu_);
  if (waiting_.size() >= kWaiting) return;
  waiting_.push_back(std::move(event));
  changed_.notify_one();
}

absl::Status EventRecorder::Run(std::stop_token stop) {
  while (true) {
    Event event;
    {
      std::unique_lock<std::mutex> lock(mu_);
      changed_.wait(lock, stop, [this] { return !waiting_.empty(); });
      if (stop.stop_requested()) return absl::OkStatus();
      event = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Write(event, stop);
  }
}

void EventRecorder::Write(const Event& event, std::stop_token stop) {
  const std::string ns = event.about.object.ns.empty() ? "default" : event.about.object.ns;
  const std::string now = Seconds(clock_.Wall());
  const EventFilter::Decision decision = filter_.Decide(event, clock_.Now(), ++serial_);
  absl::Status written;
  switch (decision.action) {
    case EventFilter::Decision::Do::kDrop:
      return;
    case EventFilter::Decision::Do::kCount:
      written = client_
                    .Patch(kEvents, {ns, decision.name}, PatchType::kMerge,
                           {{"count", decision.count}, {"lastTimestamp", now}}, {}, stop)
                    .status();
      if (absl::IsNotFound(written)) {  // events live for an hour: make a new one next time
        filter_.Forget(event);
        return;
      }
      break;
    case EventFilter::Decision::Do::kCreate: {
      json involved = {{"apiVersion", event.about.api_version},
                       {"kind", event.about.kind},
                       {"name", event.about.object.name},
                       {"uid", event.about.uid}};
      if (!event.about.object.ns.empty()) involved["namespace"] = event.about.object.ns;
      const json body = {{"apiVersion", "v1"},
                         {"kind", "Event"},
                         {"metadata", {{"name", decision.name}, {"namespace", ns}}},
                         {"involvedObject", involved},
                         {"type", event.type == EventType::kWarning ? "Warning" : "Normal"},
                         {"reason", event.reason},
                         {"message", event.message},
                         {"source", {{"component", component_}, {"host", instance_}}},
                         {"reportingComponent", component_},
                         {"reportingInstance", instance_},
                         {"firstTimestamp", now},
                         {"lastTimestamp", now},
                         {"count", 1}};
      written = client_.Create(kEvents, ns, body, {}, stop).status();
      if (!written.ok()) filter_.Forget(event);
      break;
    }
  }
  if (!written.ok() && !stop.stop_requested()) {
    log_.Log(Level::kWarn, "event not written",
             {{"about", event.about.object.Key()},
              {"reason", event.reason},
              {"error", Message(written)}});
  }
}

}  // namespace kube_lvs::kube
