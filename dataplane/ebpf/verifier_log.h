// What the kernel's verifier says about a program that it refuses. Pure.
#pragma once

#include <string>
#include <string_view>

namespace kube_lvs::ebpf {

// What is wrong, and the instruction that it is said of; without "; ", as a mend is to follow. ""
// of an empty log.
std::string CauseOf(std::string_view log);

}  // namespace kube_lvs::ebpf
