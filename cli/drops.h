// --drops: what the eBPF dataplane drops, as it happens, to text. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "dataplane/ebpf/drop_samples.h"

namespace kube_lvs::cli {

// One packet, in the terms of this host.
struct ShownDrop {
  std::string time;       // "2026-01-31T14:03:22.123Z"
  std::string interface;  // its name, or its number when it is gone
  ebpf::DropSample sample;
};

// Over all that was watched.
struct DropTotals {
  double seconds = 0.0;
  uint64_t shown = 0;
  std::map<std::string, uint64_t> packets;  // by reason, without zeros
};

// Something that drops, while it is watched.
class DropSource {
 public:
  virtual ~DropSource() = default;
  virtual const std::string& of() const = 0;  // as EbpfListing::of
  // Until `seconds` are over, or the user ends it, or `show` returns false.
  virtual absl::StatusOr<DropTotals> Watch(std::optional<double> seconds,
                                           const std::function<bool(const ShownDrop&)>& show) = 0;
};

std::string DropTitle();
std::string DropLine(const ShownDrop& drop);
std::string DropSummary(const DropTotals& totals);

// One object a line, with the names that docs/lvsadm.8 describes.
std::string DropJson(const ShownDrop& drop);
std::string DropSummaryJson(const DropTotals& totals);

}  // namespace kube_lvs::cli
