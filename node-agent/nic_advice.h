// What could be set better on a network card that our programs serve. Advice only: kube-lvs
// changes no card. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "node-agent/facts/nic.h"

namespace kube_lvs {

struct NicAdvice {
  std::string what, why;
  std::string mend;  // a command
  bool operator==(const NicAdvice&) const = default;
};

// Of a table in docs/operations.md ("Network cards"). `cpus`: that are online.
std::vector<NicAdvice> AdviseOn(const NicFacts& nic, uint32_t cpus);

}  // namespace kube_lvs
