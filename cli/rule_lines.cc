#include "cli/rule_lines.h"

#include <algorithm>

namespace kube_lvs::cli {

std::vector<RuleLine> ParseRuleLines(std::string_view text, bool extensions) {
  std::vector<RuleLine> out;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    RuleLine read{.number = number, .words = {}};
    while (!line.empty()) {
      const size_t blank = std::min(line.find_first_of(" \t\r"), line.size());
      const std::string_view word = line.substr(0, blank);
      line.remove_prefix(std::min(blank + 1, line.size()));
      if (word.empty() || word == "ipvsadm" || (extensions && word == "lvsadm")) continue;
      read.words.emplace_back(word);
    }
    if (!read.words.empty()) out.push_back(std::move(read));
  }
  return out;
}

}  // namespace kube_lvs::cli
