#include "node-agent/peers/setup_questions.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

constexpr auto kDr = ForwardingMethod::kDirectRouting;
using std::chrono::milliseconds;
using Verdict = SetupQuestions::Verdict;

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }
const IpAddress kDirector = Ip("192.0.2.1");

SetupQuestion Question(const char* real_server, uint32_t vip = 0) {
  return {Ip(real_server), {IpAddress::FromV4(0xc6336400u + vip), kDr}};
}

class SetupQuestionsTest : public testing::Test {
 protected:
  SetupAnswer AnswerTo(const SetupQuery& query, const SetupState& state) {
    SetupAnswer answer = {query.nonce, {}};
    for (const VipSetup& setup : query.setups) answer.entries.push_back({setup, state});
    return answer;
  }

  TimePoint now_{std::chrono::hours(1)};
  SetupQuestions questions_{1000};
};

TEST_F(SetupQuestionsTest, AsksAtOnceAndOftenUntilItIsAnsweredThenRarely) {
  EXPECT_EQ(questions_.Next(), TimePoint::max());
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  EXPECT_EQ(questions_.Next(), now_);
  auto due = questions_.Tick(now_);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].to, Ip("10.0.0.1"));
  EXPECT_EQ(due[0].query.director, kDirector);
  EXPECT_EQ(due[0].query.setups, std::vector<VipSetup>{Question("10.0.0.1").setup});
  EXPECT_EQ(questions_.Next(), now_ + SetupQuestions::kOften);
  EXPECT_TRUE(questions_.Tick(now_ + milliseconds(49)).empty());
  // Asking the same again changes nothing.
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_ + milliseconds(49));
  EXPECT_EQ(questions_.Next(), now_ + SetupQuestions::kOften);
  due = questions_.Tick(now_ + milliseconds(50));
  ASSERT_EQ(due.size(), 1u);
  now_ += milliseconds(50);
  EXPECT_EQ(questions_.OnAnswer(AnswerTo(due[0].query, {true, ""}), now_), Verdict::kNews);
  now_ += milliseconds(50);
  ASSERT_EQ(questions_.Tick(now_).size(), 1u);
  EXPECT_EQ(questions_.Next(), now_ + SetupQuestions::kRarely);
  EXPECT_EQ(questions_.Replies(),
            (std::map<SetupQuestion, SetupReply>{
                {Question("10.0.0.1"), {{true, ""}, now_ - milliseconds(50)}}}));
}

TEST_F(SetupQuestionsTest, AfterLongSilenceItAsksRarely) {
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  now_ += SetupQuestions::kOftenFor + milliseconds(1);
  EXPECT_EQ(questions_.Tick(now_).size(), 1u);
  EXPECT_EQ(questions_.Next(), now_ + SetupQuestions::kRarely);
}

TEST_F(SetupQuestionsTest, QuestionsToOneAgentShareDatagrams) {
  std::set<SetupQuestion> all;
  for (uint32_t vip = 0; vip < kMaxSetupsPerQuery + 1; ++vip) {
    all.insert(Question("10.0.0.1", vip));
    all.insert(Question("10.0.0.2", vip));
  }
  questions_.Ask(kDirector, all, now_);
  const auto due = questions_.Tick(now_);
  ASSERT_EQ(due.size(), 4u);
  std::set<SetupQuestion> asked;
  std::set<uint64_t> nonces;
  for (const auto& [to, query] : due) {
    nonces.insert(query.nonce);
    for (const VipSetup& setup : query.setups) asked.insert({to, setup});
  }
  EXPECT_EQ(asked, all);
  EXPECT_EQ(nonces.size(), 4u);
}

TEST_F(SetupQuestionsTest, AFloodOfQuestionsIsSpread) {
  std::set<SetupQuestion> all;
  for (uint32_t n = 0; n < SetupQuestions::kMostQueriesAtOnce + 10; ++n) {
    all.insert({IpAddress::FromV4(0x0a000000u + n), Question("10.0.0.1").setup});
  }
  questions_.Ask(kDirector, all, now_);
  EXPECT_EQ(questions_.Tick(now_).size(), SetupQuestions::kMostQueriesAtOnce);
  EXPECT_EQ(questions_.Next(), now_ + milliseconds(10));
  EXPECT_EQ(questions_.Tick(questions_.Next()).size(), 10u);
}

