// A command line, parsed as ipvsadm 1.31 parses it: by popt, with the same tables of what goes with
// what, and the same refusals. docs/lvsadm.md lists the habits. Pure but for `names`.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "cli/names.h"
#include "cli/request.h"

namespace kube_lvs::cli {

// Under which name we were called: that of ipvsadm has no extensions.
struct Dialect {
  std::string program = "lvsadm";  // argv[0] as it is, for messages
  bool extensions = true;
};

// Nothing is asked of the kernel: print this, and end with the status.
struct Answer {
  int status = 0;
  std::string out, err;
  // In rules read from stdin: false lets the next line have its turn.
  bool ends = true;
  bool operator==(const Answer&) const = default;
};

// `words`: without the program's name. `from_stdin`: a line of -R, in which there is no -R.
std::variant<Request, Answer> ParseOptions(const Dialect& dialect,
                                           const std::vector<std::string>& words,
                                           const Names& names, bool from_stdin = false);

}  // namespace kube_lvs::cli
