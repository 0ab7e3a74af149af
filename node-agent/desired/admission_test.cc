#include "node-agent/desired/admission.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kDr = ForwardingMethod::kDirectRouting;
constexpr auto kTun = ForwardingMethod::kTunnel;
constexpr auto kNat = ForwardingMethod::kNat;
constexpr TimePoint kNow{std::chrono::hours(1)};

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

const ServiceKey kKey = {Dataplane::kEbpf, Endpoint{Ip("192.0.2.200"), 80}, Protocol::kTcp};

RealServer Real(const char* ip, ForwardingMethod method = kDr, uint32_t weight = 1) {
  return {.at = {Ip(ip), 80}, .method = method, .weight = weight};
}

State With(const std::vector<RealServer>& reals, const ServiceKey& key = kKey) {
  State state;
  state.services[key].reals = reals;
  return state;
}

SetupQuestion About(const char* ip, ForwardingMethod method = kDr) {
  return {Ip(ip), {Ip("192.0.2.200"), method}};
}

// Those that get requests.
std::vector<std::string> Admitted(const Admission& admission, const ServiceKey& key = kKey) {
  std::vector<std::string> ips;
  const auto found = admission.desired.services.find(key);
  if (found == admission.desired.services.end()) return {"as it is"};
  for (const RealServer& real : found->second.reals) ips.push_back(real.at.ip.ToString());
  return ips;
}
using Ips = std::vector<std::string>;

TEST(Admission, WhatIsHeardDecidesAboutANewOne) {
  struct Case {
    const char* what;
    bool agent;         // one must be there
    bool heard_before;  // anything was ever answered from there
    Duration asked_for;
    std::optional<SetupReply> reply;
    bool admitted;
    std::optional<TimePoint> next_check;
  };
  const TimePoint old = kNow - kAnswerLifetime;
  const std::vector<Case> cases = {
      {"ready", true, true, {}, {{{true, ""}, kNow}}, true, kNow + kAnswerLifetime},
      {"not ready", true, true, {}, {{{false, "no"}, kNow}}, false, kNow + kAnswerLifetime},
      {"not ready, static",
       false,
       true,
       {},
       {{{false, "no"}, kNow}},
       false,
       kNow + kAnswerLifetime},
      {"was ready and fell silent", true, true, seconds(9), {{{true, ""}, old}}, false, {}},
      {"silent node", true, false, seconds(9), {}, false, {}},
      {"silent static, just asked", false, false, {}, {}, false, kNow + kSilenceOfUnknown},
      {"silent static, nearly a second",
       false,
       false,
       milliseconds(999),
       {},
       false,
       kNow + milliseconds(1)},
      {"silent static, a second", false, false, seconds(1), {}, true, {}},
      {"silent static whose agent has answered before", false, true, seconds(9), {}, false, {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    AdmissionInput in;
    if (c.agent) in.agents.insert(Ip("10.0.0.1"));
    if (c.heard_before) in.heard.agents.insert(Ip("10.0.0.1"));
    if (c.reply) in.heard.replies[About("10.0.0.1")] = *c.reply;
    AdmissionClock clock;
    if (c.asked_for != Duration{}) clock[About("10.0.0.1")] = kNow - c.asked_for;
    const Admission out = Admit(With({Real("10.0.0.1")}), {}, in, clock, kNow);
    EXPECT_EQ(Admitted(out), c.admitted ? Ips{"10.0.0.1"} : Ips{});
    EXPECT_EQ(out.ask, std::set<SetupQuestion>{About("10.0.0.1")});
    EXPECT_EQ(out.held_back.size(), c.admitted ? 0u : 1u);
    EXPECT_EQ(out.clock, (AdmissionClock{{About("10.0.0.1"), kNow - c.asked_for}}));
    EXPECT_EQ(out.next_check, c.next_check);
  }
}

TEST(Admission, WhatTheKernelHasStaysAndIsNotAsked) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1"), Ip("10.0.0.2")};
  in.heard.replies[About("10.0.0.1")] = {{false, "no"}, kNow};
  const State both = With({Real("10.0.0.1"), Real("10.0.0.2", kTun)});
  const Admission out = Admit(both, both, in, {}, kNow);
  EXPECT_EQ(out.desired, both);
  EXPECT_TRUE(out.ask.empty());
  EXPECT_TRUE(out.clock.empty());
  EXPECT_FALSE(out.next_check.has_value());
}

TEST(Admission, WhoeverWasQuiescedIsAskedAgainAndQuiescingNeedsNoAnswer) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1")};
  const State quiesced = With({Real("10.0.0.1", kDr, 0)});
  Admission out = Admit(With({Real("10.0.0.1")}), quiesced, in, {}, kNow);
  EXPECT_EQ(Admitted(out), Ips{});
  EXPECT_EQ(out.ask, std::set<SetupQuestion>{About("10.0.0.1")});
  for (const State& actual : {quiesced, With({Real("10.0.0.1")}), State{}}) {
    out = Admit(quiesced, actual, in, {}, kNow);
    EXPECT_EQ(out.desired, quiesced);
    EXPECT_TRUE(out.ask.empty());
  }
}

