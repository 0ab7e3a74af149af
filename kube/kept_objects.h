// Objects that stay although the API server has them no more: those that went with their kind,
// because its CustomResourceDefinition was deleted. Nobody meant to delete each of them, and
// whoever brings the kind back brings them back a moment later. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/clock.h"

namespace kube_lvs::kube {

class KeptObjects {
 public:
  // `grace`: so long after its kind is back, one that is not back is gone.
  explicit KeptObjects(Duration grace) : grace_(grace) {}

  // The kind is being removed, or is not there, or is another one by now.
  void KindWent() { went_ = true; }
  // It only seemed so.
  void KindStayed() { went_ = false; }
  bool WentNow() const { return went_; }  // and no list was had since

  // A complete list was had at `now`, so the kind is there; `known` are the keys of before it.
  void KindIsThere(const std::set<std::string>& known, TimePoint now);

  bool Contains(const std::string& key) const { return kept_.contains(key); }
  const std::set<std::string>& keys() const { return kept_; }

  // It is back, or was deleted since.
  void Release(const std::string& key) { kept_.erase(key); }

  // How long until a list is due that ends the grace (0: now); nullopt if there is none.
  std::optional<Duration> Left(TimePoint now) const;

 private:
  const Duration grace_;
  bool went_ = false;
  TimePoint until_{};
  std::set<std::string> kept_;
};

}  // namespace kube_lvs::kube
