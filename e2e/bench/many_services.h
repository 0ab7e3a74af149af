// The rules that benchmarks measure: 10.128.0.1 and up, port 80.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/model/state.h"

namespace kube_lvs::bench {

inline State ManyServices(uint32_t services, uint32_t reals, Dataplane dataplane = Dataplane::kIpvs,
                          const std::string& scheduler = "wrr") {
  State state;
  for (uint32_t s = 0; s < services; ++s) {
    VirtualService& service = state.services[{
        dataplane, Endpoint{IpAddress::FromV4(0x0a800001u + s), 80}, Protocol::kTcp}];
    service.config.scheduler = scheduler;
    for (uint32_t r = 0; r < reals; ++r) {
      service.reals.push_back(
          {.at = {IpAddress::FromV4(0x0a000001u + (s * reals + r) % 60000u), 8080},
           .weight = 1 + r % 3});
    }
    SortCanonically(service.reals);
  }
  return state;
}

}  // namespace kube_lvs::bench
