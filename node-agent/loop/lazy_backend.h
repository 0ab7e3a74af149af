// Wrappers around a Backend.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/model/backend.h"

namespace kube_lvs {

// Opened only when there is something of ours to read, or something to add: a node that never
// needs it pays nothing for it. Opening is tried again by the next call that needs it.
class LazyBackend final : public Backend {
 public:
  using Open = std::function<absl::StatusOr<std::unique_ptr<Backend>>()>;

  // `takes` as the opened one's; `exists`: whether an earlier process left something there.
  LazyBackend(std::string name, std::function<bool(const Step&)> takes,
              std::function<bool()> exists, Open open)
      : name_(std::move(name)),
        takes_(std::move(takes)),
        exists_(std::move(exists)),
        open_(std::move(open)) {}

  std::string Name() const override { return name_; }
  bool Takes(const Step& step) const override { return takes_(step); }
  absl::StatusOr<State> Read() override {
    if (backend_ == nullptr && !exists_()) return State{};
    if (absl::Status status = Opened(); !status.ok()) return status;
    return backend_->Read();
  }
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) override {
    if (backend_ == nullptr && !exists_()) return ServiceReading{};
    if (absl::Status status = Opened(); !status.ok()) return status;
    return backend_->ReadServices(keys);
  }
  std::vector<absl::Status> Apply(std::span<const Step> steps) override {
    if (absl::Status status = Opened(); !status.ok()) {
      return std::vector<absl::Status>(steps.size(), status);
    }
    return backend_->Apply(steps);
  }
  // Does not open it.
  absl::StatusOr<Stats> ReadStats() override {
    return backend_ == nullptr ? Stats{} : backend_->ReadStats();
  }
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable& expected) override {
    if (backend_ == nullptr)
      return absl::UnimplementedError("not open: a reading says that it is empty");
    return backend_->Suspects(expected);
  }
  absl::Status ForgetAllBut(const ServiceTable& desired) override {
    return backend_ == nullptr ? absl::OkStatus() : backend_->ForgetAllBut(desired);
  }

  // Why it could not be opened when that was last tried.
  const absl::Status& open_status() const { return open_status_; }

 private:
  absl::Status Opened() {
    if (backend_ != nullptr) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<Backend>> opened = open_();
    open_status_ = opened.status();
    if (opened.ok()) backend_ = *std::move(opened);
    return open_status_;
  }

  const std::string name_;
  const std::function<bool(const Step&)> takes_;
  const std::function<bool()> exists_;
  const Open open_;
  std::unique_ptr<Backend> backend_;
  absl::Status open_status_;
};

// One call at a time, from any thread: the loop's and the scrapes'.
class LockedBackend final : public Backend {
 public:
  // `mutex` may be shared with others who use what is behind the backend. Both must outlive it.
  LockedBackend(Backend& backend, std::mutex& mutex) : backend_(backend), mutex_(mutex) {}

  std::string Name() const override { return backend_.Name(); }
  bool Takes(const Step& step) const override { return backend_.Takes(step); }
  absl::StatusOr<State> Read() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return backend_.Read();
  }
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return backend_.ReadServices(keys);
  }
  std::vector<absl::Status> Apply(std::span<const Step> steps) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return backend_.Apply(steps);
  }
  absl::StatusOr<Stats> ReadStats() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return backend_.ReadStats();
  }
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable& expected) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return backend_.Suspects(expected);
  }
  absl::Status ForgetAllBut(const ServiceTable& desired) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return backend_.ForgetAllBut(desired);
  }

 private:
  Backend& backend_;
  std::mutex& mutex_;
};

}  // namespace kube_lvs
