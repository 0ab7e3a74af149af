// The seam between the loop and the election among directors.
#pragma once

#include <map>
#include <set>
#include <string>

#include "node-agent/peers/election.h"

namespace kube_lvs {

// What a director's dataplane can do now.
struct Readiness {
  bool ready = false;          // it is programmed
  std::set<IpAddress> unable;  // but for these VIPs: a fellow director may be able to serve them
  bool operator==(const Readiness&) const = default;
};

// Thread-safe.
class Peers {
 public:
  virtual ~Peers() = default;

  // Before the first Update: the VIPs that the kernel answers for from before this process.
  virtual void Adopt(const std::set<IpAddress>& vips) = 0;

  // What the objects say now. An empty group name: this node directs nothing.
  virtual void Update(const PeerGroup& group, const std::set<IpAddress>& vips,
                      const Readiness& readiness) = 0;

  // The VIPs to answer for now.
  virtual std::set<IpAddress> Claims() = 0;

  // Those of them to announce again: a fellow may have answered for them until now. Each is told
  // once.
  virtual std::set<IpAddress> TakeDoubtful() = 0;

  virtual std::map<std::string, PeerState> States() = 0;
};

}  // namespace kube_lvs
