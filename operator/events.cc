#include "operator/events.h"

#include <string>

#include "kube/api/kinds.h"
#include "operator/allocate.h"
#include "operator/conditions.h"

namespace kube_lvs::controller {
namespace {

kube::EventTarget About(const kube::Resource& resource, const api::ObjectMeta& meta) {
  return {.api_version = api::kApiVersion,
          .kind = std::string(resource.kind),
          .object = {meta.name_space, meta.name},
          .uid = meta.uid};
}

bool Says(const api::Condition* was, const api::Condition& is) {
  return was != nullptr && was->status == is.status && was->reason == is.reason;
}

// Whether a pool or a group ceased to be ready, or is not for another reason.
bool Worse(const std::vector<api::Condition>& before, const api::Condition& is) {
  const api::Condition* was = FindCondition(before, "Ready");
  return is.status == "False" && (was == nullptr || was->reason != is.reason);
}

}  // namespace

std::vector<kube::Event> ServiceEvents(const api::LvsService& before,
                                       const api::LvsServiceStatus& after) {
  std::vector<kube::Event> out;
  for (const api::Condition& condition : after.conditions) {
    if (Says(FindCondition(before.status.conditions, condition.type), condition)) continue;
    kube::Event event{.about = About(api::kLvsServices, before.meta),
                      .type = kube::EventType::kWarning,
                      .reason = condition.reason,
                      .message = condition.message};
    const bool told = condition.type == "Accepted" || condition.type == "AddressesAssigned" ||
                      condition.type == "Programmed";
    if (condition.type == "AddressesAssigned" && condition.status == "True") {
      if (condition.reason == kAssigned) {
        event.type = kube::EventType::kNormal;
        event.reason = "AddressAssigned";
      }
      out.push_back(std::move(event));
    } else if (told && condition.status == "False") {
      out.push_back(std::move(event));
    }
  }
  return out;
}

std::optional<kube::Event> PoolEvent(const api::LvsAddressPool& before,
                                     const api::LvsAddressPool::Status& after) {
  const api::Condition& is = after.conditions.front();
  if (!Worse(before.status.conditions, is)) return std::nullopt;
  return kube::Event{.about = About(api::kLvsAddressPools, before.meta),
                     .type = kube::EventType::kWarning,
                     .reason = is.reason,
                     .message = is.message};
}

std::optional<kube::Event> GroupEvent(const api::LvsDirectorGroup& before,
                                      const api::LvsDirectorGroup::Status& after) {
  const api::Condition& is = after.conditions.front();
  const kube::EventTarget about = About(api::kLvsDirectorGroups, before.meta);
  if (Worse(before.status.conditions, is)) {
    return kube::Event{.about = about,
                       .type = kube::EventType::kWarning,
                       .reason = is.reason,
                       .message = is.message};
  }
  if (after.epoch == before.status.epoch) return std::nullopt;
  return kube::Event{.about = about,
                     .type = kube::EventType::kNormal,
                     .reason = "MembersChanged",
                     .message = std::to_string(after.members.size()) + " members in epoch " +
                                std::to_string(after.epoch)};
}

}  // namespace kube_lvs::controller
