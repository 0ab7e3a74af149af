#include "node-agent/peers/election.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <random>

#include "node-agent/peers/ownership.h"

namespace kube_lvs {
namespace {

using std::chrono::milliseconds;

constexpr Duration kInterval = milliseconds(100);

IpAddress Vip(uint32_t n) { return IpAddress::FromV4(0xc6336400u + n); }
IpAddress AddressOf(const std::string& node) {
  return IpAddress::FromV4(0x0a000000u + static_cast<uint8_t>(node[0]));
}

std::set<IpAddress> Vips(uint32_t count) {
  std::set<IpAddress> vips;
  for (uint32_t n = 0; n < count; ++n) vips.insert(Vip(n));
  return vips;
}

// Directors on one segment; steps of one interval, messages arrive at once.
class Segment {
 public:
  explicit Segment(std::vector<std::string> nodes, uint32_t vips = 20)
      : nodes_(std::move(nodes)), vips_(Vips(vips)) {
    group_.name = "default";
    group_.epoch = 1;
    group_.interval = kInterval;
    for (const std::string& node : nodes_) group_.members.push_back({node, AddressOf(node)});
  }

  void Boot(const std::string& node, std::set<IpAddress> adopted = {}) {
    auto election = std::make_unique<Election>(node, ++incarnation_);
    election->Adopt(adopted);
    election->SetGroup(group_, now_);
    election->SetVips(vips_);
    agents_[node] = std::move(election);
    answering_[node] = std::move(adopted);
    node_up_.insert(node);
    agents_[node]->SetReady(true, {}, now_);
  }
  // The agent of `node` says what it cannot serve.
  void SetUnable(const std::string& node, const std::set<IpAddress>& vips) {
    agents_.at(node)->SetReady(true, vips, now_);
  }
  // The agent is gone, its node and dataplane are not.
  void KillAgent(const std::string& node) { agents_.erase(node); }
  void KillNode(const std::string& node) {
    agents_.erase(node);
    node_up_.erase(node);
    answering_.erase(node);
    // Unlike one that goes on with the packets, it is missed by the router itself.
    std::erase_if(router_, [&node](const auto& entry) { return entry.second == node; });
  }
  Election& operator[](const std::string& node) { return *agents_.at(node); }
  void Cut(const std::string& a, const std::string& b) {
    cut_.insert({a, b});
    cut_.insert({b, a});
  }
  void Heal() { cut_.clear(); }

  void Step(int intervals = 1) {
    for (int i = 0; i < intervals; ++i) {
      now_ += kInterval;
      for (auto& [node, election] : agents_) {
        const Election::Due due = election->Tick(now_);
        const auto bytes = EncodeHeartbeat(due.message, "key");
        ASSERT_TRUE(bytes.ok());
        for (const PeerMember& to : due.to) {
          if (agents_.contains(to.node) && !cut_.contains({node, to.node})) {
            agents_[to.node]->OnHeartbeat(*DecodeHeartbeat(*bytes, "key"), now_);
          }
        }
        for (const PeerMember& probed : due.probe) {
          if (node_up_.contains(probed.node) && !cut_.contains({node, probed.node})) {
            election->OnProbeAnswer(probed.address, now_);
          }
        }
      }
      for (auto& [node, election] : agents_) {
        std::set<IpAddress> claims = election->Claims(now_);
        std::set<IpAddress> announced = election->TakeDoubtful(now_);
        for (const IpAddress& vip : announced) EXPECT_TRUE(claims.contains(vip));
        std::set_difference(claims.begin(), claims.end(), answering_[node].begin(),
                            answering_[node].end(), std::inserter(announced, announced.end()));
        for (const IpAddress& vip : announced) router_[vip] = node;
        announced_[node] += announced.size();
        answering_[node] = std::move(claims);
      }
    }
  }

  // The router forgets them, asks anew, and takes any of the answers.
  void RouterAsks(std::mt19937& random) {
    for (const IpAddress& vip : vips_) {
      const std::set<std::string> nodes = Answering(vip);
      if (nodes.empty()) continue;
      router_[vip] = *std::next(nodes.begin(), static_cast<long>(random() % nodes.size()));
    }
  }

