// Who failed is left alone for a while, longer each time: per service and per node item, so that
// one that cannot be programmed costs the others nothing. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <variant>

#include "absl/status/status.h"
#include "base/clock.h"
#include "dataplane/model/step.h"

namespace kube_lvs {

using Subject = std::variant<ServiceKey, NodeItem>;
Subject SubjectOf(const Step& step);

class Backoff {
 public:
  static constexpr Duration kFirst = std::chrono::milliseconds(200);
  static constexpr Duration kMost = std::chrono::seconds(30);

  void Failed(const Subject& subject, const absl::Status& why, TimePoint now);
  void Succeeded(const Subject& subject) { waiting_.erase(subject); }
  // Drops those that are in no plan any more.
  void KeepOnly(const std::set<Subject>& subjects);

  bool Waits(const Subject& subject, TimePoint now) const;
  std::optional<TimePoint> Next() const;  // when the first may be tried again

  struct Failure {
    absl::Status why;
    int times = 0;
    TimePoint retry_at{};
  };
  const std::map<Subject, Failure>& failures() const { return waiting_; }

 private:
  std::map<Subject, Failure> waiting_;
};

}  // namespace kube_lvs
