#include "kube/kept_objects.h"

#include <algorithm>

namespace kube_lvs::kube {

void KeptObjects::KindIsThere(const std::set<std::string>& known, TimePoint now) {
  if (went_) {
    went_ = false;
    kept_.insert(known.begin(), known.end());
    until_ = now + grace_;
  }
  if (now >= until_) kept_.clear();
}

std::optional<Duration> KeptObjects::Left(TimePoint now) const {
  if (went_ || kept_.empty()) return std::nullopt;
  return std::max(Duration::zero(), until_ - now);
}

}  // namespace kube_lvs::kube
