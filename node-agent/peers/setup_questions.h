// What a director has asked real servers' agents, and what they said. Pure: events and the time go
// in, queries come out. It asks often at first, so that a new real server is used at once, and
// rarely once that has taken long.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/clock.h"
#include "node-agent/peers/setup.h"
#include "node-agent/peers/setup_message.h"

namespace kube_lvs {

// Not thread-safe.
class SetupQuestions {
 public:
  static constexpr Duration kOften = std::chrono::milliseconds(50);
  static constexpr Duration kOftenFor = std::chrono::seconds(5);
  static constexpr Duration kRarely = std::chrono::milliseconds(500);
  static constexpr size_t kMostQueriesAtOnce = 128;

  // `first_nonce` must be unguessable; the others follow it.
  explicit SetupQuestions(uint64_t first_nonce) : next_nonce_(first_nonce) {}

  // All that is to be asked from now on, by the director at that address. What is no longer asked
  // is forgotten with its reply.
  void Ask(const IpAddress& director, const std::set<SetupQuestion>& questions, TimePoint now);

  struct Due {
    IpAddress to;
    SetupQuery query;
  };
  std::vector<Due> Tick(TimePoint now);
  TimePoint Next() const { return next_; }  // when to call Tick; TimePoint::max(): nothing is asked

  enum class Verdict { kNews, kAsBefore, kNotAsked };
  Verdict OnAnswer(const SetupAnswer& answer, TimePoint now);

  std::map<SetupQuestion, SetupReply> Replies() const;
  // Addresses from which any answer has come since we began: an agent is there.
  const std::set<IpAddress>& agents() const { return agents_; }

 private:
  struct Asked {
    TimePoint since{}, next{};
    uint64_t answered = 0;  // nonce of the query that `reply` answers
    std::optional<SetupReply> reply;
  };
  struct Sent {
    IpAddress to;
    TimePoint at{};
  };

  IpAddress director_;
  std::map<SetupQuestion, Asked> questions_;
  std::map<uint64_t, Sent> sent_;  // by nonce: those that may still be answered
  std::set<IpAddress> agents_;
  uint64_t next_nonce_;
  TimePoint next_ = TimePoint::max();
};

}  // namespace kube_lvs
