// The laws of Diff, on random states. A failure prints its seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "dataplane/plan/diff.h"
#include "dataplane/plan/text.h"

namespace kube_lvs {
namespace {

constexpr int kRounds = 2000;

class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}

  State MakeState() {
    State state;
    for (int i = Below(4); i > 0; --i) {
      const ServiceKey key = MakeKey();
      VirtualService service;
      service.config.scheduler = Below(2) == 0 ? "rr" : "wrr";
      service.config.source_nat = Below(2) == 0;
      service.config.unreached = NeedsMark(key) && Below(2) == 0;
      for (int n = 0; n < 5; ++n) {
        if (Below(2) == 0) continue;
        service.reals.push_back({.at = {IpAddress::FromV4(0x0a000001u + n), 80},
                                 .method = static_cast<ForwardingMethod>(Below(3)),
                                 .weight = Below(3)});
      }
      state.services[key] = service;
    }
    for (int i = Below(6); i > 0; --i) state.items.insert(MakeItem());
    OnePerIdentity(state);
    return state;
  }

  uint32_t Below(uint32_t n) { return std::uniform_int_distribution<uint32_t>(0, n - 1)(random_); }

 private:
  ServiceKey MakeKey() {
    const IpAddress vip = IpAddress::FromV4(0xc0000200u + Below(2));
    const Protocol protocol = Below(2) == 0 ? Protocol::kTcp : Protocol::kUdp;
    switch (Below(7)) {
      case 0:
        return {Dataplane::kIpvs, AllPorts{vip}, Protocol::kTcp};
      case 2:
        return {Dataplane::kIpvs,
                Prefix{{IpAddress::FromV4(0xc0000200u), static_cast<int>(30 + Below(2))}, 80, 80},
                protocol};
      case 1:
        return {Dataplane::kIpvs, PortRange{vip, 80, static_cast<uint16_t>(81 + Below(2))},
                protocol};
      default:
        return {Below(2) == 0 ? Dataplane::kIpvs : Dataplane::kEbpf, Endpoint{vip, 80}, protocol};
    }
  }
  NodeItem MakeItem() {
    const IpAddress vip = IpAddress::FromV4(0xc0000200u + Below(2));
    switch (Below(11)) {
      case 0:
        return Sysctl{"net/ipv4/" + std::to_string(Below(2)), std::to_string(Below(2))};
      case 1:
        return Attachment{"eth" + std::to_string(Below(2))};
      case 2:
        return TunnelPeer{IpAddress::FromV4(Below(2)), vip, static_cast<int>(Below(2) * 31)};
      case 3:
        return MssClamp{vip, static_cast<uint16_t>(1400 + Below(2)),
                        static_cast<int>(Below(2) * 31)};
      case 4:
        return SilentVip{vip, static_cast<int>(Below(2) * 31)};
      case 5:
        return Masquerade{{vip, 80},
                          Protocol::kTcp,
                          static_cast<uint16_t>(Below(2) * 89),
                          static_cast<int>(Below(2) * 31)};
      case 6:
        return SyncDaemon{.role = Below(2) == 0 ? SyncRole::kMaster : SyncRole::kBackup,
                          .interface = "eth0",
                          .sync_id = Below(2)};
      case 7:
        return ConnectionTimeout{Below(2) == 0 ? Dataplane::kIpvs : Dataplane::kEbpf,
                                 static_cast<ConnectionKind>(Below(3)), 1 + Below(2)};
      case 8:
        return LocalLink{1400 + Below(2)};
      case 9:
        return LocalVip{vip, IpAddress::FromV4(0x0a0000fau + Below(2)),
                        static_cast<int>(Below(2) * 31)};
      default:
        return AnsweredVip{Below(2) == 0 ? Dataplane::kIpvs : Dataplane::kEbpf, vip, "eth0",
                           static_cast<int>(Below(2) * 31)};
    }
  }

