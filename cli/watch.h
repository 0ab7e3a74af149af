// The live table: draws pictures on a terminal, in place, until SIGINT, SIGTERM or SIGHUP; without
// a terminal prints one below the other.
#pragma once

#include <functional>
#include <vector>

#include "cli/frame.h"
#include "cli/names.h"

namespace kube_lvs::cli {

// Calls `read` every `seconds`. Leaves the terminal as it was. 0 when it was asked to end, 1 when
// nobody reads any more what it prints.
int WatchOnStdout(const std::function<std::vector<FrameSection>()>& read, double seconds,
                  const Names& names);

}  // namespace kube_lvs::cli
