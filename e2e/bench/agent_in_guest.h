// An agent whose loop, backend and journal are the real ones, and IPVS this namespace's; objects,
// facts, peers and the host's items are in memory, so that what is measured is the loop and IPVS.
#pragma once

#include <cstdint>
#include <memory>
#include <set>

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
  // The object of the service at `index` gives its first real server this weight: what a source's
  // thread does with an event.
  void PutWeight(size_t index, uint32_t weight);
  // The loop takes the changed objects. False: it had to pass over everything, or did not arrive.
  bool TakeChange();
  // The cheap look. False: it had to pass over everything.
  bool Look();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kube_lvs::bench
