// What we have written and no watch has told us of yet. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

namespace kube_lvs::controller {

template <typename T>
class Written {
 public:
  // `base` is the version that the store had when `object` was written; "" if it had none.
  void Put(const std::string& key, std::string base, T object) {
    all_[key] = {std::move(base), std::make_shared<const T>(std::move(object))};
  }

  // The newest that is known of `key`: what the store has, or what we have written since. nullptr
  // while the store has none; if Contains, it is perhaps only not there yet.
  std::shared_ptr<const T> Newest(const std::string& key, std::shared_ptr<const T> stored) {
    const auto it = all_.find(key);
    if (it == all_.end()) return stored;
    const std::string version = stored == nullptr ? "" : stored->meta.resource_version;
    if (version == it->second.base) return stored == nullptr ? nullptr : it->second.object;
    all_.erase(it);
    return stored;
  }

  bool Contains(const std::string& key) const { return all_.contains(key); }

 private:
  struct Entry {
    std::string base = {};
    std::shared_ptr<const T> object = nullptr;
  };
  std::map<std::string, Entry> all_;
};

}  // namespace kube_lvs::controller