  // Who answers for the VIP, dataplanes without an agent included.
  std::set<std::string> Answering(const IpAddress& vip) const {
    std::set<std::string> nodes;
    for (const auto& [node, vips] : answering_) {
      if (vips.contains(vip)) nodes.insert(node);
    }
    return nodes;
  }
  // And the router knows by whom.
  void ExpectEachAnsweredOnce() const {
    for (const IpAddress& vip : vips_) {
      const std::set<std::string> nodes = Answering(vip);
      EXPECT_EQ(nodes.size(), 1u) << vip.ToString();
      const auto known = router_.find(vip);
      if (known == router_.end()) continue;
      EXPECT_TRUE(nodes.contains(known->second)) << vip.ToString() << " at " << known->second;
    }
  }
  // How many VIPs it has announced until now.
  size_t AnnouncedBy(const std::string& node) { return announced_[node]; }
  std::set<IpAddress> AnsweredBy(const std::string& node) const { return answering_.at(node); }
  TimePoint now() const { return now_; }
  const std::set<IpAddress>& vips() const { return vips_; }
  PeerGroup& group() { return group_; }

 private:
  std::vector<std::string> nodes_;
  std::set<IpAddress> vips_;
  PeerGroup group_;
  TimePoint now_{std::chrono::hours(1)};
  uint64_t incarnation_ = 0;
  std::map<std::string, std::unique_ptr<Election>> agents_;
  std::map<std::string, std::set<IpAddress>> answering_;
  std::map<IpAddress, std::string> router_;  // to whom it sends; nobody tells it of an end
  std::map<std::string, size_t> announced_;
  std::set<std::string> node_up_;
  std::set<std::pair<std::string, std::string>> cut_;
};

TEST(Election, ADirectorAloneInItsGroupAnswersAtOnce) {
  Segment net({"a"});
  net.Boot("a");
  net.Step();
  EXPECT_EQ(net.AnsweredBy("a"), net.vips());
}

TEST(Election, OneThatIsNoMemberAnswersForNothing) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("x");
  net.Step(200);
  EXPECT_TRUE(net.AnsweredBy("x").empty());
}

TEST(Election, NobodyAnswersBeforeOneDetectionTimeHasPassed) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(3);
  EXPECT_TRUE(net.AnsweredBy("a").empty());
  EXPECT_TRUE(net.AnsweredBy("b").empty());
  net.Step(2);
  net.ExpectEachAnsweredOnce();
}

TEST(Election, TheVipsAreSharedAndEachIsAnsweredOnce) {
  Segment net({"a", "b", "c"}, 200);
  for (const char* node : {"a", "b", "c"}) net.Boot(node);
  net.Step(10);
  net.ExpectEachAnsweredOnce();
  for (const char* node : {"a", "b", "c"}) EXPECT_GT(net.AnsweredBy(node).size(), 40u);
}

TEST(Election, ADeadNodesVipsAreTakenWithinTwoDetectionTimesAndOthersStay) {
  Segment net({"a", "b", "c"}, 60);
  for (const char* node : {"a", "b", "c"}) net.Boot(node);
  net.Step(10);
  const auto before = net.AnsweredBy("a");
  net.KillNode("b");
  net.Step(6);
  net.ExpectEachAnsweredOnce();
  for (const IpAddress& vip : before) EXPECT_EQ(net.Answering(vip), std::set<std::string>{"a"});
}

TEST(Election, ADeadAgentsVipsStayForTheGrace) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  const auto of_a = net.AnsweredBy("a");
  ASSERT_FALSE(of_a.empty());
  net.KillAgent("a");
  net.Step(95);
  EXPECT_EQ(net[std::string("b")].Peers(net.now()).at("a"), PeerState::kAgentSilent);
  net.ExpectEachAnsweredOnce();
  net.Step(15);
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
}

TEST(Election, ANodeThatGoesDownAfterAnAnnouncedStopIsSoonDead) {
  Segment net({"a", "b"});
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(40);
  net["a"].Stop();
  net.Step();
  net.KillNode("a");
  net.Step(8);
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
}

