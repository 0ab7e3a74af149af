// The objects of one kind as the API server last told them: written by a reflector, read by all.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

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
  // Key ("ns/name" or "name") -> object. Ordered, so that what is made of it is deterministic.
  using Map = std::map<std::string, std::shared_ptr<const T>, std::less<>>;

  // Called in the writer's thread, without a lock, after the change can be seen in Snapshot():
  // with the keys that were added, changed or removed. Called for the first Replace even when it
  // has none, so that a waiter learns of HasSynced(). Keep it short: add the keys to a queue.
  using OnChange = std::function<void(const std::vector<std::string>& keys)>;

  explicit Store(OnChange on_change = nullptr) : on_change_(std::move(on_change)) {}
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // All objects of one moment; never changes afterwards, and costs one copy of the map at the next
  // write. Never null. Hold it in a variable: `for (... : *store.Snapshot())` outlives it.
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
    auto fresh = std::make_shared<Map>();
    for (auto& [key, object] : all) {
      fresh->emplace_hint(fresh->end(), key, std::static_pointer_cast<const T>(std::move(object)));
    }
    std::vector<std::string> changed;
    bool first = false;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      auto was = map_->begin();
      for (auto is = fresh->begin(); is != fresh->end() || was != map_->end();) {
        if (was == map_->end() || (is != fresh->end() && is->first < was->first)) {
          changed.push_back((is++)->first);
        } else if (is == fresh->end() || was->first < is->first) {
          changed.push_back((was++)->first);
        } else {
          if (is->second != was->second) changed.push_back(is->first);
          ++is;
          ++was;
        }
      }
      map_ = std::move(fresh);
      handed_out_ = false;
      first = !std::exchange(synced_, true);
    }
    if (first || !changed.empty()) Notify(changed);
  }

  void Set(const std::string& key, Object object) override {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      Writable()[key] = std::static_pointer_cast<const T>(std::move(object));
    }
    Notify({key});
  }

  void Remove(const std::string& key) override {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      if (!map_->contains(key)) return;
      Writable().erase(key);
    }
    Notify({key});
  }

  Object Find(const std::string& key) const override { return Get(key); }

 private:
  Map& Writable() {  // needs mu_
    if (handed_out_) {
      map_ = std::make_shared<Map>(*map_);
      handed_out_ = false;
    }
    return *map_;
  }

  void Notify(const std::vector<std::string>& keys) const {
    if (on_change_) on_change_(keys);
  }

  const OnChange on_change_;
  mutable std::mutex mu_;
  std::shared_ptr<Map> map_ = std::make_shared<Map>();  // guarded by mu_
  mutable bool handed_out_ = false;                     // guarded by mu_
  bool synced_ = false;                                 // guarded by mu_
};

}  // namespace kube_lvs::kube
