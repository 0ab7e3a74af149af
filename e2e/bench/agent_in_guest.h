// An agent whose store of objects and loop are the real ones, with the dataplane that it is given;
// facts, peers and the host's items are in memory, so that what is measured is the agent and its
// dataplane. The node has an uplink eth0 with 192.0.2.1/24.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "dataplane/model/backend.h"
#include "dataplane/model/state.h"

namespace kube_lvs::bench {

class AgentInGuest {
 public:
  // As a process that starts, on a node that holds `items`: for objects that mean `wanted`. Borrows
  // `dataplane`.
  // `backends`: whether they name their real servers, or a Service of Kubernetes for each.
  enum class Backends { kStatic, kServices };
  AgentInGuest(Backend& dataplane, const State& wanted, std::set<NodeItem> items,
               Backends backends = Backends::kStatic);
  ~AgentInGuest();

  const std::set<NodeItem>& items() const;

  // A pass over everything. False: it did not leave everything as desired.
  bool Pass();
  // The line by which the API server would tell that the first real server of the service at
  // `index` has this weight.
  std::string EventOfWeight(size_t index, uint32_t weight) const;
  // The same of an EndpointSlice in which the first real server of that service is not ready, or is
  // again.
  std::string EventOfReadiness(size_t index, bool ready) const;
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
