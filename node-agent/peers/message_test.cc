#include "node-agent/peers/message.h"

#include <gtest/gtest.h>

#include <random>

#include "base/status.h"
#include "node-agent/peers/frame.h"

namespace kube_lvs {
namespace {

Heartbeat Example() {
  return {.group = "default",
          .node = "node-1",
          .epoch = 7,
          .incarnation = 1700000000000000000ULL,
          .sequence = 42,
          .ready = true,
          .stopping = false,
          .total_claims = 2,
          .first_claim = 0,
          .claims = {*IpAddress::Parse("192.0.2.10"), *IpAddress::Parse("2001:db8::1")}};
}

TEST(Message, WhatIsEncodedIsDecoded) {
  for (const std::string key : {"", "secret"}) {
    const auto bytes = EncodeHeartbeat(Example(), key);
    ASSERT_TRUE(bytes.ok());
    const auto back = DecodeHeartbeat(*bytes, key);
    ASSERT_TRUE(back.ok()) << Message(back.status());
    EXPECT_EQ(*back, Example());
  }
}

TEST(Message, TheLargestOneFitsADatagram) {
  Heartbeat heartbeat = Example();
  heartbeat.group = std::string(253, 'g');
  heartbeat.node = std::string(253, 'n');
  heartbeat.claims.assign(kMaxClaimsPerHeartbeat, *IpAddress::Parse("2001:db8::1"));
  const auto bytes = EncodeHeartbeat(heartbeat, "k");
  ASSERT_TRUE(bytes.ok());
  EXPECT_LE(bytes->size(), kMaxMessageBytes);
  EXPECT_TRUE(DecodeHeartbeat(*bytes, "k").ok());
  heartbeat.claims.push_back(heartbeat.claims.front());
  EXPECT_FALSE(EncodeHeartbeat(heartbeat, "k").ok());
}

TEST(Message, AnotherKeyIsRefused) {
  const auto tagged = EncodeHeartbeat(Example(), "secret");
  const auto plain = EncodeHeartbeat(Example(), "");
  EXPECT_TRUE(absl::IsUnauthenticated(DecodeHeartbeat(*tagged, "other").status()));
  EXPECT_TRUE(absl::IsUnauthenticated(DecodeHeartbeat(*tagged, "").status()));
  EXPECT_TRUE(absl::IsUnauthenticated(DecodeHeartbeat(*plain, "secret").status()));
}

TEST(Message, EveryChangedBitOfATaggedOneIsRefused) {
  const auto bytes = EncodeHeartbeat(Example(), "secret");
  for (size_t bit = 0; bit < bytes->size() * 8; ++bit) {
    std::vector<uint8_t> changed = *bytes;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_FALSE(DecodeHeartbeat(changed, "secret").ok()) << "bit " << bit;
  }
}

TEST(Message, EveryShorterOrLongerOneIsRefused) {
  const auto bytes = EncodeHeartbeat(Example(), "");
  for (size_t size = 0; size < bytes->size(); ++size) {
    EXPECT_FALSE(DecodeHeartbeat(std::span(*bytes).first(size), "").ok()) << size;
  }
  std::vector<uint8_t> longer = *bytes;
  longer.push_back(0);
  EXPECT_FALSE(DecodeHeartbeat(longer, "").ok());
  longer.resize(kMaxMessageBytes + 1);
  EXPECT_FALSE(DecodeHeartbeat(longer, "").ok());
}

TEST(Message, GarbageNeverCrashes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto good = EncodeHeartbeat(Example(), "");
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> bytes = *good;
    bytes.resize(random() % 120);
    for (size_t i = 6; i < bytes.size(); ++i) {
      if (random() % 4 == 0) bytes[i] = static_cast<uint8_t>(random());
    }
    DecodeHeartbeat(bytes, "").status().IgnoreError();  // only that it returns
  }
}

}  // namespace
}  // namespace kube_lvs
