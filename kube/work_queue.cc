#include "kube/work_queue.h"

#include <algorithm>

namespace kube_lvs::kube {

Duration BackoffAfter(int failures, const QueueBackoff& backoff) {
  Duration delay = backoff.first;
  for (int i = 0; i < failures && delay < backoff.most; ++i) delay *= 2;
  return std::min(delay, backoff.most);
}

void QueueState::Add(const std::string& key) {
  if (!dirty_.insert(key).second) return;
  if (!processing_.contains(key)) queue_.push_back(key);
}

void QueueState::AddAfter(const std::string& key, Duration delay, TimePoint now) {
  if (delay <= Duration::zero()) {
    Add(key);
    return;
  }
  const TimePoint ready = now + delay;
  const auto [it, fresh] = ready_at_.try_emplace(key, ready);
  if (!fresh) {
    if (it->second <= ready) return;
    by_time_.erase({it->second, key});
    it->second = ready;
  }
  by_time_.insert({ready, key});
}

void QueueState::AddRateLimited(const std::string& key, TimePoint now) {
  AddAfter(key, BackoffAfter(failures_[key]++, backoff_), now);
}

void QueueState::Forget(const std::string& key) { failures_.erase(key); }

std::optional<std::string> QueueState::Take(TimePoint now) {
  MoveReady(now);
  if (queue_.empty()) return std::nullopt;
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  dirty_.erase(key);
  processing_.insert(key);
  return key;
}

std::optional<TimePoint> QueueState::NextReady() const {
  if (by_time_.empty()) return std::nullopt;
  return by_time_.begin()->first;
}

void QueueState::Done(const std::string& key) {
  if (processing_.erase(key) > 0 && dirty_.contains(key)) queue_.push_back(key);
}

int QueueState::Failures(const std::string& key) const {
  const auto it = failures_.find(key);
  return it == failures_.end() ? 0 : it->second;
}

void QueueState::MoveReady(TimePoint now) {
  while (!by_time_.empty() && by_time_.begin()->first <= now) {
    const std::string key = by_time_.begin()->second;
    by_time_.erase(by_time_.begin());
    ready_at_.erase(key);
    Add(key);
  }
}

void WorkQueue::Add(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (stopped_) return;
  state_.Add(key);
  changed_.notify_one();
}

void WorkQueue::AddAfter(const std::string& key, Duration delay) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (stopped_) return;
  state_.AddAfter(key, delay, clock_.Now());
  changed_.notify_one();
}

void WorkQueue::AddRateLimited(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (stopped_) return;
  state_.AddRateLimited(key, clock_.Now());
  changed_.notify_one();
}

void WorkQueue::Forget(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mu_);
  state_.Forget(key);
}

std::optional<std::string> WorkQueue::Get(std::stop_token stop) {
  std::unique_lock<std::mutex> lock(mu_);
  while (!stopped_ && !stop.stop_requested()) {
    const TimePoint now = clock_.Now();
    if (auto key = state_.Take(now)) return key;
    // Any notification ends the wait, a spurious one too: the loop looks again.
    bool woken = false;
    const auto once = [&woken] { return std::exchange(woken, true); };
    if (const auto ready = state_.NextReady()) {
      changed_.wait_for(lock, stop, *ready - now, once);
    } else {
      changed_.wait(lock, stop, once);
    }
  }
  return std::nullopt;
}

std::optional<std::string> WorkQueue::TryGet() {
  const std::lock_guard<std::mutex> lock(mu_);
  if (stopped_) return std::nullopt;
  return state_.Take(clock_.Now());
}

void WorkQueue::Done(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (stopped_) return;
  state_.Done(key);
  changed_.notify_one();
}

void WorkQueue::Stop() {
  const std::lock_guard<std::mutex> lock(mu_);
  stopped_ = true;
  changed_.notify_all();
}

size_t WorkQueue::Length() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return state_.Length();
}

int WorkQueue::Failures(const std::string& key) const {
  const std::lock_guard<std::mutex> lock(mu_);
  return state_.Failures(key);
}

}  // namespace kube_lvs::kube
