#include "node-agent/peers/setup_message.h"

#include <gtest/gtest.h>

#include <random>

#include "node-agent/peers/frame.h"

namespace kube_lvs {
namespace {

constexpr auto kDr = ForwardingMethod::kDirectRouting;
constexpr auto kTun = ForwardingMethod::kTunnel;

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

SetupQuery Query() {
  return {.nonce = 0x0123456789abcdefULL,
          .director = Ip("192.0.2.1"),
          .setups = {{Ip("192.0.2.200"), kDr}, {Ip("2001:db8::1"), kTun}}};
}

SetupAnswer Answer() {
  return {.nonce = 0x0123456789abcdefULL,
          .entries = {{{Ip("192.0.2.200"), kDr}, {true, ""}},
                      {{Ip("2001:db8::1"), kTun}, {false, "no decapsulation here"}}}};
}

TEST(SetupMessage, WhatIsEncodedIsDecoded) {
  for (const std::string key : {"", "secret"}) {
    const auto query = EncodeSetupQuery(Query(), key);
    ASSERT_TRUE(query.ok());
    EXPECT_EQ(KindOf(*query), kSetupQueryKind);
    EXPECT_EQ(*DecodeSetupQuery(*query, key), Query());
    const auto answer = EncodeSetupAnswer(Answer(), key);
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(KindOf(*answer), kSetupAnswerKind);
    EXPECT_EQ(*DecodeSetupAnswer(*answer, key), Answer());
  }
}

TEST(SetupMessage, OneKindIsNotTakenForTheOther) {
  EXPECT_FALSE(DecodeSetupAnswer(*EncodeSetupQuery(Query(), ""), "").ok());
  EXPECT_FALSE(DecodeSetupQuery(*EncodeSetupAnswer(Answer(), ""), "").ok());
}

TEST(SetupMessage, TheLargestAnswerFitsADatagramAndIsLittleLongerThanItsQuery) {
  SetupQuery query = Query();
  query.setups.assign(kMaxSetupsPerQuery, {Ip("2001:db8::1"), kTun});
  SetupAnswer answer = {.nonce = 1, .entries = {}};
  for (const VipSetup& setup : query.setups) {
    answer.entries.push_back({setup, {false, std::string(1000, 'x')}});
  }
  const auto asked = EncodeSetupQuery(query, "k");
  const auto answered = EncodeSetupAnswer(answer, "k");
  ASSERT_TRUE(asked.ok() && answered.ok());
  EXPECT_LE(answered->size(), kMaxMessageBytes);
  EXPECT_LE(answered->size(), asked->size() + 2 * kMaxSetupsPerQuery + kMaxReasonBytesTogether);
  const auto back = DecodeSetupAnswer(*answered, "k");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->entries.size(), kMaxSetupsPerQuery);
  EXPECT_EQ(back->entries[0].state.why_not, std::string(kMaxReasonBytes, 'x'));
  EXPECT_EQ(back->entries.back().state.why_not, "");
  query.setups.push_back(query.setups.front());
  EXPECT_FALSE(EncodeSetupQuery(query, "k").ok());
}

TEST(SetupMessage, AnotherKeyOrAChangedBitIsRefused) {
  const auto query = EncodeSetupQuery(Query(), "secret");
  const auto answer = EncodeSetupAnswer(Answer(), "secret");
  EXPECT_TRUE(absl::IsUnauthenticated(DecodeSetupQuery(*query, "other").status()));
  EXPECT_TRUE(absl::IsUnauthenticated(DecodeSetupQuery(*query, "").status()));
  EXPECT_TRUE(absl::IsUnauthenticated(
      DecodeSetupAnswer(*EncodeSetupAnswer(Answer(), ""), "secret").status()));
  for (size_t bit = 0; bit < answer->size() * 8; ++bit) {
    std::vector<uint8_t> changed = *answer;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_FALSE(DecodeSetupAnswer(changed, "secret").ok()) << "bit " << bit;
  }
}

TEST(SetupMessage, EveryShorterOrLongerOneIsRefused) {
  std::vector<uint8_t> query = *EncodeSetupQuery(Query(), "");
  std::vector<uint8_t> answer = *EncodeSetupAnswer(Answer(), "");
  for (size_t size = 0; size < query.size(); ++size) {
    EXPECT_FALSE(DecodeSetupQuery(std::span(query).first(size), "").ok()) << size;
  }
  for (size_t size = 0; size < answer.size(); ++size) {
    EXPECT_FALSE(DecodeSetupAnswer(std::span(answer).first(size), "").ok()) << size;
  }
  query.push_back(0);
  answer.push_back(0);
  EXPECT_FALSE(DecodeSetupQuery(query, "").ok());
  EXPECT_FALSE(DecodeSetupAnswer(answer, "").ok());
}

TEST(SetupMessage, ValuesThatMeanNothingAreRefused) {
  std::vector<uint8_t> query = *EncodeSetupQuery(Query(), "");
  constexpr size_t kCountAt = 6 + 8 + 5, kMethodAt = kCountAt + 1;
  for (const uint8_t method : {0, 3, 255}) {
    query[kMethodAt] = method;
    EXPECT_FALSE(DecodeSetupQuery(query, "").ok()) << int{method};
  }
  query = *EncodeSetupQuery(Query(), "");
  query[kCountAt] = kMaxSetupsPerQuery + 1;
  query.resize(kMaxMessageBytes);
  EXPECT_FALSE(DecodeSetupQuery(query, "").ok());
  std::vector<uint8_t> answer = *EncodeSetupAnswer(Answer(), "");
  answer[6 + 8 + 1 + 6] = 2;  // ready or not
  EXPECT_FALSE(DecodeSetupAnswer(answer, "").ok());
  SetupQuery nat = Query();
  nat.setups[0].method = ForwardingMethod::kNat;
  EXPECT_FALSE(EncodeSetupQuery(nat, "").ok());
}

TEST(SetupMessage, AReasonIsPrintableWhateverWasSent) {
  SetupAnswer answer = Answer();
  answer.entries[1].state.why_not = "a\nb\xff\x1b[31m";
  const auto back = DecodeSetupAnswer(*EncodeSetupAnswer(answer, ""), "");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->entries[1].state.why_not, "a?b??[31m");
}

TEST(SetupMessage, GarbageNeverCrashes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto query = EncodeSetupQuery(Query(), "");
  const auto answer = EncodeSetupAnswer(Answer(), "");
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> bytes = round % 2 == 0 ? *query : *answer;
    bytes.resize(random() % 120);
    for (size_t i = 6; i < bytes.size(); ++i) {
      if (random() % 4 == 0) bytes[i] = static_cast<uint8_t>(random());
    }
    DecodeSetupQuery(bytes, "").status().IgnoreError();   // only that it returns
    DecodeSetupAnswer(bytes, "").status().IgnoreError();  // as above
  }
}

}  // namespace
}  // namespace kube_lvs
