// The table that marks packets, in the kernel's nftables: mark_commands.h says what is in it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "dataplane/ipvs/marks.h"

namespace kube_lvs::ipvs {

// Of the network namespace of the thread that opens it. The table is there only while something is
// marked; no other is read or touched. What somebody else changed in it, or if it is gone, is read
// as if nothing were marked, and made anew by the next Write.
absl::StatusOr<std::unique_ptr<MarkTable>> OpenMarkTable();

}  // namespace kube_lvs::ipvs
