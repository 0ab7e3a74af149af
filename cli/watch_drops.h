// What a dataplane drops, from its ring: the DropSource of production.
#pragma once

#include <memory>
#include <string>

#include "cli/drops.h"
#include "dataplane/ebpf/open.h"

namespace kube_lvs::cli {

// Watched until SIGINT, SIGTERM or SIGHUP.
std::unique_ptr<DropSource> NewDropSource(ebpf::Drops drops, std::string of);

}  // namespace kube_lvs::cli
