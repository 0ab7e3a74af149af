// The commands that -R reads, a line each. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kube_lvs::cli {

struct RuleLine {
  size_t number = 0;  // from 1
  std::vector<std::string> words;
  bool operator==(const RuleLine&) const = default;
};

// Words are what blanks separate: there are neither quotes nor comments. The word "ipvsadm" (with
// `extensions` also "lvsadm") is left out wherever it is, and so are lines without words.
std::vector<RuleLine> ParseRuleLines(std::string_view text, bool extensions);

}  // namespace kube_lvs::cli
