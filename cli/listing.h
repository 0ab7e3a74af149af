// Rules as a table, in the form that ipvsadm 1.31 prints with -L -n.
#pragma once

#include <string>

#include "dataplane/model/state.h"

namespace kube_lvs::cli {

// Services in the order of the table, real servers in theirs. Connections are read from `stats`;
// a real server that is missing there shows none. `heading` is the first line.
std::string Listing(const std::string& heading, const ServiceTable& services, const Stats& stats);

}  // namespace kube_lvs::cli
