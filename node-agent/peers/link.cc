#include "node-agent/peers/link.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/status.h"
#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

// Enough for many peers between two ticks; a flood must not keep us from ticking.
constexpr int kMostDatagramsAtOnce = 256;
constexpr int kFarewells = 3;

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

socklen_t Fill(SocketAddress& address, const IpAddress& ip, uint16_t port) {
  std::memset(&address, 0, sizeof(address));
  if (ip.IsV4()) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    std::memcpy(&address.v4.sin_addr, ip.bytes.data(), 4);
    return sizeof(address.v4);
  }
  address.v6.sin6_family = AF_INET6;
  address.v6.sin6_port = htons(port);
  std::memcpy(&address.v6.sin6_addr, ip.bytes.data(), 16);
  return sizeof(address.v6);
}

UniqueFd OpenSocket(const IpAddress& ip, uint16_t port) {
  UniqueFd fd(socket(ip.IsV4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.ok()) return fd;
  if (!ip.IsV4()) {
    const int only = 1;
    if (setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) != 0) return {};
  }
  SocketAddress address;
  const socklen_t length = Fill(address, ip, port);
  if (bind(fd.get(), &address.any, length) != 0) return {};
  return fd;
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
                                          .count())) {}

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

std::map<std::string, PeerState> PeerLink::States() {
  const std::lock_guard<std::mutex> lock(mu_);
  return active_ ? election_.Peers(clock_.Now()) : std::map<std::string, PeerState>();
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
  const UniqueFd v4 =
      on_v4 ? OpenSocket(options_.bind.value_or(IpAddress{}), options_.port) : UniqueFd();
  if (on_v4 && !v4.ok()) {
    return absl::UnavailableError("cannot listen on UDP port " + std::to_string(options_.port) +
                                  " for other directors (--peer-port): " + strerror(errno));
  }
  // A node without IPv6 is fine.
  const UniqueFd v6 = !on_v4 || !options_.bind.has_value()
                          ? OpenSocket(on_v4 ? any_v6 : *options_.bind, options_.port)
                          : UniqueFd();
  const std::stop_callback on_stop(stop, [this] { Wake(); });
  TimePoint next_tick = clock_.Now();
  while (!stop.stop_requested()) {
    SendFarewell(v4.get(), v6.get());
    const TimePoint now = clock_.Now();
    if (now >= next_tick) {
      Tick(v4.get(), v6.get());
      Duration interval;
      {
        const std::lock_guard<std::mutex> lock(mu_);
        interval = election_.group().interval;
      }
      next_tick = std::max(next_tick + interval, now + interval / 2);
    }
    TellIfChanged();
    if (done()) break;
    pollfd fds[] = {{v4.get(), POLLIN, 0},
                    {v6.get(), POLLIN, 0},
                    {wake_.get(), POLLIN, 0},
                    {prober_ ? prober_->Fd(Family::kIpv4) : -1, POLLIN, 0},
                    {prober_ ? prober_->Fd(Family::kIpv6) : -1, POLLIN, 0}};
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next_tick - clock_.Now());
    if (poll(fds, std::size(fds), static_cast<int>(std::max<int64_t>(wait.count(), 0))) < 0 &&
        errno != EINTR) {
      return absl::UnavailableError(std::string("waiting for heartbeats: ") + strerror(errno));
    }
    if (fds[0].revents != 0) Receive(v4.get(), Family::kIpv4);
    if (fds[1].revents != 0) Receive(v6.get(), Family::kIpv6);
    if (uint64_t count = 0; fds[2].revents != 0) {
      if (read(wake_.get(), &count, sizeof(count)) < 0) continue;  // nothing there any more
    }
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
  SendFarewell(v4.get(), v6.get());
  for (int i = 0; i < kFarewells; ++i) Tick(v4.get(), v6.get());
  return absl::OkStatus();
}

void PeerLink::Receive(int fd, Family family) {
  std::array<uint8_t, kMaxHeartbeatBytes + 1> buffer;
  for (int i = 0; i < kMostDatagramsAtOnce; ++i) {
    SocketAddress from;
    socklen_t length = sizeof(from);
    const ssize_t size =
        recvfrom(fd, buffer.data(), buffer.size(), MSG_DONTWAIT, &from.any, &length);
    if (size < 0) {
      if (errno == ECONNREFUSED || errno == EHOSTUNREACH) continue;  // of something we sent
      return;
    }
    IpAddress sender;
    sender.family = family;
    std::memcpy(sender.bytes.data(),
                family == Family::kIpv4 ? static_cast<const void*>(&from.v4.sin_addr)
                                        : static_cast<const void*>(&from.v6.sin6_addr),
                sender.Size());
    const auto heartbeat =
        DecodeHeartbeat(std::span(buffer).first(static_cast<size_t>(size)), options_.key);
    const std::lock_guard<std::mutex> lock(mu_);
    ++counters_.received;
    if (!heartbeat.ok()) {
      ++(absl::IsUnauthenticated(heartbeat.status()) ? counters_.unauthenticated
                                                     : counters_.garbage);
      continue;
    }
    // Without a key the address is all that vouches for the sender.
    const auto& members = election_.group().members;
    const bool vouched =
        !options_.key.empty() || std::any_of(members.begin(), members.end(), [&](const auto& m) {
          return m.node == heartbeat->node && m.address == sender;
        });
    if (!vouched) {
      ++counters_.strangers;
      continue;
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
}

void PeerLink::Tick(int v4, int v6) {
  Election::Due due;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (!active_) return;
    due = election_.Tick(clock_.Now());
  }
  Send(v4, v6, due);
  if (prober_) {
    for (const PeerMember& peer : due.probe) prober_->Probe(peer.address);
  }
}

void PeerLink::SendFarewell(int v4, int v6) {
  std::optional<Election::Due> farewell;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    farewell.swap(farewell_);
  }
  if (!farewell.has_value()) return;
  for (int i = 0; i < kFarewells; ++i) Send(v4, v6, *farewell);
}

void PeerLink::Send(int v4, int v6, const Election::Due& due) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    counters_.sent += due.to.size();
  }
  const auto bytes = EncodeHeartbeat(due.message, options_.key);
  if (!bytes.ok()) {
    log_.Log(Level::kError, "cannot make a heartbeat", {{"error", Message(bytes.status())}});
    return;
  }
  for (const PeerMember& peer : due.to) Send(peer.address.IsV4() ? v4 : v6, peer.address, *bytes);
}

void PeerLink::Send(int fd, const IpAddress& to, const std::vector<uint8_t>& bytes) {
  if (fd < 0) return;
  SocketAddress address;
  socklen_t length = Fill(address, to, options_.port);
  // One that cannot be sent is as good as lost, which the peers' patience covers.
  if (sendto(fd, bytes.data(), bytes.size(), MSG_DONTWAIT, &address.any, length) < 0) return;
}

void PeerLink::TellIfChanged() {
  std::set<IpAddress> claims;
  std::map<std::string, PeerState> states;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (active_) {
      claims = election_.Claims(clock_.Now());
      states = election_.Peers(clock_.Now());
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
  if (claims == told_) return;
  log_.Log(Level::kInfo, "claims changed", {{"vips", std::to_string(claims.size())}});
  told_ = std::move(claims);
  changed_();
}

}  // namespace kube_lvs
