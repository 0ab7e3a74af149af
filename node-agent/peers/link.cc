#include "node-agent/peers/link.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "base/status.h"
#include "node-agent/peers/frame.h"
#include "node-agent/peers/setup_message.h"

namespace kube_lvs {
namespace {

// Enough for many peers between two ticks; a flood must not keep us from ticking.
constexpr int kMostDatagramsAtOnce = 256;
constexpr int kFarewells = 3;

// Half of the range, so that those which follow it stay in order.
uint64_t UnguessableNonce() {
  std::random_device random;
  return (uint64_t{random()} << 32 | random()) >> 1;
}

}  // namespace

PeerLink::PeerLink(PeerLinkOptions options, std::unique_ptr<Prober> prober, const Clock& clock,
                   Logger& log, std::function<void()> changed)
    : options_(std::move(options)),
      prober_(std::move(prober)),
      clock_(clock),
      log_(log),
      changed_(std::move(changed)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      election_(options_.node,
                static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          clock.Wall().time_since_epoch())
                                          .count())),
      questions_(UnguessableNonce()) {}

void PeerLink::Adopt(const std::set<IpAddress>& vips) {
  const std::lock_guard<std::mutex> lock(mu_);
  election_.Adopt(vips);
}

void PeerLink::Update(const PeerGroup& group, const std::set<IpAddress>& vips,
                      const Readiness& readiness) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (active_ && group.name != election_.group().name) {
    // Fellows that have not heard of it yet would wait for an agent that comes back.
    farewell_ = election_.Farewell();
    Wake();
  }
  active_ = !group.name.empty();
  if (active_ && !(group == election_.group())) election_.SetGroup(group, clock_.Now());
  election_.SetVips(active_ ? vips : std::set<IpAddress>());
  election_.SetReady(readiness.ready, readiness.unable, clock_.Now());
}

std::set<IpAddress> PeerLink::Claims() {
  const std::lock_guard<std::mutex> lock(mu_);
  return active_ ? election_.Claims(clock_.Now()) : std::set<IpAddress>();
}

std::set<IpAddress> PeerLink::TakeDoubtful() {
  const std::lock_guard<std::mutex> lock(mu_);
  return std::exchange(doubtful_, {});
}

std::map<std::string, PeerState> PeerLink::States() {
  const std::lock_guard<std::mutex> lock(mu_);
  return active_ ? election_.Peers(clock_.Now()) : std::map<std::string, PeerState>();
}

void PeerLink::Publish(HeldSetups held) {
  auto fresh = std::make_shared<const HeldSetups>(std::move(held));
  const std::lock_guard<std::mutex> lock(mu_);
  held_ = std::move(fresh);
}

void PeerLink::Ask(const IpAddress& director, const std::set<SetupQuestion>& questions) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = clock_.Now();
    questions_.Ask(director, questions, now);
    if (questions_.Next() > now) return;
  }
  const uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof(one)) < 0) return;  // a full counter wakes as well
}

PeerLink::Answers PeerLink::Heard() {
  const std::lock_guard<std::mutex> lock(mu_);
  return {questions_.Replies(), questions_.agents()};
}

PeerCounters PeerLink::Counters() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return counters_;
}

absl::Status PeerLink::Run(std::stop_token stop) {
  return Loop(std::move(stop), [] { return false; });
}

absl::Status PeerLink::Leave(const PeerGroup& group, const std::set<IpAddress>& vips,
                             Duration patience) {
  Update(group, vips, {});
  {
    const std::lock_guard<std::mutex> lock(mu_);
    election_.Leave();
  }
  const TimePoint begin = clock_.Now();
  return Loop({}, [&] {
    const std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = clock_.Now();
    const std::set<IpAddress> taken = election_.ClaimedByPeers(now);
    if (std::includes(taken.begin(), taken.end(), vips.begin(), vips.end())) return true;
    const auto peers = election_.Peers(now);
    const bool heard = std::any_of(peers.begin(), peers.end(), [](const auto& peer) {
      return peer.second == PeerState::kAlive;
    });
    return now - begin >= (heard ? patience : std::min(patience, group.Detection() * 2));
  });
}

void PeerLink::Wake() {
  const uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof(one)) < 0) return;  // it is readable already
}

