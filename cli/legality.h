// Which options go with which command, and with which tunnel type: ipvsadm's tables. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "cli/request.h"

namespace kube_lvs::cli {

// The refusal's text; empty: all is well.
std::string CheckOptions(Action action, uint64_t given);
std::string CheckTunnelOptions(uint8_t tunnel_type, uint64_t given);

// As messages name them.
const char* NameOf(Action action);
const char* NameOf(Option option);

}  // namespace kube_lvs::cli
