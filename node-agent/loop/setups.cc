// What real servers must be set up for, on both sides: a director waits, a real server tells.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "node-agent/desired/held_setups.h"
#include "node-agent/desired/hold.h"
#include "node-agent/desired/vips.h"
#include "node-agent/loop/agent.h"

namespace kube_lvs {
namespace {

// A new real server is set up in less: until then it is no problem that it is not used.
constexpr Duration kSetupPatience = std::chrono::seconds(1);

}  // namespace

State Agent::HoldBack(State target, const State& actual, const Role& role, const Desired& desired,
                      PassReport& report, TimePoint now) {
  if (setup_peers_ == nullptr) return target;
  own_setups_ = HeldSetupsOf(desired.setups, actual.items, *facts_, [this](const NodeItem& item) {
    const auto failure = backoff_.failures().find(item);
    return failure == backoff_.failures().end() ? "" : Message(failure->second.why);
  });
  const AdmissionInput input = {OwnAddresses(*facts_), own_setups_, desired.agents,
                                setup_peers_->Heard(), setup_peers_->Port()};
  Admission admission = Admit(std::move(target), actual, input, admission_clock_, now);
  admission_clock_ = std::move(admission.clock);
  if (admission.next_check) next_pass_ = std::min(next_pass_, *admission.next_check);
  const auto self = std::ranges::find(role.peers.members, facts_->node_name, &PeerMember::node);
  setup_peers_->Ask(
      self != role.peers.members.end() ? self->address : facts_->node_address.value_or(IpAddress{}),
      admission.ask);
  std::map<std::string, std::pair<ServiceOrigin, std::vector<HeldBack>>> late;  // by object
  for (const HeldBack& held : admission.held_back) {
    const TimePoint patient_until = held.since + kSetupPatience;
    if (now < patient_until) {
      report.held_back_lately = true;
      next_pass_ = std::min(next_pass_, patient_until);
      continue;
    }
    const auto origin = report.origins->find(held.service);
    if (origin == report.origins->end()) continue;
    auto& [of, all] = late[origin->second.name_space + "/" + origin->second.name];
    of = origin->second;
    const auto same = [&held](const HeldBack& other) {
      return other.real.ip == held.real.ip && other.why == held.why;
    };
    if (std::ranges::none_of(all, same)) all.push_back(held);
  }
  for (const auto& [name, service] : late) {
    const ServiceOrigin& of = service.first;
    report.service_problems.push_back({of.name_space, of.name, of.uid, of.generation,
                                       kRealServerNotReady, Describe(service.second)});
  }
  report.held_back = std::move(admission.held_back);
  return KeepHeld(std::move(admission.desired), actual, admission.hold);
}

void Agent::PublishSetups(const NeededSetups& needed, const State& there, const Actual& actual,
                          const PassReport& report, TimePoint now) {
  if (setup_peers_ == nullptr) return;
  HeldSetups held = HeldSetupsOf(needed, there.items, *facts_, [&](const NodeItem& item) {
    const auto failure = backoff_.failures().find(item);
    if (failure != backoff_.failures().end()) return Message(failure->second.why);
    const absl::Status status = CanTake(AddItem{item}, backends_, actual);
    return status.ok() ? std::string() : Message(status);
  });
  // Those on this node that this very pass has set up.
  const bool news = std::ranges::any_of(held, [this](const auto& entry) {
    const auto before = own_setups_.find(entry.first);
    return entry.second.state.ready && before != own_setups_.end() && !before->second.state.ready;
  });
  if (news && !report.held_back.empty()) next_pass_ = now;
  setup_peers_->Publish(std::move(held));
}

}  // namespace kube_lvs