TEST_F(SetupQuestionsTest, OnlyAnAnswerToAQueryCounts) {
  questions_.Ask(kDirector, {Question("10.0.0.1"), Question("10.0.0.2")}, now_);
  const auto due = questions_.Tick(now_);
  ASSERT_EQ(due.size(), 2u);
  SetupAnswer forged = AnswerTo(due[0].query, {true, ""});
  forged.nonce += 2;
  EXPECT_EQ(questions_.OnAnswer(forged, now_), Verdict::kNotAsked);
  // What was asked of one tells nothing of another, nor of what was not asked.
  SetupAnswer more = AnswerTo(due[0].query, {true, ""});
  more.entries.push_back({Question("10.0.0.1", 9).setup, {true, ""}});
  EXPECT_EQ(questions_.OnAnswer(more, now_), Verdict::kNews);
  EXPECT_EQ(questions_.Replies().size(), 1u);
  EXPECT_TRUE(questions_.Replies().contains(Question("10.0.0.1")));
  EXPECT_EQ(questions_.agents(), std::set<IpAddress>{Ip("10.0.0.1")});
  EXPECT_EQ(questions_.OnAnswer(more, now_), Verdict::kNotAsked) << "a second time";
  EXPECT_EQ(questions_.OnAnswer(AnswerTo(due[1].query, {true, ""}), now_ + milliseconds(10)),
            Verdict::kNews);
}

TEST_F(SetupQuestionsTest, AnAnswerThatComesTooLateDoesNotCount) {
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  const auto due = questions_.Tick(now_);
  now_ += std::chrono::seconds(4);
  questions_.Tick(now_);
  EXPECT_EQ(questions_.OnAnswer(AnswerTo(due[0].query, {true, ""}), now_), Verdict::kNotAsked);
}

TEST_F(SetupQuestionsTest, AnAnswerThatWasOvertakenDoesNotCount) {
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  const auto first = questions_.Tick(now_);
  const auto second = questions_.Tick(now_ + milliseconds(50));
  now_ += milliseconds(60);
  EXPECT_EQ(questions_.OnAnswer(AnswerTo(second[0].query, {false, "no"}), now_), Verdict::kNews);
  EXPECT_EQ(questions_.OnAnswer(AnswerTo(first[0].query, {true, ""}), now_), Verdict::kAsBefore);
  EXPECT_EQ(questions_.Replies().begin()->second.state, (SetupState{false, "no"}));
}

TEST_F(SetupQuestionsTest, OnlyWhatIsNewIsNews) {
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  for (const auto& [state, verdict] :
       std::vector<std::pair<SetupState, Verdict>>{{{false, ""}, Verdict::kNews},
                                                   {{false, ""}, Verdict::kAsBefore},
                                                   {{false, "no"}, Verdict::kNews},
                                                   {{true, ""}, Verdict::kNews},
                                                   {{true, ""}, Verdict::kAsBefore}}) {
    const auto due = questions_.Tick(questions_.Next());
    ASSERT_EQ(due.size(), 1u);
    EXPECT_EQ(questions_.OnAnswer(AnswerTo(due[0].query, state), questions_.Next()), verdict);
  }
}

TEST_F(SetupQuestionsTest, WhatIsNoLongerAskedIsForgotten) {
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  questions_.OnAnswer(AnswerTo(questions_.Tick(now_)[0].query, {true, ""}), now_);
  questions_.Ask(kDirector, {}, now_);
  EXPECT_TRUE(questions_.Replies().empty());
  EXPECT_EQ(questions_.Next(), TimePoint::max());
  questions_.Ask(kDirector, {Question("10.0.0.1")}, now_);
  EXPECT_TRUE(questions_.Replies().empty());
  EXPECT_EQ(questions_.agents(), std::set<IpAddress>{Ip("10.0.0.1")});
}

TEST(SetupState, OfATunnelIsADirectorsOwn) {
  const VipSetup dr = {Ip("192.0.2.200"), kDr};
  const VipSetup tunnel = {Ip("192.0.2.200"), ForwardingMethod::kTunnel};
  HeldSetups held;
  EXPECT_FALSE(StateFor(held, dr, kDirector).ready);
  held[dr] = {{true, ""}};
  held[tunnel] = {
      {true, ""},
      std::map<IpAddress, SetupState>{{kDirector, {true, ""}}, {Ip("192.0.2.2"), {false, "busy"}}}};
  EXPECT_EQ(StateFor(held, dr, Ip("192.0.2.9")), (SetupState{true, ""}));
  EXPECT_EQ(StateFor(held, tunnel, kDirector), (SetupState{true, ""}));
  EXPECT_EQ(StateFor(held, tunnel, Ip("192.0.2.2")), (SetupState{false, "busy"}));
  EXPECT_NE(StateFor(held, tunnel, Ip("192.0.2.9")).why_not.find("192.0.2.9"), std::string::npos);
  held[tunnel].state = {false, "no VIP"};
  EXPECT_EQ(StateFor(held, tunnel, kDirector), (SetupState{false, "no VIP"}));
}

}  // namespace
}  // namespace kube_lvs
