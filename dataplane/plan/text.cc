#include "dataplane/plan/text.h"

namespace kube_lvs {

std::string ToText(const State& state) {
  std::string out;
  for (const auto& [key, service] : state.services) {
    out += ToString(key) + " " + ToString(service.config) + "\n";
    for (const RealServer& real : service.reals) out += "  " + ToString(real) + "\n";
  }
  for (const NodeItem& item : state.items) out += ToString(item) + "\n";
  return out;
}

}  // namespace kube_lvs