absl::Status PeerLink::Loop(std::stop_token stop, const std::function<bool()>& done) {
  const bool on_v4 = !options_.bind.has_value() || options_.bind->IsV4();
  IpAddress any_v6;
  any_v6.family = Family::kIpv6;
  v4_ = UdpSocket();  // of a run that failed
  v6_ = UdpSocket();
  if (on_v4) {
    absl::StatusOr<UdpSocket> v4 =
        UdpSocket::Open(options_.bind.value_or(IpAddress{}), options_.port);
    if (!v4.ok()) {
      return absl::UnavailableError("cannot listen on UDP port " + std::to_string(options_.port) +
                                    " for other agents (--peer-port): " + Message(v4.status()));
    }
    v4_ = *std::move(v4);
  }
  if (!on_v4 || !options_.bind.has_value()) {
    // A node without IPv6 is fine.
    absl::StatusOr<UdpSocket> v6 = UdpSocket::Open(on_v4 ? any_v6 : *options_.bind, options_.port);
    if (v6.ok()) v6_ = *std::move(v6);
  }
  const std::stop_callback on_stop(stop, [this] { Wake(); });
  TimePoint next_tick = clock_.Now();
  while (!stop.stop_requested()) {
    SendFarewell();
    const TimePoint now = clock_.Now();
    if (now >= next_tick) {
      Tick();
      Duration interval;
      {
        const std::lock_guard<std::mutex> lock(mu_);
        interval = election_.group().interval;
      }
      next_tick = std::max(next_tick + interval, now + interval / 2);
    }
    AskAgents();
    TellIfChanged();
    if (done()) break;
    TimePoint next = next_tick;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      next = std::min(next, questions_.Next());
    }
    pollfd fds[] = {{v4_.fd(), POLLIN, 0},
                    {v6_.fd(), POLLIN, 0},
                    {wake_.get(), POLLIN, 0},
                    {prober_ ? prober_->Fd(Family::kIpv4) : -1, POLLIN, 0},
                    {prober_ ? prober_->Fd(Family::kIpv6) : -1, POLLIN, 0}};
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - clock_.Now());
    if (poll(fds, std::size(fds), static_cast<int>(std::max<int64_t>(wait.count(), 0))) < 0 &&
        errno != EINTR) {
      return absl::UnavailableError(std::string("waiting for other agents: ") + strerror(errno));
    }
    if (fds[0].revents != 0) Receive(v4_);
    if (fds[1].revents != 0) Receive(v6_);
    uint64_t woken = 0;
    if (fds[2].revents != 0 && read(wake_.get(), &woken, sizeof(woken)) < 0) continue;
    if (prober_) {
      while (const auto from = prober_->NextAnswer()) {
        const std::lock_guard<std::mutex> lock(mu_);
        election_.OnProbeAnswer(*from, clock_.Now());
      }
    }
  }
  {
    const std::lock_guard<std::mutex> lock(mu_);
    election_.Stop();
  }
  SendFarewell();
  for (int i = 0; i < kFarewells; ++i) Tick();
  return absl::OkStatus();
}

void PeerLink::Receive(UdpSocket& socket) {
  std::array<uint8_t, kMaxMessageBytes + 1> buffer;
  for (int i = 0; i < kMostDatagramsAtOnce; ++i) {
    const auto datagram = socket.Receive(buffer);
    if (!datagram.has_value()) return;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      ++counters_.received;
    }
    const auto bytes = std::span<const uint8_t>(buffer).first(datagram->size);
    switch (KindOf(bytes).value_or(0)) {
      case kSetupQueryKind:
        OnSetupQuery(bytes, *datagram);
        break;
      case kSetupAnswerKind:
        OnSetupAnswer(bytes);
        break;
      default:
        OnHeartbeat(bytes, datagram->from);
    }
  }
}

void PeerLink::Refuse(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mu_);
  ++(absl::IsUnauthenticated(status) ? counters_.unauthenticated : counters_.garbage);
}

void PeerLink::OnHeartbeat(std::span<const uint8_t> bytes, const IpAddress& from) {
  const auto heartbeat = DecodeHeartbeat(bytes, options_.key);
  if (!heartbeat.ok()) return Refuse(heartbeat.status());
  const std::lock_guard<std::mutex> lock(mu_);
  // Without a key the address is all that vouches for the sender.
  const auto& members = election_.group().members;
  const bool vouched =
      !options_.key.empty() || std::any_of(members.begin(), members.end(), [&](const auto& m) {
        return m.node == heartbeat->node && m.address == from;
      });
  if (!vouched) {
    ++counters_.strangers;
    return;
  }
  switch (election_.OnHeartbeat(*heartbeat, clock_.Now())) {
    case Election::Verdict::kAccepted:
      break;
    case Election::Verdict::kNotAMember:
      ++counters_.strangers;
      break;
    case Election::Verdict::kReplayed:
      ++counters_.replayed;
      break;
  }
}

