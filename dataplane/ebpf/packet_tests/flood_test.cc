// Tables of many sets: under floods of forged sources, and full to the half.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

// A flood of UDP from forged sources, one packet each.
TEST(BigTable, AUdpFloodLeavesEstablishedConnectionsAlone) {
  Director director(Stage::kTc, 64);
  director.Add({.reals = {{.address = "10.1.0.2"}}});
  director.Add({.id = 2, .protocol = 17, .reals = {{.address = "10.1.0.3"}}, .first_real = 2});
  const int held = 64;
  for (int i = 0; i < held; ++i) {
    Frame frame = ClientFrame("10.1.0.1", 1024 + i);
    director.Run(frame);
    frame.flags = kAck;
    director.Run(frame);
  }
  for (int i = 0; i < 4000; ++i) {
    Frame frame = ClientFrame("10.2.0.1", 1024 + i);
    frame.src += i % 251;
    frame.protocol = 17;
    ASSERT_EQ(director.Run(frame).verdict, Verdict::kSent);
  }
  EXPECT_EQ(director.real_conns(1).active, static_cast<uint32_t>(held));
  EXPECT_EQ(director.Entries().size(), held + director.real_conns(2).inactive);
  for (int i = 0; i < held; ++i) {
    Frame frame = ClientFrame("10.1.0.1", 1024 + i);
    frame.flags = kAck;
    EXPECT_EQ(director.Run(frame).verdict, Verdict::kSent);
  }
  // A new client is served in the middle of it.
  Frame frame = ClientFrame("10.1.0.1", 60000);
  EXPECT_EQ(director.Run(frame).verdict, Verdict::kSent);
  frame.flags = kAck;
  EXPECT_EQ(director.Run(frame).verdict, Verdict::kSent);
  EXPECT_TRUE(director.Drops().empty());
}

// A flood of SYNs from forged sources to the very service that clients are served by, whose
// scheduler goes by the counts that the flood raises.
TEST(BigTable, ASynFloodLeavesEstablishedConnectionsAlone) {
  constexpr uint32_t kReals = 10;
  Director director(Stage::kTc, 64);
  std::vector<Real> reals;
  for (uint32_t i = 0; i < kReals; ++i) {
    reals.push_back({.address = "10.1.0." + std::to_string(100 + i)});
  }
  director.Add({.scheduler = KLVS_SCHEDULER_WLC, .reals = reals});
  const auto send = [&](Frame frame, uint8_t flags) {
    frame.flags = flags;
    EXPECT_EQ(director.Run(frame).verdict, Verdict::kSent);
  };
  // Of the clients that are no forgeries: the real server by port.
  const auto established = [&] {
    std::map<uint16_t, uint32_t> out;
    for (const klvs_conn* c : director.Entries()) {
      if (KLVS_CTL_STATE(c->ctl) != KLVS_ESTABLISHED) continue;
      EXPECT_EQ(ntohl(c->key.src), Ip("10.1.0.1"));
      out[ntohs(c->key.sport)] = c->real;
    }
    return out;
  };
  uint16_t next_port = 1024;
  const auto open = [&] {
    const Frame client = ClientFrame("10.1.0.1", next_port++);
    send(client, kSyn);
    send(client, kAck);
  };
  for (int i = 0; i < 60; ++i) open();
  std::map<uint16_t, uint32_t> held = established();
  ASSERT_EQ(held.size(), 60U);
  for (uint32_t real = 1; real <= kReals; ++real) EXPECT_EQ(director.real_conns(real).active, 6U);

  for (int i = 0; i < 4000; ++i) {
    Frame forged = ClientFrame("10.2.0.1", static_cast<uint16_t>(1024 + i));
    forged.src += static_cast<uint32_t>(i) % 251;
    send(forged, kSyn);
    if (i % 100 != 50) continue;
    open();  // in the middle of it
    const auto now = established();
    ASSERT_EQ(now.size(), held.size() + 1) << i;
    held.insert(*now.rbegin());
    ASSERT_EQ(now, held) << i;
  }
  for (int i = 0; i < 10; ++i) open();  // and after it
  std::map<uint16_t, uint32_t> after = established();
  ASSERT_EQ(after.size(), held.size() + 10);
  for (const auto& [port, real] : held) EXPECT_EQ(after[port], real) << port;
  for (const auto& [port, real] : after) send(ClientFrame("10.1.0.1", port), kAck);
  EXPECT_EQ(established(), after);

  // What was evicted is not counted any more, so that wlc still spreads by what is there.
  std::map<uint32_t, uint32_t> entries;
  for (const klvs_conn* c : director.Entries()) ++entries[c->real];
  for (uint32_t real = 1; real <= kReals; ++real) {
    EXPECT_EQ(director.real_conns(real).active, entries[real]) << real;
    EXPECT_EQ(director.real_conns(real).inactive, 0U) << real;
  }
  EXPECT_TRUE(director.Drops().empty());
}

// Both sets of every key do their part.
TEST(BigTable, HoldsHalfOfItsSizeWithoutRefusingAny) {
  Director director(Stage::kTc, 256);
  director.Add({.reals = {{.address = "10.1.0.2"}}});
  const int wanted = 256 * 8 / 2;
  for (int i = 0; i < wanted; ++i) {
    Frame frame = ClientFrame("10.1.0.1", 1024 + i);
    ASSERT_EQ(director.Run(frame).verdict, Verdict::kSent) << i;
    frame.flags = kAck;
    ASSERT_EQ(director.Run(frame).verdict, Verdict::kSent);
  }
  EXPECT_EQ(static_cast<int>(director.Entries().size()), wanted);
  EXPECT_EQ(static_cast<int>(director.real_conns(1).active), wanted);
  EXPECT_TRUE(director.Drops().empty());
}

}  // namespace
}  // namespace kube_lvs::ebpf
