// What -h and -v print.
#pragma once

#include <string>

#include "cli/options.h"

namespace kube_lvs::cli {

std::string Help(const Dialect& dialect);
std::string Version(const Dialect& dialect);

}  // namespace kube_lvs::cli