  // A state never holds a sysctl at two values: put each item in by the rule of additions.
  static void OnePerIdentity(State& state) {
    State clean;
    for (const NodeItem& item : state.items) clean = Applied(clean, AddItem{item});
    state.items = clean.items;
  }

  std::mt19937 random_;
};

bool CanServe(const State& state, const ServiceKey& key) {
  const auto it = state.services.find(key);
  return it != state.services.end() &&
         std::ranges::any_of(it->second.reals, [](const RealServer& r) { return r.weight > 0; });
}

// Applies the plan; steps for which `fails` is true do nothing, and neither do that service's later
// ones. Calls `look` after each.
template <typename Fails, typename Look>
State Play(const Plan& plan, State state, Fails fails, Look look) {
  std::set<ServiceKey> given_up;
  for (const Step& step : plan.steps) {
    const ServiceKey* key = KeyOf(step);
    if (key != nullptr && given_up.contains(*key)) continue;
    if (fails()) {
      if (key != nullptr) given_up.insert(*key);
    } else {
      state = Applied(state, step);
    }
    look(state);
  }
  return state;
}

class Laws : public testing::Test {
 protected:
  template <typename Law>
  void ForRandomStates(Law law) {
    for (int round = 0; round < kRounds && !HasFailure(); ++round) {
      const uint32_t seed = first_seed_ + round;
      Maker maker(seed);
      const State desired = maker.MakeState();
      const State actual = maker.MakeState();
      SCOPED_TRACE("seed " + std::to_string(seed) + "\ndesired\n" + ToText(desired) + "actual\n" +
                   ToText(actual) + "plan\n" + ToString(Diff(desired, actual)));
      law(desired, actual, maker);
    }
  }

  const uint32_t first_seed_ = std::random_device()();
};

const auto kNever = [] { return false; };
const auto kIgnore = [](const State&) {};

TEST_F(Laws, ItArrives) {
  ForRandomStates([](const State& desired, const State& actual, Maker&) {
    EXPECT_EQ(Play(Diff(desired, actual), actual, kNever, kIgnore), desired);
  });
}

TEST_F(Laws, ItStops) {
  ForRandomStates([](const State& desired, const State&, Maker&) {
    EXPECT_EQ(Diff(desired, desired), Plan{});
  });
}

TEST_F(Laws, ItMakesBeforeItBreaksAlsoWhenStepsFail) {
  ForRandomStates([](const State& desired, const State& actual, Maker& maker) {
    const auto sometimes = [&] { return maker.Below(4) == 0; };
    Play(Diff(desired, actual), actual, sometimes, [&](const State& now) {
      for (const auto& [key, service] : actual.services) {
        if (CanServe(actual, key) && CanServe(desired, key)) {
          EXPECT_TRUE(CanServe(now, key)) << ToString(key);
        }
      }
    });
  });
}

TEST_F(Laws, ItIsDeterministic) {
  ForRandomStates([](const State& desired, const State& actual, Maker&) {
    EXPECT_EQ(ToString(Diff(desired, actual)), ToString(Diff(desired, actual)));
  });
}

TEST_F(Laws, ItMindsItsBusiness) {
  ForRandomStates([](const State& desired, const State& actual, Maker&) {
    for (const Step& step : Diff(desired, actual).steps) {
      if (const ServiceKey* key = KeyOf(step)) {
        EXPECT_TRUE(desired.services.contains(*key) || actual.services.contains(*key));
      }
    }
  });
}

TEST_F(Laws, ItHeals) {
  ForRandomStates([](const State& desired, const State& actual, Maker& maker) {
    State state = actual;
    for (int tries = 0; tries < 200 && state != desired; ++tries) {
      state = Play(
          Diff(desired, state), state, [&] { return maker.Below(2) == 0; }, kIgnore);
    }
    EXPECT_EQ(state, desired);
  });
}

}  // namespace
}  // namespace kube_lvs
