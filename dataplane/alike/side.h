// One dataplane in a network namespace of its own, with a wire to put frames on and to see what
// comes back. For tests: what fails aborts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "dataplane/ebpf/packet_tests/frame.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::alike {

// Clients 10.1.0.1 to .40; real servers 10.1.200.1 to .250, of which only MAC addresses are there.
class Side {
 public:
  Side();
  virtual ~Side() = default;

  virtual std::string Name() const = 0;
  virtual void Apply(const std::vector<Step>& steps) = 0;
  virtual State Read() = 0;
  virtual Stats ReadStats() = 0;

  // Sends a client's packet. The last number of the address of the real server that it is sent on
  // to; 0 if it is refused.
  int Send(const ebpf::Frame& frame);

 protected:
  // Whether a packet was refused since the last call, with or without an answer.
  virtual bool RefusedOne() { return false; }

  const ebpf::Namespace& network() const { return network_; }

 private:
  ebpf::Namespace network_;
  UniqueFd wire_;
  uint16_t sent_ = 0;
};

}  // namespace kube_lvs::alike
