#include "node-agent/peers/election.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "node-agent/peers/ownership.h"

namespace kube_lvs {

namespace {

constexpr uint64_t kFirstProbes = 16;  // heartbeats from one to the next, until one is answered
// Longer than a service takes to be programmed at the second or third try.
constexpr Duration kPatience = std::chrono::seconds(1);
constexpr TimePoint kAlways = TimePoint::min();

const IpAddress& VipIn(const IpAddress& vip) { return vip; }
const IpAddress& VipIn(const std::pair<const IpAddress, TimePoint>& entry) { return entry.first; }

// Takes out of what is known what lies within the part and is not in it.
template <typename Known>
std::set<IpAddress> Forget(const VipPart& part, Known& known) {
  std::set<IpAddress> forgotten;
  if (part.vips.empty() && part.total == 0) {
    for (const auto& entry : known) forgotten.insert(VipIn(entry));
    known.clear();
  }
  if (part.vips.empty() || !std::is_sorted(part.vips.begin(), part.vips.end())) return forgotten;
  const bool to_end = uint64_t{part.first} + part.vips.size() >= part.total;
  auto it = part.first == 0 ? known.begin() : known.lower_bound(part.vips.front());
  const auto last = to_end ? known.end() : known.upper_bound(part.vips.back());
  while (it != last) {
    const bool named = std::binary_search(part.vips.begin(), part.vips.end(), VipIn(*it));
    if (!named) forgotten.insert(VipIn(*it));
    it = named ? std::next(it) : known.erase(it);
  }
  return forgotten;
}

VipPart NextPart(const std::set<IpAddress>& vips, size_t most, uint32_t& next) {
  VipPart part;
  part.total = static_cast<uint32_t>(vips.size());
  if (next >= vips.size()) next = 0;
  part.first = next;
  auto it = std::next(vips.begin(), next);
  while (it != vips.end() && part.vips.size() < most) part.vips.push_back(*it++);
  next += static_cast<uint32_t>(part.vips.size());
  return part;
}

}  // namespace

std::string ToString(PeerState state) {
  switch (state) {
    case PeerState::kUnheard:
      return "unheard";
    case PeerState::kAlive:
      return "alive";
    case PeerState::kAgentSilent:
      return "agent silent";
    case PeerState::kDead:
      return "dead";
  }
  return "unknown";
}

Election::Election(std::string self, uint64_t incarnation)
    : self_(std::move(self)), incarnation_(incarnation) {}

void Election::SetGroup(const PeerGroup& group, TimePoint now) {
  if (!has_group_ || group.name != group_.name) {
    has_group_ = true;
    started_ = last_tick_ = judge_from_ = now;
    peers_.clear();
  }
  std::map<std::string, Peer> peers;
  for (const PeerMember& member : group.members) {
    if (member.node == self_) continue;
    const auto known = peers_.find(member.node);
    if (known != peers_.end() && known->second.member == member) {
      peers.insert(*known);
    } else {
      Peer peer;
      peer.member = member;
      peer.last_heartbeat = now;
      peers.emplace(member.node, std::move(peer));
    }
  }
  peers_ = std::move(peers);
  group_ = group;
}

void Election::SetVips(std::set<IpAddress> vips) { vips_ = std::move(vips); }
void Election::Adopt(std::set<IpAddress> vips) {
  doubtful_ = vips;  // a fellow may have taken them while no agent was here
  adopted_ = std::move(vips);
}
void Election::SetReady(bool ready, const std::set<IpAddress>& unable, TimePoint now) {
  std::erase_if(unable_, [&unable](const auto& entry) { return !unable.contains(entry.first); });
  for (const IpAddress& vip : unable) unable_.emplace(vip, ready_ ? now : kAlways);
  ready_ = ready;
}
void Election::Stop() { stopping_ = true; }
void Election::Leave() { leaving_ = true; }

Election::Verdict Election::OnHeartbeat(const Heartbeat& heartbeat, TimePoint now) {
  const auto it = peers_.find(heartbeat.node);
  if (it == peers_.end() || heartbeat.group != group_.name) return Verdict::kNotAMember;
  Peer& peer = it->second;
  if (peer.heard &&
      (heartbeat.incarnation < peer.incarnation ||
       (heartbeat.incarnation == peer.incarnation && heartbeat.sequence <= peer.sequence))) {
    return Verdict::kReplayed;
  }
  const bool anew = heartbeat.incarnation != peer.incarnation;
  // One that did not hear us either may have taken any of them.
  if (!heartbeat.leaving && StateOf(peer, now) != PeerState::kAlive) doubtful_ = vips_;
  if (anew) {
    doubtful_.merge(peer.claims);
    peer.claims.clear();
    peer.unable.clear();
  }
  const bool was_ready = peer.ready && !anew;
  peer.heard = true;
  peer.last_heartbeat = now;
  peer.answered = false;
  peer.incarnation = heartbeat.incarnation;
  peer.sequence = heartbeat.sequence;
  peer.epoch = heartbeat.epoch;
  peer.ready = heartbeat.ready;
  peer.stopping = heartbeat.stopping;
  peer.leaving = heartbeat.leaving;

  doubtful_.merge(Forget(heartbeat.claims, peer.claims));
  peer.claims.insert(heartbeat.claims.vips.begin(), heartbeat.claims.vips.end());
  Forget(heartbeat.unable, peer.unable);
  for (const IpAddress& vip : heartbeat.unable.vips) {
    peer.unable.emplace(vip, was_ready ? now : kAlways);
  }
  // A peer with more of them than VIPs exist is lying; its lists must not grow without bound.
  if (peer.claims.size() > vips_.size() + kMaxClaimsPerHeartbeat) {
    std::erase_if(peer.claims, [this](const IpAddress& vip) { return !vips_.contains(vip); });
  }
  if (peer.unable.size() > vips_.size() + kMaxUnablePerHeartbeat) {
    std::erase_if(peer.unable, [this](const auto& entry) { return !vips_.contains(entry.first); });
  }
  return Verdict::kAccepted;
}

void Election::OnProbeAnswer(const IpAddress& from, TimePoint now) {
  for (auto& [node, peer] : peers_) {
    if (peer.member.address == from) {
      peer.last_answer = now;
      peer.answered = peer.ever_answered = true;
    }
  }
}

PeerState Election::StateOf(const Peer& peer, TimePoint now) const {
  if (peer.leaving) return PeerState::kDead;
  const Duration detection = group_.Detection();
  const TimePoint since = std::max(peer.last_heartbeat, judge_from_);
  if (now - since <= detection) return peer.heard ? PeerState::kAlive : PeerState::kUnheard;
  if (now - peer.last_heartbeat > group_.grace + detection) return PeerState::kDead;
  if (!peer.answered) {
    // Where probes are filtered, an announced stop is believed; where they are not, whoever stops
    // may also be a node that goes down.
    const bool believed = !peer.ever_answered || now - since <= detection * 2;
    return peer.stopping && believed ? PeerState::kAgentSilent : PeerState::kDead;
  }
  return now - std::max(peer.last_answer, judge_from_) <= detection ? PeerState::kAgentSilent
                                                                    : PeerState::kDead;
}

bool Election::Settled(TimePoint now) const {
  return peers_.empty() || now - started_ > group_.Detection();
}

bool Election::Ready(TimePoint now) const {
  // Adopted VIPs are answered already. Not to be ready would make the peers take them.
  return Settled(now) ? ready_ : !adopted_.empty();
}

std::set<std::string> Election::Candidates(TimePoint now) const {
  std::set<std::string> candidates;
  for (const auto& [node, peer] : peers_) {
    switch (StateOf(peer, now)) {
      case PeerState::kAlive:
        if (peer.ready) candidates.insert(node);
        break;
      case PeerState::kAgentSilent:
        // One that we never heard may answer for its VIPs all the same.
        if (peer.ready || !peer.heard) candidates.insert(node);
        break;
      case PeerState::kUnheard:
      case PeerState::kDead:
        break;
    }
  }
  if (Ready(now)) candidates.insert(self_);
  std::set<std::string> in_service;
  for (const std::string& node : candidates) {
    if (!group_.maintenance.contains(node)) in_service.insert(node);
  }
  if (!in_service.empty()) candidates = std::move(in_service);
  // Nobody is ready: better one that may be half programmed than silence.
  if (candidates.empty() && Settled(now)) candidates.insert(self_);
  return candidates;
}

const Election::Since& Election::UnableOf(const std::string& node) const {
  return node == self_ ? unable_ : peers_.at(node).unable;
}

std::string Election::Owner(const IpAddress& vip, const std::set<std::string>& candidates,
                            TimePoint now) const {
  const std::string best = OwnerOf(vip, candidates);
  if (best.empty() || !UnableOf(best).contains(vip)) return best;
  std::vector<std::string> by_right(candidates.begin(), candidates.end());
  std::sort(by_right.begin(), by_right.end(), [&vip](const std::string& a, const std::string& b) {
    return HasBetterRight(a, b, vip);
  });
  const Duration patience = std::max(kPatience, group_.Detection());
  TimePoint given_up = kAlways;  // when all with a better right had given it up
  for (const std::string& node : by_right) {
    const Since& unable = UnableOf(node);
    const auto since = unable.find(vip);
    if (since == unable.end()) return node;
    if (since->second < given_up) continue;
    if (now - patience < since->second) return node;
    given_up = since->second + patience;
  }
  return best;
}

std::set<IpAddress> Election::Claims(TimePoint now) const {
  std::set<IpAddress> claims;
  if (!has_group_ || leaving_) return claims;
  const bool member = std::any_of(group_.members.begin(), group_.members.end(),
                                  [this](const PeerMember& m) { return m.node == self_; });
  if (!member) return claims;
  const bool settled = Settled(now);
  const std::set<std::string> candidates = Candidates(now);
  std::vector<const Peer*> alive;
  for (const auto& [node, peer] : peers_) {
    if (StateOf(peer, now) == PeerState::kAlive) alive.push_back(&peer);
  }
  for (const IpAddress& vip : vips_) {
    const bool kept = adopted_.contains(vip) && !settled;
    const std::string owner = Owner(vip, candidates, now);
    if (!kept && owner != self_) continue;
    if (!settled && !adopted_.contains(vip)) continue;
    const bool yields = std::any_of(alive.begin(), alive.end(), [&](const Peer* peer) {
      if (!peer->claims.contains(vip)) return false;
      if (peer->epoch != group_.epoch) return peer->epoch > group_.epoch;
      // A claim of one that may not own it is being withdrawn as it hears us. Where nobody is
      // ready, it is not: then the better right decides alone.
      const bool stays = (owner != self_ && candidates.contains(peer->member.node)) ||
                         !candidates.contains(self_) || (!peer->ready && !Ready(now));
      return stays && HasBetterRight(peer->member.node, self_, vip);
    });
    if (!yields) claims.insert(vip);
  }
  return claims;
}

Heartbeat Election::Header() {
  Heartbeat message;
  message.group = group_.name;
  message.node = self_;
  message.epoch = group_.epoch;
  message.incarnation = incarnation_;
  message.sequence = ++sequence_;
  message.stopping = stopping_;
  message.leaving = leaving_;
  return message;
}

Election::Due Election::Farewell() {
  Due due;
  due.message = Header();
  due.message.leaving = true;
  for (const auto& [node, peer] : peers_) due.to.push_back(peer.member);
  return due;
}

Election::Due Election::Tick(TimePoint now) {
  Due due;
  if (!has_group_) return due;
  if (now - last_tick_ > group_.interval * 2) judge_from_ = now;
  if (now - last_tick_ > group_.Detection()) doubtful_ = vips_;
  last_tick_ = now;
  for (auto& [node, peer] : peers_) {
    if (StateOf(peer, now) == PeerState::kDead) {
      doubtful_.merge(peer.claims);
      peer.claims.clear();
    }
    due.to.push_back(peer.member);
    // Whether its node answers probes at all must be known before it falls silent.
    const bool unknown = !peer.ever_answered && sequence_ % kFirstProbes == 0;
    if (unknown || now - peer.last_heartbeat > group_.interval * 3 / 2) {
      due.probe.push_back(peer.member);
    }
  }
  const std::set<IpAddress> claims = Claims(now);
  due.message = Header();
  Heartbeat& message = due.message;
  message.ready = !leaving_ && Ready(now);
  message.claims = NextPart(claims, kMaxClaimsPerHeartbeat, next_claim_);
  std::set<IpAddress> unable;
  if (Settled(now)) {
    for (const auto& [vip, since] : unable_) unable.insert(vip);
  } else if (message.ready) {
    // It does not take what it had not before: until it does, the peers shall keep that.
    std::set_difference(vips_.begin(), vips_.end(), adopted_.begin(), adopted_.end(),
                        std::inserter(unable, unable.end()));
  }
  message.unable = NextPart(unable, kMaxUnablePerHeartbeat, next_unable_);
  return due;
}

std::set<IpAddress> Election::TakeDoubtful(TimePoint now) {
  std::set<IpAddress> taken;
  if (doubtful_.empty()) return taken;
  const std::set<IpAddress> claims = Claims(now);
  std::set_intersection(claims.begin(), claims.end(), doubtful_.begin(), doubtful_.end(),
                        std::inserter(taken, taken.end()));
  // Whatever else we come to claim is announced then.
  if (Settled(now)) {
    doubtful_.clear();
  } else {
    for (const IpAddress& vip : taken) doubtful_.erase(vip);
  }
  return taken;
}

std::set<IpAddress> Election::ClaimedByPeers(TimePoint now) const {
  std::set<IpAddress> claims;
  for (const auto& [node, peer] : peers_) {
    if (StateOf(peer, now) == PeerState::kAlive) {
      claims.insert(peer.claims.begin(), peer.claims.end());
    }
  }
  return claims;
}

std::map<std::string, PeerState> Election::Peers(TimePoint now) const {
  std::map<std::string, PeerState> states;
  for (const auto& [node, peer] : peers_) states.emplace(node, StateOf(peer, now));
  return states;
}

}  // namespace kube_lvs