TEST(Election, WhoLeavesForGoodIsFollowedAtOnceAndMayComeBack) {
  Segment net({"a", "b"});
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  const auto of_a = net.AnsweredBy("a");
  net["a"].Leave();
  net.Step();
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
  EXPECT_TRUE(net.AnsweredBy("a").empty());
  net.Step();
  EXPECT_EQ(net["a"].ClaimedByPeers(net.now()), net.vips());
  net.KillAgent("a");
  net.Step(3);
  net.Boot("a");
  net["a"].SetReady(false, {}, net.now());
  net.Step(10);
  net["a"].SetReady(true, {}, net.now());
  net.Step(2);
  EXPECT_EQ(net.AnsweredBy("a"), of_a);
  net.ExpectEachAnsweredOnce();
}

TEST(Election, ARestartedAgentKeepsWhatItsKernelAnswers) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  const auto of_a = net.AnsweredBy("a");
  net.KillAgent("a");
  net.Step(20);
  net.Boot("a", of_a);
  for (int i = 0; i < 20; ++i) {
    net.Step();
    net.ExpectEachAnsweredOnce();
    EXPECT_EQ(net.AnsweredBy("a"), of_a) << "interval " << i;
  }
}

TEST(Election, ARestartedAgentTakesNothingNewBeforeItHasListened) {
  Segment net({"a", "b"});
  const std::set<IpAddress> adopted = {Vip(3)};
  net.Boot("a", adopted);
  net.Step(3);
  EXPECT_EQ(net.AnsweredBy("a"), adopted);
  net.Step(3);
  EXPECT_EQ(net.AnsweredBy("a"), net.vips());
}

TEST(Election, AReturningNodeTakesItsVipsBackOnlyOnceItIsReady) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  const auto of_a = net.AnsweredBy("a");
  net.KillNode("a");
  net.Step(10);
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
  net.Boot("a");
  net["a"].SetReady(false, {}, net.now());
  net.Step(10);
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
  net["a"].SetReady(true, {}, net.now());
  net.Step(2);
  EXPECT_EQ(net.AnsweredBy("a"), of_a);
  net.ExpectEachAnsweredOnce();
}

TEST(Election, WhereNobodyIsReadyEachVipIsStillAnsweredOnce) {
  Segment net({"a", "b", "c"});
  for (const char* node : {"a", "b", "c"}) {
    net.Boot(node);
    net[node].SetReady(false, {}, net.now());
  }
  net.Step(10);
  net.ExpectEachAnsweredOnce();
  net["b"].SetReady(true, {}, net.now());
  net.Step(2);
  for (const IpAddress& vip : net.vips()) EXPECT_EQ(net.Answering(vip), std::set<std::string>{"b"});
}

TEST(Election, AfterASplitHealsOneWithdrawsAtOnce) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  net.Cut("a", "b");
  net.Step(10);
  EXPECT_EQ(net.AnsweredBy("a"), net.vips());
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
  net.Heal();
  net.Step(2);
  net.ExpectEachAnsweredOnce();
}

TEST(Election, VipsThatAFellowMayHaveAnsweredForAreAnnouncedAgainAndNoOthers) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(50);
  const size_t of_a = net.AnsweredBy("a").size(), of_b = net.AnsweredBy("b").size();
  size_t by_a = net.AnnouncedBy("a"), by_b = net.AnnouncedBy("b");

  // A restart that nobody noticed.
  const auto adopted = net.AnsweredBy("a");
  net.KillAgent("a");
  net.Step(2);
  net.Boot("a", adopted);
  net.Step(50);
  EXPECT_EQ(net.AnnouncedBy("a"), by_a + of_a);
  EXPECT_EQ(net.AnnouncedBy("b"), by_b);

  // Both answer for everything.
  net.Cut("a", "b");
  net.Step(10);
  net.Heal();
  net.Step(50);
  by_a += of_a + of_b;
  by_b += of_a;
  EXPECT_GE(net.AnnouncedBy("a"), by_a + of_a);
  EXPECT_GE(net.AnnouncedBy("b"), by_b + of_b);
  net.ExpectEachAnsweredOnce();
  by_a = net.AnnouncedBy("a"), by_b = net.AnnouncedBy("b");
  net.Step(50);
  EXPECT_EQ(net.AnnouncedBy("a"), by_a);
  EXPECT_EQ(net.AnnouncedBy("b"), by_b);
}

