// A service that lives through a random history on IPVS and both stages of our own dataplane, one
// event after the other: connections that open, go on and close, weights and thresholds that
// change, real servers that come and go. What differs is a failure of the test.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/alike/ebpf_side.h"
#include "dataplane/alike/history.h"
#include "dataplane/alike/ipvs_side.h"

namespace kube_lvs::alike {

struct Sides {
  IpvsSide ipvs;
  EbpfSide tc{Stage::kTc};
  EbpfSide xdp{Stage::kXdp};
  const std::array<Side*, 3> all = {&ipvs, &tc, &xdp};
};
// Made once: a namespace with IPVS that ends while the kernel loads a module can hang it.
Sides& TheSides();

// The seed is ALIKE_SEED, or another one each time.
class Course {
 public:
  explicit Course(History history);

  void Begin();
  void GoOnFor(std::chrono::milliseconds longest);
  // Every connection is forgotten, and so are templates unless their time was short. The kernel's
  // timers may be late by an eighth.
  void ExpectExpiry();
  void End();

 protected:
  // Real servers have addresses from here down, so that the newest, which is first in the kernel's
  // list, is first in canonical order.
  static constexpr int kFirstReal = kReals;

  RealServer Real(int number) const;
  template <typename MakeStep>
  void Apply(MakeStep make) {
    for (Side* side : TheSides().all) side->Apply({make(KeyAt(*side))});
  }
  // The same packet to all of them.
  int Send(const Packet& packet);
  Packet NewClient();
  // The kernel's timer takes out a connection whose port is used again a tick later.
  void ExpectEqualCounts() { ExpectCounts(std::chrono::seconds(2)); }
  std::string Where() const;

  const History history_;
  uint32_t seed_ = 0;
  std::vector<RealServer> reals_;  // the newest first
  int lowest_ = kFirstReal + 1;    // number of the newest that there ever was
  std::string event_;

 private:
  struct Connection {
    Packet packet;
    int real = 0;
  };

  std::string Name() const { return FamilyOf(history_) + " " + NameOf(history_); }
  bool TemplatesExpire() const { return history_.template_seconds == kTemplateSeconds; }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool Sctp() const { return history_.protocol == Protocol::kSctp; }
  bool Twos() const { return history_.scheduler == "twos"; }
  ServiceKey KeyAt(const Side& side) const;

  void Randomise(RealServer& real);
  // twos draws by chance: that no draw matters, at most one real server is available at a time. Of
  // the others, those that are full may keep their weight.
  void MakeRoomFor(RealServer& real);
  // By the kernel's rule; of a real server that comes back, fewer than there are, so that one that
  // is in `full_` is overloaded.
  void CountOpened(int number);
  void LeaveOneAvailable();

  void AddReal1();
  void RemoveReal1();
  void ChangeReal();
  void Open();
  // What a SYN began would end after 60 s, whatever the timeouts are.
  void Establish(Connection connection);
  // What an INIT began would end after 4 s.
  void Echo(Connection& connection);
  void GoOn();
  void Happen();

  std::string Counts(Side& side, bool templates);
  // All of them come to `expected`, or to what IPVS counts. IPVS goes on counting a template that
  // is not valid any more.
  void ExpectCounts(std::chrono::seconds longest, const std::optional<std::string>& expected = {});

  std::mt19937 random_;
  uint16_t port_ = 0;
  uint16_t next_port_ = 2000;
  std::map<Endpoint, uint32_t> opened_;
  std::set<Endpoint> full_;
  std::vector<Connection> connections_;
  std::vector<Connection> expired_;
  int number_ = 0;
};

}  // namespace kube_lvs::alike
