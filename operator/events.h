// What is told as Events when a status changes. Pure.
#pragma once

#include <optional>
#include <vector>

#include "kube/api/types.h"
#include "kube/events.h"

namespace kube_lvs::controller {

// `before`: the object with the status that it had. A condition that says the same as before is
// not told again.
std::vector<kube::Event> ServiceEvents(const api::LvsService& before,
                                       const api::LvsServiceStatus& after);
std::optional<kube::Event> PoolEvent(const api::LvsAddressPool& before,
                                     const api::LvsAddressPool::Status& after);
std::optional<kube::Event> GroupEvent(const api::LvsDirectorGroup& before,
                                      const api::LvsDirectorGroup::Status& after);

}  // namespace kube_lvs::controller