TEST(Election, AClaimThatAFellowMadeTooIsAnnouncedAgainWhenTheFellowsEnds) {
  PeerGroup group;
  group.name = "default";
  group.epoch = 2;
  group.members = {{"a", AddressOf("a")}, {"b", AddressOf("b")}};
  TimePoint now{std::chrono::hours(1)};
  Election a("a", 1);
  a.Adopt({Vip(0)});
  a.SetGroup(group, now);
  a.SetVips(Vips(2));
  a.SetReady(true, {}, now);
  EXPECT_EQ(a.TakeDoubtful(now), std::set<IpAddress>{Vip(0)});
  EXPECT_TRUE(a.TakeDoubtful(now).empty());

  // It is not ready, so its claims take none of ours.
  Heartbeat b = {.group = "default", .node = "b", .epoch = 1, .incarnation = 1};
  const auto says = [&](const std::vector<IpAddress>& claims) {
    ++b.sequence;
    b.claims = {static_cast<uint32_t>(claims.size()), 0, claims};
    EXPECT_EQ(a.OnHeartbeat(b, now), Election::Verdict::kAccepted);
  };
  says({});
  for (int i = 0; i < 5; ++i) {
    now += kInterval;
    a.Tick(now);
    says({});
  }
  ASSERT_EQ(a.Claims(now), Vips(2));
  a.TakeDoubtful(now);
  says({Vip(0), Vip(1)});
  EXPECT_TRUE(a.TakeDoubtful(now).empty());
  says({Vip(1)});
  EXPECT_EQ(a.TakeDoubtful(now), std::set<IpAddress>{Vip(0)});
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(a.TakeDoubtful(now).empty());
    now += kInterval;
    a.Tick(now);
  }
  now += kInterval;
  a.Tick(now);
  ASSERT_EQ(a.Peers(now).at("b"), PeerState::kDead);
  EXPECT_EQ(a.TakeDoubtful(now), std::set<IpAddress>{Vip(1)});

  // Back after that, it may have answered for any; as it leaves, however often it says so, for
  // none.
  says({});
  EXPECT_EQ(a.TakeDoubtful(now), Vips(2));
  b.leaving = true;
  for (int i = 0; i < 5; ++i) says({});
  EXPECT_TRUE(a.TakeDoubtful(now).empty());
}

TEST(Election, AClaimOfAHigherEpochWins) {
  Segment net({"a", "b"}, 30);
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  // b learns of a newer group, of which a is no member any more; a has not heard of it yet.
  PeerGroup newer = net.group();
  newer.epoch = 2;
  net["b"].SetGroup(newer, net.now());
  Heartbeat claim = {.group = "default", .node = "b", .epoch = 2, .incarnation = 99, .sequence = 1};
  claim.ready = true;
  for (const IpAddress& vip : net.vips()) claim.claims.vips.push_back(vip);
  claim.claims.total = 30;
  ASSERT_EQ(net["a"].OnHeartbeat(claim, net.now()), Election::Verdict::kAccepted);
  EXPECT_TRUE(net["a"].Claims(net.now()).empty());
}

TEST(Election, ReplayedMessagesAndStrangersAreIgnored) {
  Segment net({"a", "b"});
  net.Boot("a");
  const Heartbeat first = {.group = "default", .node = "b", .incarnation = 5, .sequence = 10};
  EXPECT_EQ(net["a"].OnHeartbeat(first, net.now()), Election::Verdict::kAccepted);
  EXPECT_EQ(net["a"].OnHeartbeat(first, net.now()), Election::Verdict::kReplayed);
  Heartbeat older = first;
  older.incarnation = 4;
  older.sequence = 1000;
  EXPECT_EQ(net["a"].OnHeartbeat(older, net.now()), Election::Verdict::kReplayed);
  Heartbeat restarted = first;
  restarted.incarnation = 6;
  restarted.sequence = 1;
  EXPECT_EQ(net["a"].OnHeartbeat(restarted, net.now()), Election::Verdict::kAccepted);
  Heartbeat stranger = first;
  stranger.node = "x";
  EXPECT_EQ(net["a"].OnHeartbeat(stranger, net.now()), Election::Verdict::kNotAMember);
  Heartbeat elsewhere = restarted;
  elsewhere.group = "other";
  elsewhere.sequence = 2;
  EXPECT_EQ(net["a"].OnHeartbeat(elsewhere, net.now()), Election::Verdict::kNotAMember);
}

