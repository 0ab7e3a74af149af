// The objects of one kind at one moment, and, of a kube::Store, what was written last and who names
// what: so that two moments are compared, and users of something found, at the cost of what
// changed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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
  // What an object names, such as the Services of its backends.
  using Names = std::function<std::vector<std::string>(const T&)>;

  // A copy is its owner's to change: it knows of no store, and not who names what.
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

  // The keys, in order, of the objects that name `name`. nullopt: not known, for this is of no
  // store that was told how to see it. The keys live as long as this.
  std::optional<std::span<const std::string>> Naming(std::string_view name) const {
    if (!naming_) return std::nullopt;
    const auto found = naming_->find(name);
    if (found == naming_->end()) return std::span<const std::string>();
    return std::span<const std::string>(found->second);
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

  // `object` null: without it. All writes of a store that sees names are by this.
  void Write(const std::string& key, std::shared_ptr<const T> object, const Names& names) {
    const auto there = this->find(key);
    if (naming_) {
      if (there != this->end()) {
        for (const std::string& name : names(*there->second)) Forget(name, key);
      }
      if (object != nullptr) {
        for (const std::string& name : names(*object)) Remember(name, key);
      }
    }
    if (object == nullptr) {
      if (there != this->end()) this->erase(there);
    } else if (there != this->end()) {
      there->second = std::move(object);
    } else {
      this->emplace(key, std::move(object));
    }
  }
  // A name may be twice in an object.
  void Remember(const std::string& name, const std::string& key) {
    std::vector<std::string>& keys = (*naming_)[name];
    const auto at = std::ranges::lower_bound(keys, key);
    if (at == keys.end() || *at != key) keys.insert(at, key);
  }
  void Forget(const std::string& name, const std::string& key) {
    const auto found = naming_->find(name);
    if (found == naming_->end()) return;
    const auto at = std::ranges::lower_bound(found->second, key);
    if (at != found->second.end() && *at == key) found->second.erase(at);
    if (found->second.empty()) naming_->erase(found);
  }

  // By name; nullopt: nobody sees to it.
  std::optional<std::map<std::string, std::vector<std::string>, std::less<>>> naming_;
  uint64_t store_ = 0;  // whose it is; 0: nobody's
  uint64_t version_ = 0;
  std::vector<std::string> last_;  // keys written by the last versions, the newest at the end
};

}  // namespace kube_lvs::kube