void PeerLink::OnSetupQuery(std::span<const uint8_t> bytes, const UdpSocket::Datagram& datagram) {
  const auto query = DecodeSetupQuery(bytes, options_.key);
  if (!query.ok()) return Refuse(query.status());
  std::shared_ptr<const HeldSetups> held;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    held = held_;
  }
  SetupAnswer answer = {query->nonce, {}};
  for (const VipSetup& setup : query->setups) {
    answer.entries.push_back({setup, held == nullptr
                                         ? SetupState{false, "its agent has only just started"}
                                         : StateFor(*held, setup, query->director)});
  }
  const auto out = EncodeSetupAnswer(answer, options_.key);
  if (!out.ok()) {
    log_.Log(Level::kError, "cannot make an answer", {{"error", Message(out.status())}});
    return;
  }
  SocketFor(datagram.from).Send(*out, datagram.from, datagram.from_port, datagram.to);
  const std::lock_guard<std::mutex> lock(mu_);
  ++counters_.sent;
}

void PeerLink::OnSetupAnswer(std::span<const uint8_t> bytes) {
  const auto answer = DecodeSetupAnswer(bytes, options_.key);
  if (!answer.ok()) return Refuse(answer.status());
  const std::lock_guard<std::mutex> lock(mu_);
  switch (questions_.OnAnswer(*answer, clock_.Now())) {
    case SetupQuestions::Verdict::kNews:
      news_ = true;
      break;
    case SetupQuestions::Verdict::kAsBefore:
      break;
    case SetupQuestions::Verdict::kNotAsked:
      ++counters_.replayed;
      break;
  }
}

void PeerLink::Tick() {
  Election::Due due;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (!active_) return;
    due = election_.Tick(clock_.Now());
  }
  Send(due);
  if (prober_) {
    for (const PeerMember& peer : due.probe) prober_->Probe(peer.address);
  }
}

void PeerLink::SendFarewell() {
  std::optional<Election::Due> farewell;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    farewell.swap(farewell_);
  }
  if (!farewell.has_value()) return;
  for (int i = 0; i < kFarewells; ++i) Send(*farewell);
}

void PeerLink::Send(const Election::Due& due) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    counters_.sent += due.to.size();
  }
  const auto bytes = EncodeHeartbeat(due.message, options_.key);
  if (!bytes.ok()) {
    log_.Log(Level::kError, "cannot make a heartbeat", {{"error", Message(bytes.status())}});
    return;
  }
  for (const PeerMember& peer : due.to) {
    SocketFor(peer.address).Send(*bytes, peer.address, options_.port);
  }
}

void PeerLink::AskAgents() {
  std::vector<SetupQuestions::Due> due;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = clock_.Now();
    if (now < questions_.Next()) return;
    due = questions_.Tick(now);
    counters_.sent += due.size();
  }
  for (const auto& [to, query] : due) {
    const auto bytes = EncodeSetupQuery(query, options_.key);
    if (!bytes.ok()) {
      log_.Log(Level::kError, "cannot make a query", {{"error", Message(bytes.status())}});
      continue;
    }
    SocketFor(to).Send(*bytes, to, options_.port);
  }
}

void PeerLink::TellIfChanged() {
  std::set<IpAddress> claims;
  std::map<std::string, PeerState> states;
  bool doubtful = false;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (active_) {
      claims = election_.Claims(clock_.Now());
      states = election_.Peers(clock_.Now());
      std::set<IpAddress> more = election_.TakeDoubtful(clock_.Now());
      doubtful = !more.empty();
      doubtful_.merge(more);
    }
  }
  for (const auto& [node, state] : states) {
    const auto was = logged_.find(node);
    if (was != logged_.end() && was->second == state) continue;
    log_.Log(
        state == PeerState::kDead || state == PeerState::kAgentSilent ? Level::kWarn : Level::kInfo,
        "peer", {{"node", node}, {"state", ToString(state)}});
  }
  logged_ = std::move(states);
  const bool news = std::exchange(news_, false);
  if (claims != told_) {
    log_.Log(Level::kInfo, "claims changed", {{"vips", std::to_string(claims.size())}});
    told_ = std::move(claims);
  } else if (!news && !doubtful) {
    return;
  }
  changed_();
}

}  // namespace kube_lvs
