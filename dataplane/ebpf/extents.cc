#include "dataplane/ebpf/extents.h"

#include <cassert>
#include <iterator>
#include <string>

namespace kube_lvs::ebpf {

ExtentAllocator::ExtentAllocator(uint32_t first, uint32_t size, Duration rest)
    : first_(first), size_(size), rest_(rest) {
  assert(first <= size);
  if (size > first) free_[first] = size - first;
}

absl::Status ExtentAllocator::Adopt(Extent extent) {
  if (extent.length == 0) return absl::OkStatus();
  const uint64_t end = uint64_t{extent.base} + extent.length;
  auto run = free_.upper_bound(extent.base);
  if (run == free_.begin() || end > uint64_t{std::prev(run)->first} + std::prev(run)->second) {
    return absl::DataLossError("slots " + std::to_string(extent.base) + " to " +
                               std::to_string(end - 1) + " are used twice or lie outside");
  }
  run = std::prev(run);
  const uint32_t run_base = run->first;
  const uint32_t run_length = run->second;
  free_.erase(run);
  if (extent.base > run_base) free_[run_base] = extent.base - run_base;
  const uint32_t run_end = run_base + run_length;
  if (end < run_end) free_[static_cast<uint32_t>(end)] = run_end - static_cast<uint32_t>(end);
  taken_ += extent.length;
  return absl::OkStatus();
}

absl::StatusOr<Extent> ExtentAllocator::Allocate(uint32_t length, TimePoint now) {
  if (length == 0) return Extent{};
  ReturnRested(now);
  for (auto run = free_.begin(); run != free_.end(); ++run) {
    if (run->second < length) continue;
    const Extent out{run->first, length};
    const uint32_t rest = run->second - length;
    free_.erase(run);
    if (rest > 0) free_[out.base + length] = rest;
    taken_ += length;
    return out;
  }
  return absl::ResourceExhaustedError("no run of " + std::to_string(length) + " free slots among " +
                                      std::to_string(size()) + ", of which " +
                                      std::to_string(taken_) + " are taken");
}

void ExtentAllocator::Free(Extent extent, TimePoint now) {
  if (extent.length == 0) return;
  resting_.push_back({now + rest_, extent});
}

void ExtentAllocator::ReturnRested(TimePoint now) {
  while (!resting_.empty() && resting_.front().until <= now) {
    Return(resting_.front().extent);
    resting_.pop_front();
  }
}

void ExtentAllocator::Return(Extent extent) {
  taken_ -= extent.length;
  auto next = free_.lower_bound(extent.base);
  if (next != free_.end() && next->first == extent.base + extent.length) {
    extent.length += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == extent.base) {
      previous->second += extent.length;
      return;
    }
  }
  free_[extent.base] = extent.length;
}

}  // namespace kube_lvs::ebpf
