// IPVS and both stages of our own dataplane live through the same random history of one service of
// IPv4 or IPv6, one event after the other: connections that open, go on, close and expire, weights
// and thresholds that change, real servers that come and go; clients that persistence has stay, as
// long as it remembers them. They choose alike and count alike. The seed is printed; ALIKE_SEED
// sets it.
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
#include <list>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
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
// Events of one service go on so long at a time: every one is over before the first connection
// expires, on any side. They expire during those of others.
constexpr auto kBurst = std::chrono::milliseconds(300);
constexpr int kBursts = 2;
// Templates that are over before the next burst, after the connections that they control; and
// those whose time comes before: they go on by a minute.
constexpr uint32_t kTemplateSeconds = 4, kShortTemplateSeconds = 1;

struct History {
  Family family = Family::kIpv4;
  std::string scheduler;
  HashFlags hash;
  Protocol protocol = Protocol::kTcp;
  bool thresholds = false;
  bool one_packet = false;
  uint32_t template_seconds = 0;  // persistent: clients by fours
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
          history.template_seconds = 360;
          out.push_back(history);
        }
        if (name == "rr" && protocol == Protocol::kUdp) {
          history.one_packet = true;
          out.push_back(history);
          history.template_seconds = 0;
          out.push_back(history);
        }
        history.template_seconds = 0;
        if (!TakesHashFlags(name)) continue;
        history.hash = {.source_port = true, .fallback = true};
        out.push_back(history);
      }
    }
  }
  return out;
}

// Each scheduler has both protocols and a persistent service expire; what is the other way in the
// other family alternates. An overload ends with the connections, too.
std::vector<History> ExpiringHistories(Family family, bool twos) {
  std::vector<History> out;
  bool odd = family == Family::kIpv6;
  for (const std::string_view name : kSchedulers) {
    odd = !odd;
    if ((name == "twos") != twos) continue;
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      History history{family, std::string(name), {}, protocol, (protocol == Protocol::kTcp) == odd};
      history.expiring = true;
      out.push_back(history);
      if (!history.thresholds) continue;
      history.template_seconds = odd ? kTemplateSeconds : kShortTemplateSeconds;
      history.thresholds = false;
      if (TakesHashFlags(name)) history.hash = {.source_port = true, .fallback = true};
      out.push_back(history);
    }
  }
  return out;
}

std::vector<History> ExpiringHistoriesOfTwos() {
  std::vector<History> out = ExpiringHistories(Family::kIpv4, true);
  for (const History& history : ExpiringHistories(Family::kIpv6, true)) out.push_back(history);
  return out;
}

std::string FamilyOf(const History& history) {
  return history.family == Family::kIpv4 ? "Ipv4" : "Ipv6";
}

std::string NameOf(const History& h) {
  return h.scheduler + (h.hash.fallback ? "PortFallback" : "") +
         (h.protocol == Protocol::kTcp   ? "Tcp"
          : h.protocol == Protocol::kUdp ? "Udp"
                                         : "Sctp") +
         (h.one_packet ? "OnePacket" : "") + (h.template_seconds != 0 ? "Persistent" : "") +
         (h.thresholds ? "Thresholds" : "");
}

