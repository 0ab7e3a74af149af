#include "dataplane/alike/course.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "gtest/gtest.h"

namespace kube_lvs::alike {
namespace {

using std::chrono::steady_clock;

constexpr int kEvents = 120;
constexpr int kMostReals = 8;
constexpr uint8_t kInit = 1, kCookieEcho = 10;  // chunks of SCTP

}  // namespace

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

Course::Course(History history) : history_(std::move(history)) {
  static uint16_t port = 1000;
  const char* fixed = std::getenv("ALIKE_SEED");
  seed_ = fixed == nullptr ? std::random_device()()
                           : static_cast<uint32_t>(std::strtoul(fixed, nullptr, 10));
  random_.seed(seed_);
  port_ = ++port;  // old connections would go where they went
}

void Course::Begin() {
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

void Course::GoOnFor(std::chrono::milliseconds longest) {
  const auto begin = steady_clock::now();
  for (int events = 0; events < kEvents && steady_clock::now() - begin < longest; ++events) {
    if (testing::Test::HasFailure()) return;
    ++number_;
    Happen();
  }
}

void Course::ExpectExpiry() {
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

void Course::End() {
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

ServiceKey Course::KeyAt(const Side& side) const {
  return {side.dataplane(), Endpoint{VipAddress(history_.family), port_}, history_.protocol};
}

RealServer Course::Real(int number) const {
  RealServer out;
  out.at = {RealAddress(history_.family, number), port_};
  out.method = ForwardingMethod::kDirectRouting;
  return out;
}

void Course::Randomise(RealServer& real) {
  real.weight = Below(5);
  if (!history_.thresholds) return;
  real.upper_threshold = Below(7);
  real.lower_threshold = Below(real.upper_threshold + 1);
}

void Course::MakeRoomFor(RealServer& real) {
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

void Course::CountOpened(int number) {
  for (const RealServer& real : reals_) {
    if (NumberOf(real.at.ip) != number) continue;
    const uint32_t connections = ++opened_[real.at];
    if (real.upper_threshold != 0 && connections >= real.upper_threshold) full_.insert(real.at);
  }
}

void Course::LeaveOneAvailable() {
  bool available = false;
  for (RealServer& real : reals_) {
    if (available && real.weight != 0) {
      real.weight = 0;
      Apply([&](const ServiceKey& key) -> Step { return SetReal{key, real}; });
    }
    available = available || real.weight != 0;
  }
}

void Course::AddReal1() {
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

void Course::RemoveReal1() {
  const size_t at = Below(2) == 0 ? 0 : Below(static_cast<uint32_t>(reals_.size()));
  const Endpoint endpoint = reals_[at].at;
  full_.erase(endpoint);
  opened_.erase(endpoint);
  event_ = "remove " + endpoint.ToString();
  Apply([&](const ServiceKey& key) -> Step { return RemoveReal{key, endpoint}; });
  reals_.erase(reals_.begin() + static_cast<std::ptrdiff_t>(at));
}

void Course::ChangeReal() {
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

int Course::Send(const Packet& packet) {
  const int ipvs = TheSides().ipvs.Send(packet);
  for (EbpfSide* side : {&TheSides().tc, &TheSides().xdp}) {
    EXPECT_EQ(side->Send(packet), ipvs) << side->Name() << ", " << Where();
  }
  return ipvs;
}

Packet Course::NewClient() {
  return {.family = history_.family,
          .client = 1 + static_cast<int>(Below(kClients)),
          .sport = next_port_++,
          .dport = port_,
          .protocol = static_cast<uint8_t>(history_.protocol)};
}

void Course::Open() {
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

void Course::Establish(Connection connection) {
  connection.packet.flags = ebpf::kAck;
  EXPECT_EQ(Send(connection.packet), connection.real) << Where();
}

void Course::Echo(Connection& connection) {
  connection.packet.chunk = kCookieEcho;
  EXPECT_EQ(Send(connection.packet), connection.real) << Where();
}

void Course::GoOn() {
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

std::string Course::Counts(Side& side, bool templates) {
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

void Course::ExpectCounts(std::chrono::seconds longest,
                          const std::optional<std::string>& expected) {
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

void Course::Happen() {
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

std::string Course::Where() const {
  return Name() + ", seed " + std::to_string(seed_) + ", event " + std::to_string(number_) +
         ": " + event_;
}

}  // namespace kube_lvs::alike
