// An agent whose store of objects, loop, backend and journal are the real ones, with whichever IPVS
// its backend has; facts, peers and the host's items are in memory, so that what is measured is the
// agent and IPVS.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "dataplane/ipvs/backend.h"
#include "dataplane/model/state.h"

namespace kube_lvs::bench {

class AgentInGuest {
 public:
  // As a process that starts, on a node that holds `items`: for objects that mean `wanted`. Borrows
  // `ipvs`.
  AgentInGuest(ipvs::IpvsBackend& ipvs, const State& wanted, std::set<NodeItem> items);
  ~AgentInGuest();

  const std::set<NodeItem>& items() const;

  // A pass over everything. False: it did not leave everything as desired.
  bool Pass();
  // The line by which the API server would tell that the first real server of the service at
  // `index` has this weight.
  std::string EventOfWeight(size_t index, uint32_t weight) const;
  // From such a line, as a source's thread takes it, to what the loop does about it. False: the
  // loop had to pass over everything, or did not arrive.
  bool TakeEvent(std::string_view line);
  // The cheap look. False: it had to pass over everything.
  bool Look();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kube_lvs::bench
