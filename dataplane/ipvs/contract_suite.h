// What a channel to IPVS and the backend upon it promise, whatever is below. A program links this
// with one definition of MakeKernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/ipvs/channel.h"
#include "dataplane/ipvs/marks.h"
#include "dataplane/ipvs/schedulers.h"

namespace kube_lvs::ipvs {

// A kernel without services, of this test alone.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual Channel& channel() = 0;
  virtual MarkTable& marks() = 0;
  virtual uint64_t changes_sent() const = 0;
  // /proc/net/ip_vs
  virtual absl::StatusOr<std::string> Show() = 0;
  // Of this node.
  virtual SchedulerCheck Check() const = 0;
  // The name of an interface that is up, with an MTU of 1500 and an address of each IP family.
  virtual std::string Interface() = 0;
};

std::unique_ptr<Kernel> MakeKernel();

}  // namespace kube_lvs::ipvs
