// The election's wire: heartbeats over UDP, probes, and a clock that ticks. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "node-agent/peers/election.h"
#include "node-agent/peers/peers.h"
#include "node-agent/peers/probe.h"

namespace kube_lvs {

struct PeerLinkOptions {
  std::string node;
  uint16_t port = 8849;
  std::string key;                // empty: heartbeats are believed by their sender's address
  std::optional<IpAddress> bind;  // hear on this address only
};

struct PeerCounters {
  uint64_t sent = 0, received = 0;
  uint64_t garbage = 0, unauthenticated = 0, replayed = 0, strangers = 0;  // ignored ones
};

// Everything but Run is thread-safe.
class PeerLink final : public Peers {
 public:
  // `changed` is called, in Run's thread, when Claims changed. `prober` may be null: then a silent
  // agent is taken for a dead node.
  PeerLink(PeerLinkOptions options, std::unique_ptr<Prober> prober, const Clock& clock, Logger& log,
           std::function<void()> changed);

  void Adopt(const std::set<IpAddress>& vips) override;
  void Update(const PeerGroup& group, const std::set<IpAddress>& vips,
              const Readiness& readiness) override;
  std::set<IpAddress> Claims() override;
  std::map<std::string, PeerState> States() override;
  PeerCounters Counters() const;

  // Until `stop`; then tells the peers that it stops as planned, and returns OK. kUnavailable: the
  // port cannot be had.
  absl::Status Run(std::stop_token stop);

  // Instead of Run: tells the group that this node leaves it for good, and waits until peers have
  // taken `vips`, for `patience` at most (less if nobody is heard). kUnavailable: as Run.
  absl::Status Leave(const PeerGroup& group, const std::set<IpAddress>& vips, Duration patience);

 private:
  absl::Status Loop(std::stop_token stop, const std::function<bool()>& done);
  void Receive(int fd, Family family);
  void Tick(int v4, int v6);
  void SendFarewell(int v4, int v6);
  void Send(int v4, int v6, const Election::Due& due);
  void Send(int fd, const IpAddress& to, const std::vector<uint8_t>& bytes);
  void TellIfChanged();
  void Wake();

  const PeerLinkOptions options_;
  const std::unique_ptr<Prober> prober_;  // only used by Run
  const Clock& clock_;
  Logger& log_;
  const std::function<void()> changed_;

  const UniqueFd wake_;  // an eventfd: Run looks at once

  mutable std::mutex mu_;
  Election election_;                      // guarded by mu_
  bool active_ = false;                    // guarded by mu_: we are in a group
  std::optional<Election::Due> farewell_;  // guarded by mu_: to the group that we left
  PeerCounters counters_;                  // guarded by mu_
  std::set<IpAddress> told_;  // the claims at the last call of changed_; only used by Run
  std::map<std::string, PeerState> logged_;  // only used by Run
};

}  // namespace kube_lvs
