// Both dataplanes live through the same random history of one service of IPv4 or IPv6, one event
// after the other: connections that open, go on, close and expire, weights and thresholds that
// change, real servers that come and go; clients that persistence has stay. They choose alike and
// count alike. The seed is printed; ALIKE_SEED sets it.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/alike/ebpf_side.h"
#include "dataplane/alike/ipvs_side.h"
#include "dataplane/model/schedulers.h"
#include "gtest/gtest.h"

namespace kube_lvs::alike {
namespace {

using std::chrono::steady_clock;

constexpr int kEvents = 120;
// Real servers have addresses from here down, so that the newest, which is first in the kernel's
// list, is first in canonical order.
constexpr int kFirstReal = kReals;
constexpr int kMostReals = 8;
constexpr uint8_t kInit = 1, kCookieEcho = 10;  // chunks of SCTP
// A connection that was reset ends after 10 s, by the kernel's timer at once.
constexpr auto kLongest = std::chrono::milliseconds(700);

// Of connections that expire: so long without a packet.
constexpr uint32_t kTimeoutSeconds = 2;
// Events go on so long at a time: every one is over before the first connection expires, on either
// side.
constexpr auto kBurst = std::chrono::milliseconds(600);
constexpr int kBursts = 2;

struct History {
  Family family = Family::kIpv4;
  std::string scheduler;
  HashFlags hash;
  Protocol protocol = Protocol::kTcp;
  bool thresholds = false;
  bool one_packet = false;
  bool persistent = false;  // clients by fours
  bool expiring = false;
};

std::vector<History> Histories(Family family) {
  std::vector<History> out;
  for (const std::string_view name : kSchedulers) {
    if (name == "twos") continue;  // by chance
    for (const bool thresholds : {false, true}) {
      for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
        // What differs is when a connection is active.
        if (protocol == Protocol::kSctp && name != "wlc" && name != "ovf") continue;
        History history{family, std::string(name), {}, protocol, thresholds};
        out.push_back(history);
        const bool often = name == "rr" || name == "wlc" || name == "mh";
        const bool once = name == "wrr" || name == "lc" || name == "sed" || name == "nq" ||
                          name == "sh" || name == "dh";
        if (often || (once && protocol == Protocol::kTcp && !thresholds)) {
          history.persistent = true;
          out.push_back(history);
        }
        // An overload ends with the connections, too. Each scheduler has one protocol expire in
        // each family, wlc both: that takes seconds.
        const Protocol expires =
            (family == Family::kIpv4) == (name == "mh") ? Protocol::kUdp : Protocol::kTcp;
        if (name == "wlc" ? thresholds && protocol != Protocol::kSctp
                          : often && !thresholds && protocol == expires) {
          History expiring{family, std::string(name), {}, protocol, thresholds};
          expiring.expiring = true;
          out.push_back(expiring);
        }
        if (name == "rr" && protocol == Protocol::kUdp) {
          history.one_packet = true;
          out.push_back(history);
          history.persistent = false;
          out.push_back(history);
        }
        history.persistent = false;
        if (!TakesHashFlags(name)) continue;
        history.hash = {.source_port = true, .fallback = true};
        out.push_back(history);
      }
    }
  }
  return out;
}

std::string NameOf(const testing::TestParamInfo<History>& info) {
  const History& h = info.param;
  return h.scheduler + (h.hash.fallback ? "PortFallback" : "") +
         (h.protocol == Protocol::kTcp   ? "Tcp"
          : h.protocol == Protocol::kUdp ? "Udp"
                                         : "Sctp") +
         (h.one_packet ? "OnePacket" : "") + (h.persistent ? "Persistent" : "") +
         (h.expiring ? "Expiring" : "") + (h.thresholds ? "Thresholds" : "");
}

// Made once: a namespace with IPVS that ends while the kernel loads a module can hang it.
struct Sides {
  IpvsSide ipvs;
  EbpfSide ebpf;
};
Sides& TheSides() {
  static Sides* const sides = [] {
    const int loaded = std::system(
        "modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sed ip_vs_nq ip_vs_fo "
        "ip_vs_ovf ip_vs_sh ip_vs_dh ip_vs_mh ip_vs_lblc ip_vs_lblcr");
    if (loaded != 0) std::abort();
    return new Sides;
  }();
  return *sides;
}

class HistoryTest : public testing::TestWithParam<History> {
 protected:
  struct Connection {
    Packet packet;
    int real = 0;
  };

