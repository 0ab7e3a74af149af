// States as text, for scenario files and for printing: one service or node item a paragraph.
//
//   IPVS 192.0.2.1:80/tcp wrr
//     10.0.0.1:8080 NAT weight 1
//   sysctl net/ipv4/ip_forward=1
#pragma once

#include <string>

#include "dataplane/model/state.h"

namespace kube_lvs {

std::string ToText(const State& state);

}  // namespace kube_lvs
