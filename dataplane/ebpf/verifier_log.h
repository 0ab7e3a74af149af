// What the kernel's verifier says about a program that it refuses. Pure.
#pragma once

#include <string>
#include <string_view>

namespace kube_lvs::ebpf {

// What is wrong, and the instruction that it is said of; without "; ", as a mend is to follow. ""
// of an empty log.
std::string CauseOf(std::string_view log);

// That the kernel does not load `program`, and why, as far as it says so; without a mend. `error`
// is the errno of the load, `log` what there is of it.
std::string RefusalOf(std::string_view program, int error, std::string_view log);

}  // namespace kube_lvs::ebpf
