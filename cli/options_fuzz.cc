// Any lines at all through the option parser: a request, or an answer that says something.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/options.h"
#include "cli/rule_lines.h"

using namespace kube_lvs::cli;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const NoNames names;
  for (const bool extensions : {false, true}) {
    const Dialect dialect{.program = "lvsadm", .extensions = extensions};
    for (const RuleLine& line : ParseRuleLines(text, extensions)) {
      const auto parsed = ParseOptions(dialect, line.words, names, extensions);
      const auto* answer = std::get_if<Answer>(&parsed);
      if (answer != nullptr && answer->out.empty() && answer->err.empty()) std::abort();
      if (answer != nullptr && (answer->status == 0) != answer->err.empty()) std::abort();
    }
  }
  return 0;
}
