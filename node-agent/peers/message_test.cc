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
          .leaving = true,
          .claims = {.total = 2,
                     .first = 0,
                     .vips = {*IpAddress::Parse("192.0.2.10"), *IpAddress::Parse("2001:db8::1")}},
          .unable = {.total = 40, .first = 39, .vips = {*IpAddress::Parse("192.0.2.11")}}};
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
  heartbeat.claims.vips.assign(kMaxClaimsPerHeartbeat, *IpAddress::Parse("2001:db8::1"));
  heartbeat.unable.vips.assign(kMaxUnablePerHeartbeat, *IpAddress::Parse("2001:db8::2"));
  const auto bytes = EncodeHeartbeat(heartbeat, "k");
  ASSERT_TRUE(bytes.ok());
  EXPECT_LE(bytes->size(), kMaxMessageBytes);
  EXPECT_TRUE(DecodeHeartbeat(*bytes, "k").ok());
  Heartbeat larger = heartbeat;
  larger.claims.vips.push_back(larger.claims.vips.front());
  EXPECT_FALSE(EncodeHeartbeat(larger, "k").ok());
  heartbeat.unable.vips.push_back(heartbeat.unable.vips.front());
  EXPECT_FALSE(EncodeHeartbeat(heartbeat, "k").ok());
}

TEST(Message, AnotherVersionIsRefused) {
  auto bytes = EncodeHeartbeat(Example(), "");
  ASSERT_TRUE(bytes.ok());
  for (const uint8_t version : {1, 3}) {
    (*bytes)[4] = version;
    EXPECT_TRUE(absl::IsInvalidArgument(DecodeHeartbeat(*bytes, "").status()));
  }
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
