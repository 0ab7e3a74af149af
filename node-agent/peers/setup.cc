#include "node-agent/peers/setup.h"

namespace kube_lvs {

SetupState StateFor(const HeldSetups& held, const VipSetup& setup, const IpAddress& director) {
  const auto found = held.find(setup);
  if (found == held.end()) {
    return {false, "by its agent's objects it is no real server of this VIP by this method"};
  }
  const HeldSetup& is = found->second;
  if (!is.state.ready || !is.directors.has_value()) return is.state;
  const auto known = is.directors->find(director);
  if (known != is.directors->end()) return known->second;
  return {false, "by its agent's objects " + director.ToString() +
                     " is no member of the director group, so it takes no tunnelled packets of it"};
}

}  // namespace kube_lvs