void PrintTo(const History& history, std::ostream* out) {
  *out << FamilyOf(history) << " " << NameOf(history);
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

// One service, as its history goes on.
class Course {
 public:
  explicit Course(History history) : history_(std::move(history)) {
    static uint16_t port = 1000;
    const char* fixed = std::getenv("ALIKE_SEED");
    seed_ = fixed == nullptr ? std::random_device()()
                             : static_cast<uint32_t>(std::strtoul(fixed, nullptr, 10));
    random_.seed(seed_);
    port_ = ++port;  // old connections would go where they went
  }

  void Begin() {
    std::cout << Name() << ": seed " << seed_ << "\n";
    ServiceConfig config;
    config.scheduler = history_.scheduler;
    config.hash = history_.hash;
    config.one_packet = history_.one_packet;
    if (history_.template_seconds != 0) {
      const int prefix_length = VipAddress(history_.family).Bits() - 2;
      config.persistence = Persistence{.timeout_seconds = history_.template_seconds,
                                       .prefix_length = prefix_length,
                                       .engine = ""};
    }
    Apply([&](const ServiceKey& key) -> Step { return AddService{key, config}; });
    for (int i = 0; i < 3; ++i) AddReal1();
  }
  void GoOnFor(std::chrono::milliseconds longest) {
    const auto begin = steady_clock::now();
    for (int events = 0; events < kEvents && steady_clock::now() - begin < longest; ++events) {
      if (testing::Test::HasFailure()) return;
      ++number_;
      Happen();
    }
  }
  // Every connection is forgotten, and so are templates unless their time was short. The kernel's
  // timers may be late by an eighth.
  void ExpectExpiry() {
    event_ = "expiry";
    std::string none;
    for (const RealServer& real : reals_) {
      none += std::to_string(NumberOf(real.at.ip)) + ": 0+0" + (TemplatesExpire() ? "+0 " : " ");
    }
    ExpectCounts(std::chrono::seconds(2 * std::max(kTimeoutSeconds, history_.template_seconds)),
                 none);
    std::cout << Name() << ": " << connections_.size() << " expired\n";
    for (Connection& connection : connections_) {
      connection.packet.flags = ebpf::kSyn;
      expired_.push_back(connection);
    }
    connections_.clear();
    opened_.clear();
    full_.clear();
    if (Twos()) LeaveOneAvailable();
  }
  void End() {
    std::cout << Name() << ": " << number_ << " events, " << connections_.size()
              << " connections\n";
    for (Side* side : TheSides().all) {
      EXPECT_EQ(side->Read(KeyAt(*side)).services.at(KeyAt(*side)).reals, reals_) << side->Name();
    }
    // The kernel shows its own with up to 2 s delay. What XDP leaves to tc is counted once.
    const auto counted = [&](EbpfSide& side) {
      const Counters counters = side.Read(KeyAt(side)).stats.services.at(KeyAt(side));
      return std::array{counters.connections, counters.packets, counters.bytes};
    };
    EXPECT_EQ(counted(TheSides().xdp), counted(TheSides().tc)) << Where();
    Apply([&](const ServiceKey& key) -> Step { return RemoveService{key}; });
  }

 protected:
  struct Connection {
    Packet packet;
    int real = 0;
  };

  std::string Name() const { return FamilyOf(history_) + " " + NameOf(history_); }
  bool TemplatesExpire() const { return history_.template_seconds == kTemplateSeconds; }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool Sctp() const { return history_.protocol == Protocol::kSctp; }
  bool Twos() const { return history_.scheduler == "twos"; }

  ServiceKey KeyAt(const Side& side) const {
    return {side.dataplane(), Endpoint{VipAddress(history_.family), port_}, history_.protocol};
  }
  RealServer Real(int number) const {
    RealServer out;
    out.at = {RealAddress(history_.family, number), port_};
    out.method = ForwardingMethod::kDirectRouting;
    return out;
  }
  template <typename MakeStep>
  void Apply(MakeStep make) {
    for (Side* side : TheSides().all) side->Apply({make(KeyAt(*side))});
  }

  void Randomise(RealServer& real) {
    real.weight = Below(5);
    if (!history_.thresholds) return;
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
      if (history_.thresholds && Below(4) != 0) {
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
  void LeaveOneAvailable() {
    bool available = false;
    for (RealServer& real : reals_) {
      if (available && real.weight != 0) {
        real.weight = 0;
        Apply([&](const ServiceKey& key) -> Step { return SetReal{key, real}; });
      }
      available = available || real.weight != 0;
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
    return {.family = history_.family,
            .client = 1 + static_cast<int>(Below(kClients)),
            .sport = next_port_++,
            .dport = port_,
            .protocol = static_cast<uint8_t>(history_.protocol)};
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
    if (history_.expiring) Establish(connection);
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
    if (!there && !history_.one_packet) return;
    constexpr uint8_t kChunks[] = {0, 2, 6, 7, 8, 9, kCookieEcho, 11, 14, kInit};
    connection.packet.chunk = kChunks[Below(history_.thresholds ? 9 : 10)];
    constexpr uint8_t kFlags[] = {ebpf::kAck, ebpf::kFin | ebpf::kAck, ebpf::kRst, ebpf::kSyn};
    // A port that is used again: for a tick IPVS counts both connections, which may reach an upper
    // threshold; eBPF counts the new one only.
    // After a RST one ends after 10 s, whatever the timeouts are.
    connection.packet.flags = kFlags[Below(history_.expiring ? 2 : history_.thresholds ? 3 : 4)];
    event_ = "flags " + std::to_string(connection.packet.flags) + " chunk " +
             std::to_string(connection.packet.chunk) + " from port " +
             std::to_string(connection.packet.sport);
    connection.real = Send(connection.packet);
    if (Sctp() && connection.packet.chunk == kInit && connection.real != 0) Echo(connection);
  }

  std::string Counts(Side& side, bool templates) {
    const Stats stats = side.Read(KeyAt(side)).stats;
    std::string out;
    for (const RealServer& real : reals_) {
      const auto found = stats.reals.find({KeyAt(side), real.at});
      if (found == stats.reals.end()) return "none of " + real.at.ToString();
      out += std::to_string(NumberOf(real.at.ip)) + ": " +
             std::to_string(found->second.active_connections) + "+" +
             std::to_string(found->second.inactive_connections);
      if (templates) out += "+" + std::to_string(found->second.persistent_connections);
      out += " ";
    }
    return out;
  }
  // All of them come to `expected`, or to what IPVS counts. IPVS goes on counting a template that
  // is not valid any more.
  void ExpectCounts(std::chrono::seconds longest, const std::optional<std::string>& expected = {}) {
    const auto deadline = steady_clock::now() + longest;
    const bool templates = expected && TemplatesExpire();
    while (true) {
      const std::string ipvs = Counts(TheSides().ipvs, templates);
      const std::string& all = expected ? *expected : ipvs;
      std::string differ;
      for (Side* side : TheSides().all) {
        const std::string counts = side == &TheSides().ipvs ? ipvs : Counts(*side, templates);
        if (counts == all) continue;
        differ += side->Name() + " counts " + counts + "instead of " + all;
        // Only the whole reading forgets what expired.
        if (expected) side->ReadStats();
      }
      if (differ.empty()) return;
      if (steady_clock::now() < deadline) continue;
      ADD_FAILURE() << differ << Where();
      return;
    }
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
    } else if (what == 19 && reals_.size() > 2 && !history_.expiring) {
      // Of one that is gone nobody could tell whether its connections expired.
      RemoveReal1();
    }
    ExpectEqualCounts();
  }

  std::string Where() const {
    return Name() + ", seed " + std::to_string(seed_) + ", event " + std::to_string(number_) +
           ": " + event_;
  }

  const History history_;
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

class HistoryTest : public testing::TestWithParam<History>, protected Course {
 protected:
  HistoryTest() : Course(GetParam()) {}
};

TEST_P(HistoryTest, TheDataplanesChooseAndCountAlike) {
  Begin();
  GoOnFor(kLongest);
  End();
}

std::string NameOfTest(const testing::TestParamInfo<History>& info) { return NameOf(info.param); }
INSTANTIATE_TEST_SUITE_P(Ipv4, HistoryTest, testing::ValuesIn(Histories(Family::kIpv4)),
                         NameOfTest);
INSTANTIATE_TEST_SUITE_P(Ipv6, HistoryTest, testing::ValuesIn(Histories(Family::kIpv6)),
                         NameOfTest);

void SetTimeouts(bool set) {
  for (const auto kind : {ConnectionKind::kTcp, ConnectionKind::kTcpFin, ConnectionKind::kUdp}) {
    for (Side* side : TheSides().all) {
      const ConnectionTimeout timeout{side->dataplane(), kind, kTimeoutSeconds};
      side->Apply({set ? Step(AddItem{timeout}) : Step(RemoveItem{timeout})});
    }
  }
}

// While connections of one service expire, others' histories go on.
class ExpiryTest : public testing::TestWithParam<std::vector<History>> {
 protected:
  void SetUp() override { SetTimeouts(true); }
  void TearDown() override { SetTimeouts(false); }
};
TEST_P(ExpiryTest, ConnectionsAndTemplatesExpireAlike) {
  std::list<Course> courses(GetParam().begin(), GetParam().end());
  for (Course& course : courses) course.Begin();
  for (int burst = 0; burst < kBursts; ++burst) {
    for (Course& course : courses) {
      if (burst != 0 && !HasFailure()) course.ExpectExpiry();
      course.GoOnFor(kBurst);
    }
  }
  for (Course& course : courses) {
    if (!HasFailure()) course.ExpectExpiry();
    course.End();
  }
}
INSTANTIATE_TEST_SUITE_P(Ipv4, ExpiryTest,
                         testing::Values(ExpiringHistories(Family::kIpv4, false)),
                         [](const auto&) { return "OfEveryScheduler"; });
INSTANTIATE_TEST_SUITE_P(Ipv6, ExpiryTest,
                         testing::Values(ExpiringHistories(Family::kIpv6, false)),
                         [](const auto&) { return "OfEveryScheduler"; });
INSTANTIATE_TEST_SUITE_P(Both, ExpiryTest, testing::Values(ExpiringHistoriesOfTwos()),
                         [](const auto&) { return "OfTwos"; });

// A service with real servers as they are said, not at random.
class ServiceTest : public HistoryTest {
 protected:
  void Serve(bool one_packet) {
    std::cout << "seed " << seed_ << "\n";
    ServiceConfig config;
    config.scheduler = history_.scheduler;
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
        if (history_.protocol != Protocol::kTcp) continue;
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
std::string FamilyOfTest(const testing::TestParamInfo<History>& info) {
  return FamilyOf(info.param);
}
INSTANTIATE_TEST_SUITE_P(Draws, TwosOnePacketTest,
                         testing::ValuesIn(OfBothFamilies("twos", Protocol::kUdp)), FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Draws, TwosTest,
                         testing::ValuesIn(OfBothFamilies("twos", Protocol::kTcp)), FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Rr, StageTest, testing::ValuesIn(OfBothFamilies("rr", Protocol::kTcp)),
                         FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Lc, LoadTest, testing::ValuesIn(OfBothFamilies("lc", Protocol::kTcp)),
                         FamilyOfTest);
INSTANTIATE_TEST_SUITE_P(Wlc, LoadTest, testing::ValuesIn(OfBothFamilies("wlc", Protocol::kTcp)),
                         FamilyOfTest);

}  // namespace
}  // namespace kube_lvs::alike
