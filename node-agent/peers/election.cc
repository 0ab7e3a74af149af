#include "node-agent/peers/election.h"

#include <algorithm>
#include <utility>

#include "node-agent/peers/ownership.h"

namespace kube_lvs {

namespace {

constexpr uint64_t kFirstProbes = 16;  // heartbeats from one to the next, until one is answered

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
void Election::Adopt(std::set<IpAddress> vips) { adopted_ = std::move(vips); }
void Election::SetReady(bool ready) { ready_ = ready; }
void Election::Stop() { stopping_ = true; }

Election::Verdict Election::OnHeartbeat(const Heartbeat& heartbeat, TimePoint now) {
  const auto it = peers_.find(heartbeat.node);
  if (it == peers_.end() || heartbeat.group != group_.name) return Verdict::kNotAMember;
  Peer& peer = it->second;
  if (peer.heard &&
      (heartbeat.incarnation < peer.incarnation ||
       (heartbeat.incarnation == peer.incarnation && heartbeat.sequence <= peer.sequence))) {
    return Verdict::kReplayed;
  }
  if (heartbeat.incarnation != peer.incarnation) peer.claims.clear();
  peer.heard = true;
  peer.last_heartbeat = now;
  peer.answered = false;
  peer.incarnation = heartbeat.incarnation;
  peer.sequence = heartbeat.sequence;
  peer.epoch = heartbeat.epoch;
  peer.ready = heartbeat.ready;
  peer.stopping = heartbeat.stopping;

  // The message holds a part of the sender's ordered list: forget what lies within that part and
  // is not in it.
  const bool from_start = heartbeat.first_claim == 0;
  const bool to_end =
      uint64_t{heartbeat.first_claim} + heartbeat.claims.size() >= heartbeat.total_claims;
  auto first = peer.claims.begin();
  auto last = peer.claims.end();
  if (!heartbeat.claims.empty()) {
    if (!from_start) first = peer.claims.lower_bound(heartbeat.claims.front());
    if (!to_end) last = peer.claims.upper_bound(heartbeat.claims.back());
    const bool in_order = std::is_sorted(heartbeat.claims.begin(), heartbeat.claims.end());
    if (in_order) peer.claims.erase(first, last);
    peer.claims.insert(heartbeat.claims.begin(), heartbeat.claims.end());
  } else if (heartbeat.total_claims == 0) {
    peer.claims.clear();
  }
  // A peer with more claims than VIPs exist is lying; its list must not grow without bound.
  if (peer.claims.size() > vips_.size() + kMaxClaimsPerHeartbeat) {
    std::erase_if(peer.claims, [this](const IpAddress& vip) { return !vips_.contains(vip); });
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

std::set<IpAddress> Election::Claims(TimePoint now) const {
  std::set<IpAddress> claims;
  if (!has_group_) return claims;
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
    if (!kept && OwnerOf(vip, candidates) != self_) continue;
    if (!settled && !adopted_.contains(vip)) continue;
    const bool yields = std::any_of(alive.begin(), alive.end(), [&](const Peer* peer) {
      if (!peer->claims.contains(vip)) return false;
      if (peer->epoch != group_.epoch) return peer->epoch > group_.epoch;
      // A claim of one that may not own it is being withdrawn as it hears us. Where nobody is
      // ready, it is not: then the better right decides alone.
      const bool stays = candidates.contains(peer->member.node) || !candidates.contains(self_) ||
                         (!peer->ready && !Ready(now));
      return stays && HasBetterRight(peer->member.node, self_, vip);
    });
    if (!yields) claims.insert(vip);
  }
  return claims;
}

Election::Due Election::Tick(TimePoint now) {
  Due due;
  if (!has_group_) return due;
  if (now - last_tick_ > group_.interval * 2) judge_from_ = now;
  last_tick_ = now;
  for (const auto& [node, peer] : peers_) {
    due.to.push_back(peer.member);
    // Whether its node answers probes at all must be known before it falls silent.
    const bool unknown = !peer.ever_answered && sequence_ % kFirstProbes == 0;
    if (unknown || now - peer.last_heartbeat > group_.interval * 3 / 2) {
      due.probe.push_back(peer.member);
    }
  }
  const std::set<IpAddress> claims = Claims(now);
  Heartbeat& message = due.message;
  message.group = group_.name;
  message.node = self_;
  message.epoch = group_.epoch;
  message.incarnation = incarnation_;
  message.sequence = ++sequence_;
  message.ready = Ready(now);
  message.stopping = stopping_;
  message.total_claims = static_cast<uint32_t>(claims.size());
  if (next_claim_ >= claims.size()) next_claim_ = 0;
  message.first_claim = next_claim_;
  auto it = std::next(claims.begin(), next_claim_);
  while (it != claims.end() && message.claims.size() < kMaxClaimsPerHeartbeat) {
    message.claims.push_back(*it++);
  }
  next_claim_ += static_cast<uint32_t>(message.claims.size());
  return due;
}

std::map<std::string, PeerState> Election::Peers(TimePoint now) const {
  std::map<std::string, PeerState> states;
  for (const auto& [node, peer] : peers_) states.emplace(node, StateOf(peer, now));
  return states;
}

}  // namespace kube_lvs