TEST(Admission, AnotherPortWeightOrDataplaneOfTheSameVipNeedsNothingNew) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1")};
  const State actual = With({Real("10.0.0.1", kDr, 7)});
  for (ServiceKey key :
       {kKey, ServiceKey{Dataplane::kIpvs, kKey.match, kKey.protocol},
        ServiceKey{Dataplane::kEbpf, Endpoint{Ip("192.0.2.200"), 443}, Protocol::kUdp}}) {
    EXPECT_EQ(Admitted(Admit(With({Real("10.0.0.1")}, key), actual, in, {}, kNow), key),
              Ips{"10.0.0.1"});
  }
  // Another VIP does.
  const ServiceKey other = {Dataplane::kEbpf, Endpoint{Ip("192.0.2.201"), 80}, Protocol::kTcp};
  EXPECT_EQ(Admitted(Admit(With({Real("10.0.0.1")}, other), actual, in, {}, kNow), other), Ips{});
}

TEST(Admission, NatNeedsNothing) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1")};
  const Admission out = Admit(With({Real("10.0.0.1", kNat)}), {}, in, {}, kNow);
  EXPECT_EQ(Admitted(out), Ips{"10.0.0.1"});
  EXPECT_TRUE(out.ask.empty());
}

TEST(Admission, OneOnThisNodeIsJudgedByTheOwnKernel) {
  AdmissionInput in;
  in.own_addresses = {Ip("10.0.0.1")};
  in.agents = {Ip("10.0.0.1")};
  const State desired = With({Real("10.0.0.1", kTun)});
  const VipSetup setup = About("10.0.0.1", kTun).setup;
  EXPECT_EQ(Admitted(Admit(desired, {}, in, {}, kNow)), Ips{});
  in.own[setup] = {{false, "read-only"}};
  Admission out = Admit(desired, {}, in, {}, kNow);
  EXPECT_EQ(Admitted(out), Ips{});
  EXPECT_NE(Describe(out.held_back).find("read-only"), std::string::npos);
  EXPECT_TRUE(out.ask.empty());
  // It needs no tunnel from itself.
  in.own[setup] = {{true, ""}, std::map<IpAddress, SetupState>{}};
  EXPECT_EQ(Admitted(Admit(desired, {}, in, {}, kNow)), Ips{"10.0.0.1"});
}

TEST(Admission, OthersOfTheServiceDoNotWait) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1"), Ip("10.0.0.2"), Ip("10.0.0.3")};
  in.heard.replies[About("10.0.0.2")] = {{true, ""}, kNow};
  in.heard.replies[About("10.0.0.3")] = {{false, "busy"}, kNow};
  const Admission out = Admit(With({Real("10.0.0.1"), Real("10.0.0.2"), Real("10.0.0.3")}),
                              With({Real("10.0.0.1")}), in, {}, kNow);
  EXPECT_EQ(Admitted(out), (Ips{"10.0.0.1", "10.0.0.2"}));
  ASSERT_EQ(out.held_back.size(), 1u);
  EXPECT_EQ(out.held_back[0].real, (Endpoint{Ip("10.0.0.3"), 80}));
  EXPECT_EQ(out.held_back[0].since, kNow);
  EXPECT_EQ(Describe(out.held_back),
            "10.0.0.3 gets no requests yet: not set up for 192.0.2.200 by DirectRouting: busy");
}

TEST(Admission, AServiceLeftWithoutRealServersStaysAsItIs) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1"), Ip("10.0.0.2")};
  // All are replaced, or the same by another method, or in the other dataplane.
  const ServiceKey ipvs = {Dataplane::kIpvs, kKey.match, kKey.protocol};
  for (const State& actual : {With({Real("10.0.0.1")}), With({Real("10.0.0.2", kNat)}),
                              With({Real("10.0.0.2", kNat)}, ipvs)}) {
    const Admission out = Admit(With({Real("10.0.0.2")}), actual, in, {}, kNow);
    EXPECT_EQ(Admitted(out), Ips{"as it is"});
    EXPECT_EQ(KeepHeld(out.desired, actual, out.hold).services, actual.services);
  }
  // It has another, or had none to keep, or shall have none.
  EXPECT_EQ(Admitted(Admit(With({Real("10.0.0.1"), Real("10.0.0.2")}), With({Real("10.0.0.1")}), in,
                           {}, kNow)),
            Ips{"10.0.0.1"});
  EXPECT_EQ(
      Admitted(Admit(With({Real("10.0.0.2")}), With({Real("10.0.0.1", kDr, 0)}), in, {}, kNow)),
      Ips{});
  EXPECT_EQ(Admitted(Admit(With({}), With({Real("10.0.0.1")}), in, {}, kNow)), Ips{});
}

TEST(Admission, AServiceByMarkHasNoVipToAskAbout) {
  const ServiceKey mark = {Dataplane::kIpvs, FwMark{7}, Protocol::kTcp};
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1")};
  EXPECT_EQ(Admitted(Admit(With({Real("10.0.0.1")}, mark), {}, in, {}, kNow), mark),
            Ips{"10.0.0.1"});
}

TEST(Admission, ManyAreDescribedByTheFirst) {
  std::vector<HeldBack> many;
  for (const char* ip : {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}) {
    many.push_back({kKey, {Ip(ip), 80}, "x", kNow});
  }
  EXPECT_EQ(Describe(many),
            "10.0.0.1 gets no requests yet: x; 10.0.0.2 gets no requests yet: x; 10.0.0.3 gets no "
            "requests yet: x; 10.0.0.4 gets no requests yet: x; and 2 more");
}

TEST(Admission, SilenceNamesTheMend) {
  AdmissionInput in;
  in.agents = {Ip("10.0.0.1")};
  in.port = 8849;
  const std::string text = Describe(Admit(With({Real("10.0.0.1")}), {}, in, {}, kNow).held_back);
  for (const char* part : {"10.0.0.1", "UDP port 8849", "this version or a later one",
                           "heartbeat key", "open from directors to real servers"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

}  // namespace
}  // namespace kube_lvs
