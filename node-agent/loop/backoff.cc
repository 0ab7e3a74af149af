#include "node-agent/loop/backoff.h"

#include <algorithm>

namespace kube_lvs {

Subject SubjectOf(const Step& step) {
  if (const ServiceKey* key = KeyOf(step)) return *key;
  if (const auto* add = std::get_if<AddItem>(&step)) return add->item;
  return std::get<RemoveItem>(step).item;
}

void Backoff::Failed(const Subject& subject, const absl::Status& why, TimePoint now) {
  Failure& failure = waiting_[subject];
  failure.why = why;
  const Duration delay = failure.times < 16 ? kFirst * (1 << failure.times) : kMost;
  failure.retry_at = now + std::min(delay, kMost);
  ++failure.times;
}

void Backoff::KeepOnly(const std::set<Subject>& subjects) {
  std::erase_if(waiting_, [&](const auto& entry) { return !subjects.contains(entry.first); });
}

bool Backoff::Waits(const Subject& subject, TimePoint now) const {
  const auto it = waiting_.find(subject);
  return it != waiting_.end() && now < it->second.retry_at;
}

std::optional<TimePoint> Backoff::Next() const {
  std::optional<TimePoint> next;
  for (const auto& [subject, failure] : waiting_) {
    if (!next.has_value() || failure.retry_at < *next) next = failure.retry_at;
  }
  return next;
}

}  // namespace kube_lvs