TEST(Election, OneThatWasItselfLateDoesNotJudge) {
  Segment net({"a", "b"});
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  Election& a = net["a"];
  const auto before = a.Claims(net.now());
  const TimePoint late = net.now() + std::chrono::seconds(5);
  a.Tick(late);
  EXPECT_EQ(a.Peers(late).at("b"), PeerState::kAlive);
  EXPECT_EQ(a.Claims(late), before);
  EXPECT_EQ(a.TakeDoubtful(late), before);  // b may have had them meanwhile
  EXPECT_TRUE(a.TakeDoubtful(late).empty());
}

TEST(Election, AMemberInMaintenanceHandsItsVipsOver) {
  Segment net({"a", "b"});
  net.group().maintenance = {"a"};
  net.Boot("a");
  net.Boot("b");
  net.Step(10);
  EXPECT_TRUE(net.AnsweredBy("a").empty());
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
}

TEST(Election, ManyClaimsTravelInParts) {
  Segment net({"a", "b"}, 500);
  net.Boot("a");
  net.Boot("b");
  net.Step(30);
  net.ExpectEachAnsweredOnce();
  net.Cut("a", "b");
  net.Step(10);
  net.Heal();
  net.Step(2);
  net.ExpectEachAnsweredOnce();
}

TEST(Election, AVipThatItsOwnerCannotServeGoesToAFellowAndNothingElseDoes) {
  Segment net({"a", "b"});
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  std::set<IpAddress> of_a = net.AnsweredBy("a");
  ASSERT_GT(of_a.size(), 1u);
  const IpAddress vip = *of_a.begin();
  net.SetUnable("a", {vip});
  net.Step(13);
  net.ExpectEachAnsweredOnce();
  EXPECT_EQ(net.Answering(vip), std::set<std::string>{"b"});
  net.SetUnable("a", {});
  net.Step(2);
  EXPECT_EQ(net.AnsweredBy("a"), of_a);
  net.ExpectEachAnsweredOnce();
}

TEST(Election, AFailureThatPassesMovesNothing) {
  Segment net({"a", "b"});
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  const std::set<IpAddress> of_a = net.AnsweredBy("a");
  for (int round = 0; round < 5; ++round) {
    net.SetUnable("a", of_a);
    for (int i = 0; i < 8; ++i) {
      net.Step();
      EXPECT_EQ(net.AnsweredBy("a"), of_a);
      net.ExpectEachAnsweredOnce();
    }
    net.SetUnable("a", {});
    net.Step();
  }
}

TEST(Election, WhatNobodyCanServeStaysWhereItIs) {
  for (const auto& [first, second] : {std::pair("a", "b"), std::pair("b", "a")}) {
    Segment net({"a", "b", "c"});
    for (const char* node : {"a", "b", "c"}) net.Boot(node);
    net.Step(10);
    std::map<std::string, std::set<IpAddress>> before;
    for (const char* node : {"a", "b", "c"}) before[node] = net.AnsweredBy(node);
    net.SetUnable("c", net.vips());
    net.SetUnable(first, net.vips());
    net.Step(3);
    net.SetUnable(second, net.vips());
    for (int i = 0; i < 40; ++i) {
      net.Step();
      for (const auto& [node, vips] : before) EXPECT_EQ(net.AnsweredBy(node), vips) << i;
      if (HasFailure()) return;
    }
  }
}

