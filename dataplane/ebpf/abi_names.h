// Printable names of what abi.h numbers: labels of metrics and words of listings.
#pragma once

#include "dataplane/ebpf/abi.h"

namespace kube_lvs::ebpf {

// "no_service"; "unknown" beyond the table. One word, [a-z_].
const char* DropReasonName(unsigned reason);

// "ESTABLISHED", as ipvsadm prints it.
const char* ConnectionStateName(unsigned state);

}  // namespace kube_lvs::ebpf
