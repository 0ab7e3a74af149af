#include "node-agent/desired/held_setups.h"

#include <algorithm>

namespace kube_lvs {
namespace {

bool OnLoopback(const NodeFacts& facts, const IpAddress& vip) {
  return std::ranges::any_of(facts.interfaces, [&vip](const auto& entry) {
    const InterfaceFacts& interface = entry.second;
    return interface.loopback &&
           std::ranges::find(interface.addresses, vip, &InterfaceFacts::Address::ip) !=
               interface.addresses.end();
  });
}

}  // namespace

HeldSetups HeldSetupsOf(const NeededSetups& needed, const std::set<NodeItem>& there,
                        const NodeFacts& facts,
                        const std::function<std::string(const NodeItem&)>& why_missing) {
  HeldSetups held;
  for (const auto& [setup, items] : needed) {
    HeldSetup& is = held[setup];
    is.state.ready = true;
    // Directors ask from the one address of theirs that status.members has, and which need not be
    // of IPv6: a tunnel of IPv6 is ready for all of them or for none.
    if (setup.method == ForwardingMethod::kTunnel && setup.vip.IsV4()) is.directors.emplace();
    for (const NodeItem& item : items) {
      const auto* silent = std::get_if<SilentVip>(&item);
      const bool is_there =
          there.contains(item) || (silent != nullptr && OnLoopback(facts, silent->vip));
      const auto* peer = std::get_if<TunnelPeer>(&item);
      if (peer != nullptr && is.directors.has_value()) {
        // By each tunnel of the VIP.
        const auto of = is.directors->try_emplace(peer->director, SetupState{true, ""}).first;
        if (!is_there && of->second.ready) of->second = {false, why_missing(item)};
        continue;
      }
      if (is_there) continue;
      is.state.ready = false;
      if (is.state.why_not.empty()) is.state.why_not = why_missing(item);
    }
  }
  return held;
}

}  // namespace kube_lvs
