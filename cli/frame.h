// One picture of the live table of --watch. Pure but for `names`.
#pragma once

#include <string>
#include <vector>

#include "cli/names.h"
#include "cli/table.h"

namespace kube_lvs::cli {

struct FrameSection {
  std::string heading;  // "IP Virtual Server version 1.2.1 (size=4096)"
  Table table;          // with rates
  std::string trouble;  // why there is no table; else empty
};

struct FrameSize {
  int width = 80;
  int height = 0;       // 0: as many lines as there are
  bool unicode = true;  // bars of blocks; else of '#'
};

// Lines, none wider than `size.width`, and no more than its height, the last of which then says how
// many are missing. A bar is a real server's share of its service: of its packets in a second, or
// of its active connections when nothing passes.
std::vector<std::string> Frame(const std::string& first_line,
                               const std::vector<FrameSection>& sections, const FrameSize& size,
                               const Names& names);

// "0", "999", "1.2k", "35k", "7.0M": at most five characters.
std::string Short(uint64_t number);

}  // namespace kube_lvs::cli