TEST(Election, WhoeverServesForAnotherKeepsItUntilItCannotEither) {
  Segment net({"a", "b"}, 1);
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  const std::string owner = *net.Answering(Vip(0)).begin();
  const std::string other = owner == "a" ? "b" : "a";
  net.SetUnable(owner, net.vips());
  net.Step(40);
  EXPECT_EQ(net.Answering(Vip(0)), std::set<std::string>{other});
  net.SetUnable(other, net.vips());
  net.Step(8);
  EXPECT_EQ(net.Answering(Vip(0)), std::set<std::string>{other});
  net.Step(8);
  EXPECT_EQ(net.Answering(Vip(0)), std::set<std::string>{owner});
}

TEST(Election, OneThatComesUnableNeverTakesTheVip) {
  Segment net({"a", "b"});
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  const std::set<IpAddress> of_a = net.AnsweredBy("a");
  const IpAddress vip = *of_a.begin();
  net.KillNode("a");
  net.Step(10);
  net.Boot("a");
  net["a"].SetReady(false, {}, net.now());
  net.Step(10);
  net["a"].SetReady(true, {vip}, net.now());
  for (int i = 0; i < 30; ++i) {
    net.Step();
    EXPECT_EQ(net.Answering(vip), std::set<std::string>{"b"});
    if (i > 1) net.ExpectEachAnsweredOnce();
  }
}

TEST(Election, ARestartTakesNoVipFromTheFellowThatServesIt) {
  Segment net({"a", "b"});
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  const IpAddress vip = *net.AnsweredBy("a").begin();
  net.SetUnable("a", {vip});
  net.Step(20);
  const std::set<IpAddress> adopted = net.AnsweredBy("a");
  ASSERT_FALSE(adopted.contains(vip));
  net.KillAgent("a");
  net.Step(5);
  net.Boot("a", adopted);
  net["a"].SetReady(false, {}, net.now());
  net.Step();
  net["a"].SetReady(true, {vip}, net.now());
  for (int i = 0; i < 30; ++i) {
    net.Step();
    EXPECT_EQ(net.AnsweredBy("a"), adopted);
    net.ExpectEachAnsweredOnce();
  }
}

TEST(Election, ManyThatCannotBeServedTravelInParts) {
  Segment net({"a", "b"}, 200);
  for (const char* node : {"a", "b"}) net.Boot(node);
  net.Step(10);
  net.SetUnable("a", net.vips());
  net.Step(30);
  EXPECT_EQ(net.AnsweredBy("b"), net.vips());
  EXPECT_TRUE(net.AnsweredBy("a").empty());
  net.SetUnable("a", {});
  net.Step(2);
  net.ExpectEachAnsweredOnce();
  EXPECT_FALSE(net.AnsweredBy("a").empty());
}

// Whatever happens, soon after the last event each VIP is answered by exactly one director.
TEST(Election, ItHeals) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 30; ++round) {
    const std::vector<std::string> nodes = {"a", "b", "c", "d"};
    Segment net(nodes, 40);
    std::set<std::string> up;
    for (const std::string& node : nodes) {
      net.Boot(node);
      up.insert(node);
    }
    for (int event = 0; event < 15; ++event) {
      const std::string node = nodes[random() % nodes.size()];
      const std::string other = nodes[random() % nodes.size()];
      switch (random() % 6) {
        case 0:
          if (up.size() > 1 && up.erase(node) > 0) net.KillNode(node);
          break;
        case 1:
          if (up.contains(node)) {
            const auto adopted = net.AnsweredBy(node);
            net.KillAgent(node);
            net.Step(static_cast<int>(random() % 5));
            net.Boot(node, adopted);
          }
          break;
        case 2:
          if (up.insert(node).second) net.Boot(node);
          break;
        case 3:
          net.Cut(node, other);
          break;
        case 4:
          net.Heal();
          break;
        case 5:
          if (up.contains(node)) {
            std::set<IpAddress> unable;
            for (const IpAddress& vip : net.vips()) {
              if (random() % 4 == 0) unable.insert(vip);
            }
            net.SetUnable(node, unable);
          }
          break;
      }
      net.Step(static_cast<int>(random() % 12));
      if (random() % 2 == 0) net.RouterAsks(random);
    }
    net.Heal();
    net.Step(25);
    net.ExpectEachAnsweredOnce();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace kube_lvs
