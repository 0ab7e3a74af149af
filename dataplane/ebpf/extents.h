// Hands out runs of slots of one large array: the lists and tables that services point to. A freed
// run rests before it is handed out again, because a program that read the old service value may
// still walk it. Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"

namespace kube_lvs::ebpf {

// Slots [base, base + length). A length of 0 is the empty run, whose base has no meaning.
struct Extent {
  uint32_t base = 0;
  uint32_t length = 0;
  auto operator<=>(const Extent&) const = default;
  bool operator==(const Extent&) const = default;
};

class ExtentAllocator {
 public:
  // Hands out slots in [first, size). Freed runs rest for `rest`.
  ExtentAllocator(uint32_t first, uint32_t size, Duration rest);

  // Marks a run as taken that was found in use. kDataLoss: it overlaps another or ends outside.
  absl::Status Adopt(Extent extent);

  // The lowest free run of that length. kResourceExhausted: none is long enough, counting runs
  // whose rest ended before `now`.
  absl::StatusOr<Extent> Allocate(uint32_t length, TimePoint now);

  // Gives back what Adopt or Allocate gave. `now` never goes backwards over all calls.
  void Free(Extent extent, TimePoint now);

  uint32_t size() const { return size_ - first_; }
  uint32_t taken() const { return taken_; }  // in use or resting

 private:
  struct Resting {
    TimePoint until;
    Extent extent;
  };
  void Return(Extent extent);
  void ReturnRested(TimePoint now);

  uint32_t first_;
  uint32_t size_;
  Duration rest_;
  uint32_t taken_ = 0;
  std::map<uint32_t, uint32_t> free_;  // base -> length; neighbours are always merged
  std::deque<Resting> resting_;        // oldest first
};

}  // namespace kube_lvs::ebpf
