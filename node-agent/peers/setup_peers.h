// The seam between the loop and the agents of real servers: it tells what this node holds as one,
// and asks what others hold.
#pragma once

#include <map>
#include <set>

#include "node-agent/peers/setup.h"

namespace kube_lvs {

// Thread-safe.
class SetupPeers {
 public:
  virtual ~SetupPeers() = default;

  // What to answer directors from now on. Before the first call nothing is ready.
  virtual void Publish(HeldSetups held) = 0;

  // All that is to be asked from now on, again and again, by the director at that address. The loop
  // is woken when an answer says something new.
  virtual void Ask(const IpAddress& director, const std::set<SetupQuestion>& questions) = 0;

  struct Answers {
    std::map<SetupQuestion, SetupReply> replies;  // to what is asked
    std::set<IpAddress> agents;                   // whence anything was ever answered
  };
  virtual Answers Heard() = 0;

  virtual uint16_t Port() const = 0;  // UDP, to name in messages
};

}  // namespace kube_lvs