  HistoryTest() {
    static uint16_t port = 1000;
    const char* fixed = std::getenv("ALIKE_SEED");
    seed_ = fixed == nullptr ? std::random_device()()
                             : static_cast<uint32_t>(std::strtoul(fixed, nullptr, 10));
    random_.seed(seed_);
    port_ = ++port;  // old connections would go where they went
  }

  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool Sctp() const { return GetParam().protocol == Protocol::kSctp; }

  ServiceKey KeyAt(Dataplane dataplane) const {
    return {dataplane, Endpoint{VipAddress(GetParam().family), port_}, GetParam().protocol};
  }
  RealServer Real(int number) const {
    RealServer out;
    out.at = {RealAddress(GetParam().family, number), port_};
    out.method = ForwardingMethod::kDirectRouting;
    return out;
  }
  template <typename MakeStep>
  void Apply(MakeStep make) {
    TheSides().ipvs.Apply({make(KeyAt(Dataplane::kIpvs))});
    TheSides().ebpf.Apply({make(KeyAt(Dataplane::kEbpf))});
  }

  void Randomise(RealServer& real) {
    real.weight = Below(5);
    if (!GetParam().thresholds) return;
    real.upper_threshold = Below(7);
    real.lower_threshold = Below(real.upper_threshold + 1);
  }
  void AddReal1() {
    // The one that was removed last may come back: its connections are still counted.
    int number = kFirstReal;
    if (!reals_.empty()) number = NumberOf(reals_.front().at.ip) - 1;
    if (number > lowest_ && Below(2) == 0) number = lowest_;
    lowest_ = std::min(lowest_, number);
    RealServer real = Real(number);
    Randomise(real);
    if (Below(3) != 0 && real.weight == 0) real.weight = 1;
    event_ = "add " + ToString(real);
    Apply([&](const ServiceKey& key) -> Step { return AddReal{key, real}; });
    reals_.insert(reals_.begin(), real);
  }
  void RemoveReal1() {
    const size_t at = Below(2) == 0 ? 0 : Below(static_cast<uint32_t>(reals_.size()));
    const Endpoint endpoint = reals_[at].at;
    event_ = "remove " + endpoint.ToString();
    Apply([&](const ServiceKey& key) -> Step { return RemoveReal{key, endpoint}; });
    reals_.erase(reals_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void ChangeReal() {
    RealServer& real = reals_[Below(static_cast<uint32_t>(reals_.size()))];
    const RealServer before = real;
    Randomise(real);
    // The kernel's wrr would begin anew; nobody asks for a change that is none.
    if (real == before) return;
    event_ = "set " + ToString(real);
    Apply([&](const ServiceKey& key) -> Step { return SetReal{key, real}; });
  }

  // The same packet to both.
  int Send(const Packet& packet) {
    const int ipvs = TheSides().ipvs.Send(packet);
    const int ebpf = TheSides().ebpf.Send(packet);
    EXPECT_EQ(ebpf, ipvs) << Where();
    return ipvs;
  }
  Packet NewClient() {
    return {.family = GetParam().family,
            .client = 1 + static_cast<int>(Below(kClients)),
            .sport = next_port_++,
            .dport = port_,
            .protocol = static_cast<uint8_t>(GetParam().protocol)};
  }
  void Open() {
    Connection connection{NewClient()};
    event_ = "open";
    if (!expired_.empty() && Below(2) == 0) {
      connection.packet = expired_.back().packet;
      expired_.pop_back();
      event_ = "open again, port " + std::to_string(connection.packet.sport);
    }
    connection.real = Send(connection.packet);
    if (connection.real == 0) return;
    if (Sctp()) Echo(connection);
    if (GetParam().expiring) Establish(connection);
    connections_.push_back(connection);
  }
  // What a SYN began would end after 60 s, whatever the timeouts are.
  void Establish(Connection connection) {
    connection.packet.flags = ebpf::kAck;
    EXPECT_EQ(Send(connection.packet), connection.real) << Where();
  }
  // What an INIT began would end after 4 s.
  void Echo(Connection& connection) {
    connection.packet.chunk = kCookieEcho;
    EXPECT_EQ(Send(connection.packet), connection.real) << Where();
  }
  void GoOn() {
    if (connections_.empty()) return;
    Connection& connection = connections_[Below(static_cast<uint32_t>(connections_.size()))];
    // Of a real server that is gone: IPVS drops, eBPF serves on.
    const bool there = std::ranges::any_of(
        reals_, [&](const RealServer& real) { return NumberOf(real.at.ip) == connection.real; });
    if (!there && !GetParam().one_packet) return;
    constexpr uint8_t kChunks[] = {0, 2, 6, 7, 8, 9, kCookieEcho, 11, 14, kInit};
    connection.packet.chunk = kChunks[Below(GetParam().thresholds ? 9 : 10)];
    constexpr uint8_t kFlags[] = {ebpf::kAck, ebpf::kFin | ebpf::kAck, ebpf::kRst, ebpf::kSyn};
    // A port that is used again: for a tick IPVS counts both connections, which may reach an upper
    // threshold; eBPF counts the new one only.
    // After a RST one ends after 10 s, whatever the timeouts are.
    connection.packet.flags =
        kFlags[Below(GetParam().expiring ? 2 : GetParam().thresholds ? 3 : 4)];
    event_ = "flags " + std::to_string(connection.packet.flags) + " chunk " +
             std::to_string(connection.packet.chunk) + " from port " +
             std::to_string(connection.packet.sport);
    connection.real = Send(connection.packet);
    if (Sctp() && connection.packet.chunk == kInit && connection.real != 0) Echo(connection);
  }

  std::string Counts(Side& side, Dataplane dataplane) {
    // Only the whole reading forgets what expired.
    const Stats stats = GetParam().expiring ? side.ReadStats() : side.ReadStats(KeyAt(dataplane));
    std::string out;
    for (const RealServer& real : reals_) {
      const auto found = stats.reals.find({KeyAt(dataplane), real.at});
      if (found == stats.reals.end()) return "none of " + real.at.ToString();
      out += std::to_string(NumberOf(real.at.ip)) + ": " +
             std::to_string(found->second.active_connections) + "+" +
             std::to_string(found->second.inactive_connections) + " ";
    }
    return out;
  }
  void SetTimeouts(bool set) {
    for (const auto kind : {ConnectionKind::kTcp, ConnectionKind::kTcpFin, ConnectionKind::kUdp}) {
      Apply([&](const ServiceKey& key) -> Step {
        const ConnectionTimeout timeout{key.dataplane, kind, kTimeoutSeconds};
        if (set) return AddItem{timeout};
        return RemoveItem{timeout};
      });
    }
  }
  // Both sides forget every connection. The kernel's timers may be late by an eighth.
  void ExpectExpiry() {
    event_ = "expiry";
    const auto deadline = steady_clock::now() + std::chrono::seconds(2 * kTimeoutSeconds);
    std::string none;
    for (const RealServer& real : reals_) none += std::to_string(NumberOf(real.at.ip)) + ": 0+0 ";
    std::string ipvs;
    std::string ebpf;
    do {
      ipvs = Counts(TheSides().ipvs, Dataplane::kIpvs);
      ebpf = Counts(TheSides().ebpf, Dataplane::kEbpf);
    } while ((ipvs != none || ebpf != none) && steady_clock::now() < deadline);
    EXPECT_EQ(ipvs, none) << Where();
    EXPECT_EQ(ebpf, none) << Where();
    std::cout << connections_.size() << " expired\n";
    for (Connection& connection : connections_) {
      connection.packet.flags = ebpf::kSyn;
      expired_.push_back(connection);
    }
    connections_.clear();
  }

  // The kernel's timer takes out a connection whose port is used again a tick later.
  void ExpectEqualCounts() {
    const auto deadline = steady_clock::now() + std::chrono::seconds(2);
    std::string ipvs;
    std::string ebpf;
    do {
      ipvs = Counts(TheSides().ipvs, Dataplane::kIpvs);
      ebpf = Counts(TheSides().ebpf, Dataplane::kEbpf);
    } while (ipvs != ebpf && steady_clock::now() < deadline);
    EXPECT_EQ(ebpf, ipvs) << Where();
  }
  void Happen() {
    const uint32_t what = Below(20);
    if (what < 10) {
      Open();
    } else if (what < 15) {
      GoOn();
    } else if (what < 17) {
      ChangeReal();
    } else if (what < 18 && reals_.size() < kMostReals) {
      AddReal1();
    } else if (what == 19 && reals_.size() > 2 && !GetParam().expiring) {
      // Of one that is gone nobody could tell whether its connections expired.
      RemoveReal1();
    }
    ExpectEqualCounts();
  }

  std::string Where() const {
    return "seed " + std::to_string(seed_) + ", event " + std::to_string(number_) + ": " + event_;
  }

  uint32_t seed_ = 0;
  std::mt19937 random_;
  uint16_t port_ = 0;
  uint16_t next_port_ = 2000;
  std::vector<RealServer> reals_;  // the newest first
  int lowest_ = kFirstReal + 1;    // number of the newest that there ever was
  std::vector<Connection> connections_;
  std::vector<Connection> expired_;
  int number_ = 0;
  std::string event_;
};

TEST_P(HistoryTest, BothDataplanesChooseAndCountAlike) {
  std::cout << "seed " << seed_ << "\n";
  ServiceConfig config;
  config.scheduler = GetParam().scheduler;
  config.hash = GetParam().hash;
  config.one_packet = GetParam().one_packet;
  if (GetParam().persistent) {
    const int prefix_length = VipAddress(GetParam().family).Bits() - 2;
    config.persistence = Persistence{.prefix_length = prefix_length, .engine = ""};
  }
  Apply([&](const ServiceKey& key) -> Step { return AddService{key, config}; });
  for (int i = 0; i < 3; ++i) AddReal1();
  const auto within = [&](auto longest, int events) {
    const auto begin = steady_clock::now();
    while (events-- > 0 && steady_clock::now() - begin < longest && !HasFailure()) {
      ++number_;
      Happen();
    }
  };
  if (!GetParam().expiring) {
    within(kLongest, kEvents);
  } else {
    SetTimeouts(true);
    for (int burst = 0; burst < kBursts && !HasFailure(); ++burst) {
      within(kBurst, kEvents);
      ExpectExpiry();
    }
    SetTimeouts(false);
  }
  std::cout << number_ << " events, " << connections_.size() << " connections\n";
  EXPECT_EQ(TheSides().ebpf.Read().services.at(KeyAt(Dataplane::kEbpf)).reals,
            TheSides().ipvs.Read().services.at(KeyAt(Dataplane::kIpvs)).reals);
  Apply([&](const ServiceKey& key) -> Step { return RemoveService{key}; });
}

INSTANTIATE_TEST_SUITE_P(Ipv4, HistoryTest, testing::ValuesIn(Histories(Family::kIpv4)), NameOf);
INSTANTIATE_TEST_SUITE_P(Ipv6, HistoryTest, testing::ValuesIn(Histories(Family::kIpv6)), NameOf);

}  // namespace
}  // namespace kube_lvs::alike
