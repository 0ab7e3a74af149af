// IPVS and both stages of our own dataplane live through the same random history of one service of
// IPv4 or IPv6, one event after the other: connections that open, go on, close and expire, weights
// and thresholds that change, real servers that come and go; clients that persistence has stay.
// They choose alike and count alike. The seed is printed; ALIKE_SEED sets it.
//
// What twos draws is not seen: in its histories no draw matters, and of many draws each side's
// shares are those that the weights give.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <iostream>
#include <map>
#include <optional>
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
// Events go on so long at a time: every one is over before the first connection expires, on any
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
    for (const bool thresholds : {false, true}) {
      for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
        // What differs is when a connection is active.
        if (protocol == Protocol::kSctp && name != "wlc" && name != "ovf") continue;
        History history{family, std::string(name), {}, protocol, thresholds};
        out.push_back(history);
        const bool often = name == "rr" || name == "wlc" || name == "mh";
        if (often || (protocol == Protocol::kTcp && !thresholds)) {
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
  EbpfSide tc{Stage::kTc};
  EbpfSide xdp{Stage::kXdp};
  const std::array<Side*, 3> all = {&ipvs, &tc, &xdp};
};
Sides& TheSides() {
  static Sides* const sides = [] {
    const int loaded = std::system(
        "modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sed ip_vs_nq ip_vs_fo "
        "ip_vs_ovf ip_vs_sh ip_vs_dh ip_vs_mh ip_vs_lblc ip_vs_lblcr");
    if (loaded != 0) std::abort();
    // Where there is none, tests of twos fail when they add a service.
    [[maybe_unused]] const int twos = std::system("modprobe -q ip_vs_twos");
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
  bool Twos() const { return GetParam().scheduler == "twos"; }

  ServiceKey KeyAt(const Side& side) const {
    return {side.dataplane(), Endpoint{VipAddress(GetParam().family), port_}, GetParam().protocol};
  }
  RealServer Real(int number) const {
    RealServer out;
    out.at = {RealAddress(GetParam().family, number), port_};
    out.method = ForwardingMethod::kDirectRouting;
    return out;
  }
  template <typename MakeStep>
  void Apply(MakeStep make) {
    for (Side* side : TheSides().all) side->Apply({make(KeyAt(*side))});
  }

  void Randomise(RealServer& real) {
    real.weight = Below(5);
    if (!GetParam().thresholds) return;
    real.upper_threshold = Below(7);
    real.lower_threshold = Below(real.upper_threshold + 1);
  }
  // twos draws by chance: that no draw matters, at most one real server is available at a time. Of
  // the others, those that are full may keep their weight.
  void MakeRoomFor(RealServer& real) {
    if (!Twos() || real.weight == 0 || full_.contains(real.at)) return;
    for (RealServer& other : reals_) {
      if (other.at == real.at || other.weight == 0 || full_.contains(other.at)) continue;
      // Else hardly one would ever be full.
      if (GetParam().thresholds && Below(4) != 0) {
        real.weight = 0;
        return;
      }
      other.weight = 0;
      Apply([&](const ServiceKey& key) -> Step { return SetReal{key, other}; });
    }
  }
  // By the kernel's rule; of a real server that comes back, fewer than there are, so that one that
  // is in `full_` is overloaded.
  void CountOpened(int number) {
    for (const RealServer& real : reals_) {
      if (NumberOf(real.at.ip) != number) continue;
      const uint32_t connections = ++opened_[real.at];
      if (real.upper_threshold != 0 && connections >= real.upper_threshold) full_.insert(real.at);
    }
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
    MakeRoomFor(real);
    event_ = "add " + ToString(real);
    Apply([&](const ServiceKey& key) -> Step { return AddReal{key, real}; });
    reals_.insert(reals_.begin(), real);
  }
  void RemoveReal1() {
    const size_t at = Below(2) == 0 ? 0 : Below(static_cast<uint32_t>(reals_.size()));
    const Endpoint endpoint = reals_[at].at;
    full_.erase(endpoint);
    opened_.erase(endpoint);
    event_ = "remove " + endpoint.ToString();
    Apply([&](const ServiceKey& key) -> Step { return RemoveReal{key, endpoint}; });
    reals_.erase(reals_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void ChangeReal() {
    RealServer& real = reals_[Below(static_cast<uint32_t>(reals_.size()))];
    const RealServer before = real;
    Randomise(real);
    if (real.upper_threshold == 0 || real.upper_threshold > before.upper_threshold) {
      full_.erase(real.at);
    }
    MakeRoomFor(real);
    // The kernel's wrr would begin anew; nobody asks for a change that is none.
    if (real == before) return;
    event_ = "set " + ToString(real);
    Apply([&](const ServiceKey& key) -> Step { return SetReal{key, real}; });
  }

  // The same packet to all of them.
  int Send(const Packet& packet) {
    const int ipvs = TheSides().ipvs.Send(packet);
    for (EbpfSide* side : {&TheSides().tc, &TheSides().xdp}) {
      EXPECT_EQ(side->Send(packet), ipvs) << side->Name() << ", " << Where();
    }
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
    CountOpened(connection.real);
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

  std::string Counts(Side& side) {
    // Only the whole reading forgets what expired.
    const Stats stats = GetParam().expiring ? side.ReadStats() : side.ReadStats(KeyAt(side));
    std::string out;
    for (const RealServer& real : reals_) {
      const auto found = stats.reals.find({KeyAt(side), real.at});
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
  // All of them come to `expected`, or to what IPVS counts.
  void ExpectCounts(std::chrono::seconds longest, const std::optional<std::string>& expected = {}) {
    const auto deadline = steady_clock::now() + longest;
    while (true) {
      const std::string ipvs = Counts(TheSides().ipvs);
      const std::string& all = expected ? *expected : ipvs;
      std::string differ;
      for (Side* side : TheSides().all) {
        const std::string counts = side == &TheSides().ipvs ? ipvs : Counts(*side);
        if (counts != all) differ += side->Name() + " counts " + counts + "instead of " + all;
      }
      if (differ.empty()) return;
      if (steady_clock::now() < deadline) continue;
      ADD_FAILURE() << differ << Where();
      return;
    }
  }
  // Every connection is forgotten. The kernel's timers may be late by an eighth.
  void ExpectExpiry() {
    event_ = "expiry";
    std::string none;
    for (const RealServer& real : reals_) none += std::to_string(NumberOf(real.at.ip)) + ": 0+0 ";
    ExpectCounts(std::chrono::seconds(2 * kTimeoutSeconds), none);
    std::cout << connections_.size() << " expired\n";
    for (Connection& connection : connections_) {
      connection.packet.flags = ebpf::kSyn;
      expired_.push_back(connection);
    }
    connections_.clear();
  }

  // The kernel's timer takes out a connection whose port is used again a tick later.
  void ExpectEqualCounts() { ExpectCounts(std::chrono::seconds(2)); }
  void Happen() {
    const uint32_t what = Below(20);
    if (what < 10) {
      const size_t before = connections_.size();
      Open();
      // Else hardly anybody would be available.
      if (Twos() && connections_.size() == before && Below(2) == 0) ChangeReal();
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
  std::map<Endpoint, uint32_t> opened_;
  std::set<Endpoint> full_;
  std::vector<Connection> connections_;
  std::vector<Connection> expired_;
  int number_ = 0;
  std::string event_;
};

TEST_P(HistoryTest, TheDataplanesChooseAndCountAlike) {
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
  for (Side* side : TheSides().all) {
    EXPECT_EQ(side->Read().services.at(KeyAt(*side)).reals, reals_) << side->Name();
  }
  // The kernel shows its own with up to 2 s delay. What XDP leaves to tc is counted once.
  const auto counted = [&](EbpfSide& side) {
    return side.ReadStats(KeyAt(side)).services.at(KeyAt(side));
  };
  EXPECT_EQ(counted(TheSides().xdp), counted(TheSides().tc)) << Where();
  Apply([&](const ServiceKey& key) -> Step { return RemoveService{key}; });
}

INSTANTIATE_TEST_SUITE_P(Ipv4, HistoryTest, testing::ValuesIn(Histories(Family::kIpv4)), NameOf);
INSTANTIATE_TEST_SUITE_P(Ipv6, HistoryTest, testing::ValuesIn(Histories(Family::kIpv6)), NameOf);

// A service with real servers as they are said, not at random.
class ServiceTest : public HistoryTest {
 protected:
  void Serve(bool one_packet) {
    std::cout << "seed " << seed_ << "\n";
    ServiceConfig config;
    config.scheduler = GetParam().scheduler;
    config.one_packet = one_packet;
    Apply([&](const ServiceKey& key) -> Step { return AddService{key, config}; });
  }
  // Goes to the head of the list. Its number.
  int Add(uint32_t weight, uint32_t upper_threshold = 0) {
    RealServer real = Real(--lowest_);
    real.weight = weight;
    real.upper_threshold = upper_threshold;
    Apply([&](const ServiceKey& key) -> Step { return AddReal{key, real}; });
    reals_.insert(reals_.begin(), real);
    return lowest_;
  }
  void Remove(int number) {
    const Endpoint at = Real(number).at;
    Apply([&](const ServiceKey& key) -> Step { return RemoveReal{key, at}; });
    std::erase_if(reals_, [&](const RealServer& real) { return real.at == at; });
  }
  void Quiesce(int number) {
    RealServer real = Real(number);
    real.weight = 0;
    Apply([&](const ServiceKey& key) -> Step { return SetReal{key, real}; });
  }
  // Active from its SYN on. It goes where all must send it.
  void OpenAt(int number) {
    event_ = "open at " + std::to_string(number);
    EXPECT_EQ(Send(NewClient()), number) << Where();
  }

  // Each side chooses for so many new connections. A share is the probability of one choice; of a
  // binomial distribution, six standard deviations are missed once in half a billion times.
  void ExpectShares(int connections, const std::map<int, double>& shares) {
    std::vector<Packet> packets;
    for (int i = 0; i < connections; ++i) packets.push_back(NewClient());
    for (Side* side : TheSides().all) {
      std::map<int, int> chosen;
      for (Packet packet : packets) {
        const int number = side->Send(packet);
        ++chosen[number];
        if (GetParam().protocol != Protocol::kTcp) continue;
        packet.flags = ebpf::kFin | ebpf::kAck;  // inactive
        EXPECT_EQ(side->Send(packet), number);
      }
      for (const auto& [number, count] : chosen) {
        EXPECT_TRUE(shares.contains(number)) << side->Name() << ": " << number;
        std::cout << side->Name() << ": " << count << " of " << connections << " to " << number
                  << "\n";
      }
      for (const auto& [number, share] : shares) {
        EXPECT_NEAR(chosen[number], connections * share,
                    6 * std::sqrt(connections * share * (1 - share)))
            << side->Name() << ": " << number;
      }
    }
  }
  void TearDown() override {
    Apply([&](const ServiceKey& key) -> Step { return RemoveService{key}; });
  }
};

// Packets of which each is a connection leave no counts: of two draws the first is taken.
class TwosOnePacketTest : public ServiceTest {};
TEST_P(TwosOnePacketTest, DrawsGoByWeight) {
  Serve(true);
  const int three = Add(3);
  const int quiesced = Add(2);
  const int two = Add(2);
  const int removed = Add(5);
  const int one = Add(1);
  Quiesce(quiesced);
  Remove(removed);
  // Of a draw from 0 to 6, inclusive, the first of the list has one more; which so many tell.
  ExpectShares(2400, {{one, 2 / 7.0}, {two, 2 / 7.0}, {three, 3 / 7.0}});
}

class TwosTest : public ServiceTest {};
TEST_P(TwosTest, OfTwoDrawnTheLessLoadedIsTaken) {
  Serve(false);
  OpenAt(Add(2, 1));  // which is overloaded from now on
  const int removed = Add(5);
  OpenAt(removed);
  Remove(removed);
  const int busy = Add(2);
  OpenAt(busy);
  Add(0);
  const int idle = Add(2);
  // So many inactive ones do not come to the load of one active. The busy one is taken where both
  // draws, from 0 to 4, are its own: 3 or 4.
  ExpectShares(250, {{idle, 1 - 4 / 25.0}, {busy, 4 / 25.0}});
}

TEST_P(TwosTest, NobodyIsAvailable) {
  Serve(false);
  OpenAt(Add(3, 1));
  Add(0);
  Remove(Add(2));
  OpenAt(0);
  ExpectEqualCounts();
}

// Else nothing here would tell anything of XDP.
class StageTest : public ServiceTest {};
TEST_P(StageTest, XdpTakesItselfWhatItMay) {
  Serve(false);
  for (const bool beyond : {false, true}) {
    while (IsBeyond(lowest_ - 1) != beyond) --lowest_;
    const int real = Add(1);
    Packet packet = NewClient();
    uint64_t by_tc = 0;
    for (const uint8_t flags : {ebpf::kSyn, ebpf::kAck, ebpf::kAck}) {
      event_ = "flags " + std::to_string(flags) + " to " + std::to_string(real);
      packet.flags = flags;
      const uint64_t before = TheSides().xdp.TakenByTc();
      EXPECT_EQ(Send(packet), real) << Where();
      by_tc += TheSides().xdp.TakenByTc() - before;
    }
    EXPECT_EQ(by_tc, beyond ? 3U : 0U);
    Remove(real);
  }
  event_ = "refused";
  const uint64_t before = TheSides().xdp.TakenByTc();
  EXPECT_EQ(Send(NewClient()), 0) << Where();
  EXPECT_EQ(TheSides().xdp.TakenByTc(), before);
}

class LoadTest : public ServiceTest {};
TEST_P(LoadTest, AsManyInactiveConnectionsWeighAsAnActiveOne) {
  Serve(false);
  OpenAt(Add(1));
  const int idle = Add(1);
  int inactive = 0;  // at the idle one
  for (; inactive < 300 && !HasFailure(); ++inactive) {
    event_ = "inactive " + std::to_string(inactive);
    Packet packet = NewClient();
    if (Send(packet) != idle) break;
    packet.flags = ebpf::kFin | ebpf::kAck;
    EXPECT_EQ(Send(packet), idle) << Where();
  }
  std::cout << "more than one active: " << inactive << " inactive\n";
  EXPECT_LT(inactive, 300);
}

std::vector<History> OfBothFamilies(const std::string& scheduler, Protocol protocol) {
  std::vector<History> out(2);
  for (History& history : out) {
    history.scheduler = scheduler;
    history.protocol = protocol;
  }
  out[0].family = Family::kIpv6;
  return out;
}
std::string FamilyOf(const testing::TestParamInfo<History>& info) {
  return info.param.family == Family::kIpv4 ? "Ipv4" : "Ipv6";
}
INSTANTIATE_TEST_SUITE_P(Draws, TwosOnePacketTest,
                         testing::ValuesIn(OfBothFamilies("twos", Protocol::kUdp)), FamilyOf);
INSTANTIATE_TEST_SUITE_P(Draws, TwosTest,
                         testing::ValuesIn(OfBothFamilies("twos", Protocol::kTcp)), FamilyOf);
INSTANTIATE_TEST_SUITE_P(Rr, StageTest, testing::ValuesIn(OfBothFamilies("rr", Protocol::kTcp)),
                         FamilyOf);
INSTANTIATE_TEST_SUITE_P(Lc, LoadTest, testing::ValuesIn(OfBothFamilies("lc", Protocol::kTcp)),
                         FamilyOf);
INSTANTIATE_TEST_SUITE_P(Wlc, LoadTest, testing::ValuesIn(OfBothFamilies("wlc", Protocol::kTcp)),
                         FamilyOf);

}  // namespace
}  // namespace kube_lvs::alike
