// Which service already has packets that another would take. Pure.
#pragma once

#include "node-agent/desired/desired.h"

namespace kube_lvs {

// An owned key that overlaps `key`; end() if none does. Looks at those of the same VIP alone.
Owners::const_iterator FindOverlap(const Owners& owners, const ServiceKey& key);

}  // namespace kube_lvs
