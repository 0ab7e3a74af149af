#include "dataplane/ipvs/backend.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::ipvs {

ServiceKey IpvsBackend::InKernel(const ServiceKey& key) const {
  if (!NeedsMark(key)) return key;
  const auto claim = journal_.claims().find(key);
  // Without a claim it is not there, and mark 0 finds nothing.
  const uint32_t mark = claim == journal_.claims().end() ? 0 : claim->second.mark;
  return {Dataplane::kIpvs, FwMark{mark, VipOf(key)->family}, Protocol::kTcp};
}

bool IpvsBackend::Takes(const Step& step) const {
  const ServiceKey* key = KeyOf(step);
  return key != nullptr && key->dataplane == Dataplane::kIpvs;
}

absl::StatusOr<std::vector<RealEntry>> IpvsBackend::RealsOf(const ServiceKey& key,
                                                            Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(auto reals, ReadReals(channel_, InKernel(key), content));
  if (!reals.empty()) tells_tunnels_ = reals.front().tells_tunnel;
  return reals;
}

std::map<ServiceKey, ServiceKey> IpvsBackend::OursByMark() const {
  std::map<ServiceKey, ServiceKey> out;
  for (const auto& [key, kept] : journal_.claims()) {
    if (NeedsMark(key)) out.emplace(InKernel(key), key);
  }
  return out;
}

void IpvsBackend::ReadMarks(ServiceTable& services, Stats* stats) {
  if (std::ranges::none_of(services, [](const auto& s) { return NeedsMark(s.first); })) return;
  // Why it cannot be read is said when it is to be written.
  const MarkReading there = marks_.Read().value_or(MarkReading{});
  if (stats != nullptr) stats->replaced_marks = there.replaced;
  for (auto& [key, service] : services) {
    if (!NeedsMark(key)) continue;
    const auto mark = there.marks.find(key);
    service.config.unreached =
        mark == there.marks.end() || mark->second != journal_.claims().at(key).mark;
  }
}

absl::StatusOr<VirtualService> IpvsBackend::ReadRules(const ServiceKey& key, ServiceEntry entry,
                                                      bool source_nat, Stats* stats) {
  VirtualService service;
  service.config = std::move(entry.config);
  service.config.source_nat = source_nat;
  if (entry.foreign) service.config.scheduler += " (changed by another program)";
  if (stats != nullptr) stats->services[key] = entry.counters;
  const Content content = stats != nullptr ? Content::kAll : Content::kRules;
  KUBE_LVS_ASSIGN_OR_RETURN(auto reals, RealsOf(key, content));
  service.reals.reserve(reals.size());
  for (RealEntry& real : reals) {
    if (real.foreign) real.real.method = static_cast<ForwardingMethod>(0xff);
    if (stats != nullptr) {
      stats->reals[{key, real.real.at}] = {.counters = real.counters,
                                           .weight = real.real.weight,
                                           .active_connections = real.active_connections,
                                           .inactive_connections = real.inactive_connections};
    }
    service.reals.push_back(std::move(real.real));
  }
  return service;
}

absl::StatusOr<ServiceTable> IpvsBackend::ReadOurs(Stats* stats) {
  const Content content = stats != nullptr ? Content::kAll : Content::kRules;
  ServiceTable out;
  const std::map<ServiceKey, ServiceKey> by_mark = OursByMark();
  KUBE_LVS_ASSIGN_OR_RETURN(auto services, ipvs::ReadServices(channel_, content));
  other_services_ = 0;
  for (ServiceEntry& entry : services) {
    const auto marked = by_mark.find(entry.key);
    const auto ours = journal_.claims().find(marked == by_mark.end() ? entry.key : marked->second);
    if (ours == journal_.claims().end()) {
      ++other_services_;
      continue;
    }
    const auto& [key, claim] = *ours;
    KUBE_LVS_ASSIGN_OR_RETURN(VirtualService service,
                              ReadRules(key, std::move(entry), claim.source_nat, stats));
    out.emplace(key, std::move(service));
  }
  ReadMarks(out, stats);
  return out;
}

absl::StatusOr<State> IpvsBackend::Read() {
  State out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.services, ReadOurs(nullptr));
  return out;
}

absl::StatusOr<ServiceReading> IpvsBackend::ReadServices(const std::set<ServiceKey>& keys) {
  ServiceReading out;
  for (const ServiceKey& key : keys) {
    const auto ours = journal_.claims().find(key);
    if (ours == journal_.claims().end()) continue;
    const auto answer = channel_.Ask(EncodeKey(Command::kGetService, InKernel(key)));
    if (absl::IsNotFound(answer.status())) continue;
    if (!answer.ok()) return Annotate(answer.status(), ToString(key));
    KUBE_LVS_ASSIGN_OR_RETURN(ServiceEntry entry, DecodeService(*answer));
    KUBE_LVS_ASSIGN_OR_RETURN(
        out.services[key], ReadRules(key, std::move(entry), ours->second.source_nat, &out.stats));
  }
  ReadMarks(out.services, &out.stats);
  return out;
}

absl::StatusOr<Stats> IpvsBackend::ReadStats() {
  Stats out;
  if (journal_.claims().empty()) return out;
  KUBE_LVS_RETURN_IF_ERROR(ReadOurs(&out).status());
  return out;
}

}  // namespace kube_lvs::ipvs
