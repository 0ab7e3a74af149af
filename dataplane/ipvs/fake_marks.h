// A mark table in memory, as strict as nftables: it takes no two that overlap.
#pragma once

#include <cstddef>
#include <functional>

#include "dataplane/ipvs/marks.h"

namespace kube_lvs::ipvs {

class FakeMarks final : public MarkTable {
 public:
  absl::StatusOr<MarkReading> Read() override {
    if (!failure.ok()) return failure;
    return MarkReading{.marks = marks, .replaced = replaced};
  }

  absl::Status Write(const Marks& wanted) override {
    if (!failure.ok()) return failure;
    for (const auto& [key, mark] : wanted) {
      if (!NeedsMark(key) || mark == 0) return absl::InternalError("no such mark");
      for (const auto& [other, its_mark] : wanted) {
        if (key == other) continue;
        if (Overlap(key, other) || mark == its_mark) return absl::InternalError("File exists");
      }
    }
    if (on_write) on_write();
    writes += marks != wanted;
    marks = wanted;
    return absl::OkStatus();
  }

  Marks marks;
  uint64_t replaced = 0;
  size_t writes = 0;  // that changed something
  absl::Status failure;
  std::function<void()> on_write;
};

}  // namespace kube_lvs::ipvs
