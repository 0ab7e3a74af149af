// The objects of one kind at one moment, and, of a kube::Store, what was written last: so that two
// moments are compared at the cost of what changed in between.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kube_lvs::kube {

template <typename T>
class Store;

// By "ns/name", or "name" for objects of the cluster. Ordered, so that what is made of it is
// deterministic.
template <typename T>
class ObjectMap : public std::map<std::string, std::shared_ptr<const T>, std::less<>> {
 public:
  using Base = std::map<std::string, std::shared_ptr<const T>, std::less<>>;
  using Base::Base;
  ObjectMap() = default;
  // A copy is its owner's to change: it knows of no store.
  ObjectMap(const ObjectMap& other) : Base(other) {}
  ObjectMap& operator=(const ObjectMap& other) { return *this = ObjectMap(other); }
  ObjectMap(ObjectMap&&) noexcept = default;
  ObjectMap& operator=(ObjectMap&&) noexcept = default;
  ~ObjectMap() = default;

  // The keys, some maybe more than once, beside which this is as `earlier`. nullopt: not known, for
  // they are not of one store, or too much has changed. The keys live as long as this.
  std::optional<std::span<const std::string>> ChangedSince(const ObjectMap& earlier) const {
    if (store_ == 0 || store_ != earlier.store_ || version_ < earlier.version_ ||
        version_ - earlier.version_ > last_.size()) {
      return std::nullopt;
    }
    return std::span(last_).last(version_ - earlier.version_);
  }

 private:
  friend class Store<T>;
  static constexpr size_t kRemembered = 16;

  // The next version, in which `key` is written.
  void Note(const std::string& key, uint64_t version) {
    if (last_.size() == kRemembered) last_.erase(last_.begin());
    last_.push_back(key);
    version_ = version;
  }

  uint64_t store_ = 0;  // whose it is; 0: nobody's
  uint64_t version_ = 0;
  std::vector<std::string> last_;  // keys written by the last versions, the newest at the end
};

}  // namespace kube_lvs::kube
