// Who answers for which VIP, as one director sees it. Pure: events and the time go in, claims and
// messages come out.
//
// Owner of a VIP = OwnerOf(vip, candidates). Candidates are the group's members that are there and
// ready; every director computes the same once it hears the same. A director claims what it owns,
// except while a peer with a better right claims it too, and announces its claims in heartbeats.
//
// * A candidate may say that it cannot serve some of the VIPs. Each is given up when that has
//   lasted for the patience, and goes to the next candidate that did not say the same before it
//   could have had the VIP; if there is none, it stays. So neither a short failure nor one that
//   all directors have, each a little later than the other, moves anything.
// * A member whose heartbeats stop for `misses` intervals is dead if its node does not answer
//   probes either. If it answers, only its agent is gone and its dataplane still works: it keeps
//   its VIPs for the grace. So it does after announcing a stop if its node never answered a probe.
//   One that leaves for good is dead as soon as it says so.
// * A director that starts claims nothing for one detection time, except VIPs that its kernel
//   still answers for from before the restart (Adopt).
// * Members that were never heard count as silent from our start on.
// * When this director itself was late (suspended, starved), it judges nobody until it has listened
//   for another detection time.
// * Two may answer for a VIP for a moment: while they do not hear each other, or as one starts.
//   Neighbours stay with the one they heard last, so whoever keeps the VIP announces it again once
//   the other may have stopped (TakeDoubtful).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "node-agent/peers/message.h"

namespace kube_lvs {

struct PeerMember {
  std::string node;
  IpAddress address;
  bool operator==(const PeerMember&) const = default;
};

// What the election needs of an LVSDirectorGroup.
struct PeerGroup {
  std::string name;
  int64_t epoch = 0;
  std::vector<PeerMember> members;  // may include ourselves
  std::set<std::string> maintenance;
  Duration interval = std::chrono::milliseconds(100);
  int misses = 3;
  Duration grace = std::chrono::seconds(10);
  bool operator==(const PeerGroup&) const = default;

  Duration Detection() const { return interval * misses; }
};

enum class PeerState { kUnheard, kAlive, kAgentSilent, kDead };
std::string ToString(PeerState state);

// Not thread-safe.
class Election {
 public:
  // `incarnation` must rise from one process of this node to the next (nanoseconds of wall time).
  Election(std::string self, uint64_t incarnation);

  void SetGroup(const PeerGroup& group, TimePoint now);
  void SetVips(std::set<IpAddress> vips);  // all that the group serves
  void Adopt(std::set<IpAddress> vips);    // what our kernel answers for from before
  // Our dataplane is programmed, but for what these VIPs need. Who becomes ready without them never
  // could serve them, and gives them up at once.
  void SetReady(bool ready, const std::set<IpAddress>& unable, TimePoint now);
  void Stop();   // a planned stop: from now on messages say so
  void Leave();  // for good: the same, and we claim nothing more

  enum class Verdict { kAccepted, kNotAMember, kReplayed };
  Verdict OnHeartbeat(const Heartbeat& heartbeat, TimePoint now);
  void OnProbeAnswer(const IpAddress& from, TimePoint now);

  struct Due {
    Heartbeat message;
    std::vector<PeerMember> to;
    std::vector<PeerMember> probe;  // whose node to probe: their agents are late
  };
  // Call once an interval.
  Due Tick(TimePoint now);

  // The last message to those that are our peers by now, as after Leave().
  Due Farewell();

  // The VIPs to answer for now.
  std::set<IpAddress> Claims(TimePoint now) const;
  // Those of them that a peer may have answered for until now. Each is told once.
  std::set<IpAddress> TakeDoubtful(TimePoint now);
  // Those that peers which are there answer for.
  std::set<IpAddress> ClaimedByPeers(TimePoint now) const;

  std::map<std::string, PeerState> Peers(TimePoint now) const;
  const PeerGroup& group() const { return group_; }

 private:
  using Since = std::map<IpAddress, TimePoint>;  // that cannot be served, and from when on

  struct Peer {
    PeerMember member;
    bool heard = false;
    TimePoint last_heartbeat{};  // or when we began to listen for it
    TimePoint last_answer{};     // to a probe
    bool answered = false;       // since the last heartbeat
    bool ever_answered = false;
    uint64_t incarnation = 0, sequence = 0;
    int64_t epoch = 0;
    bool ready = false, stopping = false, leaving = false;
    std::set<IpAddress> claims;
    Since unable;
  };

  PeerState StateOf(const Peer& peer, TimePoint now) const;
  std::set<std::string> Candidates(TimePoint now) const;
  const Since& UnableOf(const std::string& node) const;
  std::string Owner(const IpAddress& vip, const std::set<std::string>& candidates,
                    TimePoint now) const;
  bool Settled(TimePoint now) const;
  bool Ready(TimePoint now) const;
  Heartbeat Header();

  const std::string self_;
  const uint64_t incarnation_;
  PeerGroup group_;
  bool has_group_ = false;
  bool ready_ = false;
  bool stopping_ = false, leaving_ = false;
  std::set<IpAddress> vips_;
  std::set<IpAddress> adopted_;
  std::set<IpAddress> doubtful_;
  Since unable_;
  std::map<std::string, Peer> peers_;  // by node, without ourselves
  TimePoint started_{};                // of listening
  TimePoint last_tick_{};
  TimePoint judge_from_{};
  uint64_t sequence_ = 0;
  uint32_t next_claim_ = 0, next_unable_ = 0;  // where the next message's parts begin
};

}  // namespace kube_lvs
