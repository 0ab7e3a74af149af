// The agents' wire: heartbeats of the election and questions to real servers over UDP, probes, and
// a clock that ticks. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "node-agent/peers/election.h"
#include "node-agent/peers/peers.h"
#include "node-agent/peers/probe.h"
#include "node-agent/peers/setup_peers.h"
#include "node-agent/peers/setup_questions.h"
#include "node-agent/peers/udp.h"

namespace kube_lvs {

struct PeerLinkOptions {
  std::string node;
  uint16_t port = 8849;
  // Empty: heartbeats are believed by their sender's address, answers by their nonce.
  std::string key;
  std::optional<IpAddress> bind;  // hear on this address only
};

struct PeerCounters {
  uint64_t sent = 0, received = 0;
  uint64_t garbage = 0, unauthenticated = 0, replayed = 0, strangers = 0;  // ignored ones
};

// Everything but Run is thread-safe.
class PeerLink final : public Peers, public SetupPeers {
 public:
  // `changed` is called, in Run's thread, when Claims changed, some are to be announced again, or a
  // real server's agent said something new. `prober` may be null: then a silent agent is taken for
  // a dead node.
  PeerLink(PeerLinkOptions options, std::unique_ptr<Prober> prober, const Clock& clock, Logger& log,
           std::function<void()> changed);

  void Adopt(const std::set<IpAddress>& vips) override;
  void Update(const PeerGroup& group, const std::set<IpAddress>& vips,
              const Readiness& readiness) override;
  std::set<IpAddress> Claims() override;
  std::set<IpAddress> TakeDoubtful() override;
  std::map<std::string, PeerState> States() override;
  void Publish(HeldSetups held) override;
  void Ask(const IpAddress& director, const std::set<SetupQuestion>& questions) override;
  Answers Heard() override;
  uint16_t Port() const override { return options_.port; }
  PeerCounters Counters() const;

  // Until `stop`; then tells the peers that it stops as planned, and returns OK. kUnavailable: the
  // port cannot be had.
  absl::Status Run(std::stop_token stop);

  // Instead of Run: tells the group that this node leaves it for good, and waits until peers have
  // taken `vips`, for `patience` at most (less if nobody is heard). kUnavailable: as Run.
  absl::Status Leave(const PeerGroup& group, const std::set<IpAddress>& vips, Duration patience);

 private:
  absl::Status Loop(std::stop_token stop, const std::function<bool()>& done);
  UdpSocket& SocketFor(const IpAddress& peer) { return peer.IsV4() ? v4_ : v6_; }
  void Receive(UdpSocket& socket);
  void OnHeartbeat(std::span<const uint8_t> bytes, const IpAddress& from);
  void OnSetupQuery(std::span<const uint8_t> bytes, const UdpSocket::Datagram& datagram);
  void OnSetupAnswer(std::span<const uint8_t> bytes);
  void Refuse(const absl::Status& status);  // counts a message that cannot be read
  void Tick();
  void SendFarewell();
  void Send(const Election::Due& due);
  void AskAgents();
  void TellIfChanged();
  void Wake();

  const PeerLinkOptions options_;
  const std::unique_ptr<Prober> prober_;  // only used by Run
  const Clock& clock_;
  Logger& log_;
  const std::function<void()> changed_;
  const UniqueFd wake_;  // an eventfd: Run looks at once
  UdpSocket v4_, v6_;    // only used by Run
  bool news_ = false;    // of real servers, not told yet; only used by Run

  mutable std::mutex mu_;
  Election election_;                       // guarded by mu_
  std::set<IpAddress> doubtful_;            // guarded by mu_: claims to announce again
  bool active_ = false;                     // guarded by mu_: we are in a group
  std::optional<Election::Due> farewell_;   // guarded by mu_: to the group that we left
  SetupQuestions questions_;                // guarded by mu_
  std::shared_ptr<const HeldSetups> held_;  // guarded by mu_; null before the first Publish
  PeerCounters counters_;                   // guarded by mu_
  std::set<IpAddress> told_;  // the claims at the last call of changed_; only used by Run
  std::map<std::string, PeerState> logged_;  // only used by Run
};

}  // namespace kube_lvs
