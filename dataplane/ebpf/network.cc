#include "dataplane/ebpf/network.h"

#include <algorithm>

namespace kube_lvs::ebpf {

bool CarriesVlans(const Link& link, std::span<const Link> links) {
  return std::ranges::any_of(links, [&link](const Link& other) {
    return other.kind == "vlan" && other.lower != 0 &&
           (other.lower == link.index || other.lower == link.master);
  });
}

}  // namespace kube_lvs::ebpf
