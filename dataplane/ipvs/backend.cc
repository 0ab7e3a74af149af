#include "dataplane/ipvs/backend.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::ipvs {

ServiceKey IpvsBackend::InKernel(const ServiceKey& key) const {
  if (!IsOfManyPorts(key)) return key;
  const auto claim = journal_.claims().find(key);
  // Without a claim it is not there, and mark 0 finds nothing.
  const uint32_t mark = claim == journal_.claims().end() ? 0 : claim->second.mark;
  return {Dataplane::kIpvs, FwMark{mark, VipOf(key)->family}, Protocol::kTcp};
}

bool IpvsBackend::Takes(const Step& step) const {
  const ServiceKey* key = KeyOf(step);
  return key != nullptr && key->dataplane == Dataplane::kIpvs;
}

absl::StatusOr<std::vector<RealEntry>> IpvsBackend::RealsOf(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(auto reals, ReadReals(channel_, InKernel(key)));
  if (!reals.empty()) tells_tunnels_ = reals.front().tells_tunnel;
  return reals;
}

void IpvsBackend::ReadMarks(ServiceReading& out) {
  if (std::ranges::none_of(out.services, [](const auto& s) { return IsOfManyPorts(s.first); })) {
    return;
  }
  // Why it cannot be read is said when it is to be written.
  const MarkReading there = marks_.Read().value_or(MarkReading{});
  out.stats.replaced_marks = there.replaced;
  for (auto& [key, service] : out.services) {
    if (!IsOfManyPorts(key)) continue;
    const auto mark = there.marks.find(key);
    service.config.unreached =
        mark == there.marks.end() || mark->second != journal_.claims().at(key).mark;
  }
}

absl::Status IpvsBackend::ReadRules(const ServiceKey& key, ServiceEntry entry,
                                    ServiceReading& out) {
  VirtualService& service = out.services[key];
  service.config = std::move(entry.config);
  service.config.source_nat = journal_.claims().at(key).source_nat;
  if (entry.foreign) service.config.scheduler += " (changed by another program)";
  out.stats.services[key] = entry.counters;
  KUBE_LVS_ASSIGN_OR_RETURN(auto reals, RealsOf(key));
  for (RealEntry& real : reals) {
    if (real.foreign) real.real.method = static_cast<ForwardingMethod>(0xff);
    out.stats.reals[{key, real.real.at}] = {.counters = real.counters,
                                            .weight = real.real.weight,
                                            .active_connections = real.active_connections,
                                            .inactive_connections = real.inactive_connections};
    service.reals.push_back(std::move(real.real));
  }
  return absl::OkStatus();
}

absl::StatusOr<ServiceReading> IpvsBackend::ReadOurs() {
  ServiceReading out;
  std::map<ServiceKey, ServiceKey> ours;  // as the kernel has them -> as we do
  for (const auto& [key, kept] : journal_.claims()) ours.emplace(InKernel(key), key);
  KUBE_LVS_ASSIGN_OR_RETURN(auto services, ipvs::ReadServices(channel_));
  for (ServiceEntry& entry : services) {
    const auto key = ours.find(entry.key);
    if (key == ours.end()) continue;
    KUBE_LVS_RETURN_IF_ERROR(ReadRules(key->second, std::move(entry), out));
  }
  ReadMarks(out);
  return out;
}

absl::StatusOr<State> IpvsBackend::Read() {
  State out;
  if (journal_.claims().empty()) {
    KUBE_LVS_RETURN_IF_ERROR(channel_.Ask(EncodePlain(Command::kGetInfo)).status());
    return out;
  }
  KUBE_LVS_ASSIGN_OR_RETURN(ServiceReading reading, ReadOurs());
  out.services = std::move(reading.services);
  return out;
}

absl::StatusOr<ServiceReading> IpvsBackend::ReadServices(const std::set<ServiceKey>& keys) {
  ServiceReading out;
  for (const ServiceKey& key : keys) {
    if (!journal_.Owns(key)) continue;
    const auto answer = channel_.Ask(EncodeKey(Command::kGetService, InKernel(key)));
    if (absl::IsNotFound(answer.status())) continue;
    if (!answer.ok()) return Annotate(answer.status(), ToString(key));
    KUBE_LVS_ASSIGN_OR_RETURN(ServiceEntry entry, DecodeService(*answer));
    KUBE_LVS_RETURN_IF_ERROR(ReadRules(key, std::move(entry), out));
  }
  ReadMarks(out);
  return out;
}

absl::StatusOr<Stats> IpvsBackend::ReadStats() {
  if (journal_.claims().empty()) return Stats{};
  KUBE_LVS_ASSIGN_OR_RETURN(ServiceReading reading, ReadOurs());
  return std::move(reading.stats);
}

}  // namespace kube_lvs::ipvs
