// The objects of one kind as the API server last told them: written by a reflector, read by all.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kube/object_map.h"

namespace kube_lvs::kube {

// How a reflector writes, whatever the type of the objects. One writer thread at a time.
class ObjectSink {
 public:
  using Object = std::shared_ptr<const void>;
  virtual ~ObjectSink() = default;

  // The complete truth: keys that are not in `all` are gone. Marks the store as synced.
  virtual void Replace(std::map<std::string, Object> all) = 0;
  virtual void Set(const std::string& key, Object object) = 0;
  virtual void Remove(const std::string& key) = 0;
  virtual Object Find(const std::string& key) const = 0;
};

// Thread-safe.
template <typename T>
class Store final : public ObjectSink {
 public:
  using Map = ObjectMap<T>;

  // Called in the writer's thread, without a lock, after the change can be seen in Snapshot():
  // with the keys that were added, changed or removed. Called for the first Replace even when it
  // has none, so that a waiter learns of HasSynced(). Keep it short: add the keys to a queue.
  using OnChange = std::function<void(const std::vector<std::string>& keys)>;

  // `names`: what Map::Naming shall know, from an object alone; null: nothing.
  explicit Store(OnChange on_change = nullptr, typename Map::Names names = nullptr)
      : on_change_(std::move(on_change)), names_(std::move(names)) {
    if (names_) map_->naming_.emplace();
    map_->store_ = id_;
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // All objects of one moment; never changes as long as it is held. Never null. Hold it in a
  // variable: `for (... : *store.Snapshot())` outlives it. The next write costs a copy of the map,
  // or as much as has changed if an earlier snapshot was let go meanwhile.
  std::shared_ptr<const Map> Snapshot() const {
    const std::lock_guard<std::mutex> lock(mu_);
    handed_out_ = true;
    return map_;
  }

  std::shared_ptr<const T> Get(std::string_view key) const {
    const std::lock_guard<std::mutex> lock(mu_);
    const auto it = map_->find(key);
    return it == map_->end() ? nullptr : it->second;
  }

  // Whether a complete list was ever stored. Until then absent objects may exist: delete nothing.
  bool HasSynced() const {
    const std::lock_guard<std::mutex> lock(mu_);
    return synced_;
  }

  void Replace(std::map<std::string, Object> all) override {
    Map fresh;
    if (names_) fresh.naming_.emplace();
    for (auto& [key, object] : all) {
      const auto at = fresh.emplace_hint(fresh.end(), key,
                                         std::static_pointer_cast<const T>(std::move(object)));
      if (!names_) continue;
      for (const std::string& name : names_(*at->second)) fresh.Remember(name, key);
    }
    std::vector<std::string> changed;
    bool first = false;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      const Map& old = *map_;
      auto was = old.begin();
      for (auto is = fresh.begin(); is != fresh.end() || was != old.end();) {
        if (was == old.end() || (is != fresh.end() && is->first < was->first)) {
          changed.push_back((is++)->first);
        } else if (is == fresh.end() || was->first < is->first) {
          changed.push_back((was++)->first);
        } else {
          if (is->second != was->second) changed.push_back(is->first);
          ++is;
          ++was;
        }
      }
      // What was there before is of no use any more.
      version_ += kMostChanges + 1;
      changes_.clear();
      fresh.store_ = id_;
      fresh.version_ = version_;
      map_ = Publish(std::make_unique<Map>(std::move(fresh)));
      handed_out_ = false;
      first = !std::exchange(synced_, true);
    }
    if (first || !changed.empty()) Notify(changed);
  }

  void Set(const std::string& key, Object object) override {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      Writable(key).Write(key, std::static_pointer_cast<const T>(std::move(object)), names_);
    }
    Notify({key});
  }

  void Remove(const std::string& key) override {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      if (!map_->contains(key)) return;
      Writable(key).Write(key, nullptr, names_);
    }
    Notify({key});
  }

  Object Find(const std::string& key) const override { return Get(key); }

 private:
  static constexpr size_t kMostChanges = 1024;

  // Of no other store of this process.
  static uint64_t NewId() {
    static std::atomic<uint64_t> last = 0;
    return ++last;
  }

  // Where a version comes back to when nobody holds it any more, in whichever thread that is, also
  // after the store is gone.
  class Spares {
   public:
    // Keeps the newest only.
    void Give(std::unique_ptr<Map> version) {
      const std::lock_guard<std::mutex> lock(mu_);
      if (spare_ == nullptr || spare_->version_ < version->version_) spare_.swap(version);
    }
    std::unique_ptr<Map> Take() {
      const std::lock_guard<std::mutex> lock(mu_);
      return std::move(spare_);
    }

   private:
    std::mutex mu_;
    std::unique_ptr<Map> spare_;  // guarded by mu_
  };

  std::shared_ptr<Map> Publish(std::unique_ptr<Map> version) const {
    return {version.release(),
            [spares = spares_](Map* over) { spares->Give(std::unique_ptr<Map>(over)); }};
  }

  // The map to write `key` in, which nobody else sees. Needs mu_.
  Map& Writable(const std::string& key) {
    if (handed_out_) {
      std::unique_ptr<Map> next = spares_->Take();
      if (next != nullptr && version_ - next->version_ <= changes_.size()) {
        CatchUp(*next);
      } else {
        next = std::make_unique<Map>(*map_);
        next->naming_ = map_->naming_;
      }
      next->store_ = id_;
      next->last_ = map_->last_;
      map_ = Publish(std::move(next));
      handed_out_ = false;
    }
    changes_.push_back(key);
    if (changes_.size() > kMostChanges) changes_.pop_front();
    map_->Note(key, ++version_);
    return *map_;
  }

  // Brings an older version to where map_ is. Needs mu_.
  void CatchUp(Map& version) const {
    for (size_t n = changes_.size() - (version_ - version.version_); n < changes_.size(); ++n) {
      const auto is = map_->find(changes_[n]);
      version.Write(changes_[n], is == map_->end() ? nullptr : is->second, names_);
    }
  }

  void Notify(const std::vector<std::string>& keys) const {
    if (on_change_) on_change_(keys);
  }

  const OnChange on_change_;
  const typename Map::Names names_;
  mutable std::mutex mu_;
  const std::shared_ptr<Spares> spares_ = std::make_shared<Spares>();
  const uint64_t id_ = NewId();
  std::shared_ptr<Map> map_ = Publish(std::make_unique<Map>());  // guarded by mu_
  uint64_t version_ = 0;                                         // of map_; guarded by mu_
  std::deque<std::string> changes_;  // keys of the last; guarded by mu_
  mutable bool handed_out_ = false;  // guarded by mu_
  bool synced_ = false;              // guarded by mu_
};

}  // namespace kube_lvs::kube
