// Stable small numbers for services and real servers. Connections and counters refer to an object
// by its id, so an id must not change while they live: a removed object's id rests until nothing
// refers to it, and the same object gets it back if it returns before. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kube_lvs::ebpf {

// Key: what an id stands for; ordered. Ids are 1 .. capacity - 1; 0 is never valid.
template <typename Key>
class IdAllocator {
 public:
  // `what` names the objects in messages: "real servers".
  IdAllocator(std::string what, uint32_t capacity) : what_(std::move(what)), capacity_(capacity) {}

  // Takes over an id that was found in use, or resting when `live` is false. kDataLoss: the id is
  // out of range or taken, or the key has one.
  absl::Status Adopt(const Key& key, uint32_t id, bool live) {
    if (id == 0 || id >= capacity_ || used_.contains(id) || ids_.contains(key)) {
      return absl::DataLossError("id " + std::to_string(id) + " of " + what_ +
                                 " is out of range or used twice");
    }
    used_.insert(id);
    ids_.emplace(key, Entry{id, live});
    return absl::OkStatus();
  }

  // The id of `key`: the one it has or had, or else the lowest that is free. kResourceExhausted:
  // all are taken.
  absl::StatusOr<uint32_t> Acquire(const Key& key) {
    if (const auto known = ids_.find(key); known != ids_.end()) {
      known->second.live = true;
      return known->second.id;
    }
    while (used_.contains(next_)) ++next_;
    if (next_ >= capacity_) {
      return absl::ResourceExhaustedError("the table of " + what_ + " is full: all " +
                                          std::to_string(capacity_ == 0 ? 0 : capacity_ - 1) +
                                          " ids are taken");
    }
    used_.insert(next_);
    ids_.emplace(key, Entry{next_, true});
    return next_++;
  }

  // 0 when `key` has no id, or only a resting one.
  uint32_t Find(const Key& key) const {
    const auto known = ids_.find(key);
    return known == ids_.end() || !known->second.live ? 0 : known->second.id;
  }

  // The object is gone, its id rests.
  void Retire(const Key& key) {
    if (const auto known = ids_.find(key); known != ids_.end()) known->second.live = false;
  }

  // Nothing refers to the resting id any more. No effect on a live one.
  void Release(const Key& key) {
    const auto known = ids_.find(key);
    if (known == ids_.end() || known->second.live) return;
    if (known->second.id < next_) next_ = known->second.id;
    used_.erase(known->second.id);
    ids_.erase(known);
  }

  // 0 when `key` has no id, or a live one.
  uint32_t FindResting(const Key& key) const {
    const auto known = ids_.find(key);
    return known == ids_.end() || known->second.live ? 0 : known->second.id;
  }

  uint32_t end() const { return used_.empty() ? 0 : *used_.rbegin() + 1; }  // above all taken ones
  uint32_t taken() const { return static_cast<uint32_t>(used_.size()); }
  uint32_t capacity() const { return capacity_ == 0 ? 0 : capacity_ - 1; }

 private:
  struct Entry {
    uint32_t id = 0;
    bool live = false;
  };
  std::string what_;
  uint32_t capacity_;
  uint32_t next_ = 1;  // no free id is lower
  std::set<uint32_t> used_;
  std::map<Key, Entry> ids_;
};

}  // namespace kube_lvs::ebpf
