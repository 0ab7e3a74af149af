// The sets of the connection table: where a connection comes in, and who gives way when they are full.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

// Which way of which set a connection takes.
class OwnWayTest : public testing::TestWithParam<Stage> {
 protected:
  struct Place {
    size_t set, way;
    auto operator<=>(const Place&) const = default;
  };
  static constexpr int kClients = 4000;

  OwnWayTest() {
    director_.Add({.reals = {{.address = "10.1.0.2"}}});
    for (int i = 0; i < kClients; ++i) {
      clients_[ComeIn(i)].push_back(i);
      director_.ForgetConnections();
    }
  }
  Place ComeIn(int client) {
    const std::vector<klvs_conn*> before = director_.Entries();
    EXPECT_EQ(director_.Run(ClientFrame("10.1.0.1", 1024 + client)).verdict, Verdict::kSent);
    for (klvs_conn* c : director_.Entries()) {
      if (std::ranges::find(before, c) != before.end()) continue;
      const size_t index = c - director_.conns()[0].ways;
      return {index / KLVS_CONN_WAYS, index % KLVS_CONN_WAYS};
    }
    ADD_FAILURE() << "no new entry of client " << client;
    return {};
  }
  // A connection of those ways of a set, each of a client whose own it is.
  void Fill(size_t set, const std::vector<size_t>& ways) {
    for (const size_t way : ways) {
      const Place place = {set, way};
      ASSERT_FALSE(clients_[place].empty());
      ASSERT_EQ(ComeIn(clients_[place].back()), place);
    }
  }

  Director director_{GetParam()};
  std::map<Place, std::vector<int>> clients_;
};

INSTANTIATE_TEST_SUITE_P(Stages, OwnWayTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

// The one beside it is the way of the same number in the other half.
TEST_P(OwnWayTest, AKeyTakesItsOwnWayAsLongAsTheOneBesideItIsFreeToo) {
  constexpr size_t kSet = 5;
  for (size_t way = 0; way < KLVS_CONN_WAYS; ++way) {
    SCOPED_TRACE("way " + std::to_string(way));
    const Place own = {kSet, way};
    ASSERT_FALSE(clients_[own].empty());
    const int client = clients_[own].front();
    const size_t pair = way % 4, beside = way ^ 4;
    std::vector<size_t> others;
    for (size_t other = 0; other < 4; ++other) {
      if (other != pair) others.insert(others.end(), {other, other ^ 4});
    }
    ASSERT_EQ(others.size(), 6u);
    director_.ForgetConnections();
    Fill(kSet, others);
    EXPECT_EQ(ComeIn(client), own) << "as long as its pair is free";

    // Beside it is taken, and so are four and then five more.
    for (const int more : {4, 5}) {
      director_.ForgetConnections();
      Fill(kSet, {others.begin(), others.begin() + more});
      Fill(kSet, {beside});
      const Place place = ComeIn(client);
      if (more == 4) {
        EXPECT_EQ(place, own) << "as long as there are three free";
      } else {
        EXPECT_NE(place.set, kSet) << "the emptier set is the second";
      }
    }
  }
}

// One set of 8 entries.
class SmallTableTest : public testing::TestWithParam<Stage> {
 protected:
  Frame Client(int number, uint8_t flags = kSyn) {
    Frame frame = ClientFrame("10.1.0.1", 40000 + number);
    frame.flags = flags;
    return frame;
  }
  void Fill(uint8_t flags) {
    for (int i = 0; i < 8; ++i) {
      ASSERT_EQ(director_.Run(Client(i)).verdict, Verdict::kSent);
      ASSERT_EQ(director_.Run(Client(i, flags)).verdict, Verdict::kSent);
    }
    ASSERT_EQ(director_.Entries().size(), 8u);
  }

  Director director_{GetParam(), 1};
};

INSTANTIATE_TEST_SUITE_P(Stages, SmallTableTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(SmallTableTest, EstablishedConnectionsAreNeverEvicted) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Fill(kAck);
  EXPECT_EQ(director_.Run(Client(8)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"table_full", 1}}));
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(director_.Run(Client(i, kAck)).verdict, Verdict::kSent);
  }
  EXPECT_EQ(director_.real_conns(1).active, 8u);
}

TEST_P(SmallTableTest, HalfOpenConnectionsGiveWayTheOldestFirst) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(director_.Run(Client(i)).verdict, Verdict::kSent);
    // The last eight are there: the one that is longest silent gave way.
    std::set<int> numbers;
    for (klvs_conn* c : director_.Entries()) {
      numbers.insert(ntohs(c->key.sport) - 40000);
      c->expires -= 1;  // a tick passes
    }
    std::set<int> expected;
    for (int n = std::max(0, i - 7); n <= i; ++n) expected.insert(n);
    EXPECT_EQ(numbers, expected);
  }
  EXPECT_EQ(director_.real_conns(1).active, 8u);
  EXPECT_EQ(director_.ServiceCounters(1).connections, 50u);
}

TEST_P(SmallTableTest, WhatIsOverGivesWayBeforeWhatIsHalfOpen) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  for (int i = 0; i < 5; ++i) {
    director_.Run(Client(i));
    director_.Run(Client(i, kAck));
  }
  for (int i = 5; i < 8; ++i) director_.Run(Client(i));
  director_.Run(Client(2, kRst));
  for (klvs_conn* c : director_.Entries()) {
    if (ntohs(c->key.sport) == 40005) c->expires -= 1;  // silent for longer than the one closed
  }
  EXPECT_EQ(director_.Run(Client(8)).verdict, Verdict::kSent);
  std::set<int> numbers;
  for (const klvs_conn* c : director_.Entries()) numbers.insert(ntohs(c->key.sport) - 40000);
  EXPECT_EQ(numbers, (std::set<int>{0, 1, 3, 4, 5, 6, 7, 8}));
}

// UDP that nobody answered, or that is of one packet, is what a flood of forged sources leaves.
TEST_P(SmallTableTest, UdpOfOnePacketGivesWayAndUdpOfThreeDoesNot) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2"}}});
  const auto udp = [this](int number) {
    Frame frame = Client(number);
    frame.protocol = 17;
    return director_.Run(frame).verdict;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(udp(100), Verdict::kSent);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(udp(101), Verdict::kSent);
  for (klvs_conn* c : director_.Entries()) c->expires -= 1;  // silent for longer than what follows
  for (int i = 0; i < 50; ++i) EXPECT_EQ(udp(i), Verdict::kSent);
  std::set<int> numbers;
  for (const klvs_conn* c : director_.Entries()) numbers.insert(ntohs(c->key.sport) - 40000);
  EXPECT_EQ(numbers.size(), 8u);
  EXPECT_TRUE(numbers.contains(100));
  EXPECT_FALSE(numbers.contains(101));
  EXPECT_EQ(director_.real_conns(1).inactive, 8u);
  EXPECT_TRUE(director_.Drops().empty());

  // Those that go on fill the set, and are never evicted.
  director_.ExpireAll();
  for (int i = 0; i < 24; ++i) EXPECT_EQ(udp(i / 3), Verdict::kSent);
  EXPECT_EQ(udp(50), Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"table_full", 1}}));
  EXPECT_EQ(director_.Entries().size(), 8u);
}

TEST_P(SmallTableTest, NatOfUdpSettlesWithThePacketAfterAnAnswer) {
  director_.Add({.protocol = 17, .method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
  director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
  Frame frame = Client(0);
  frame.protocol = 17;
  Frame answer = ClientFrame("10.1.0.2", 80, "10.1.0.1", 40000);
  answer.protocol = 17;
  const auto embryonic = [this] {
    return (KLVS_CTL_FLAGS(director_.Connection().ctl) & KLVS_CONN_EMBRYONIC) != 0;
  };
  director_.Run(frame);
  EXPECT_TRUE(embryonic());
  for (int i = 0; i < 3; ++i) director_.Run(answer);
  EXPECT_TRUE(embryonic()) << "a forged question is answered, too";
  director_.Run(frame);
  EXPECT_FALSE(embryonic());
  // The slot's next user begins anew.
  director_.ExpireAll();
  director_.Run(frame);
  EXPECT_TRUE(embryonic());
  EXPECT_EQ(director_.Connection().seen, 1);
}

// With mh a packet in mid-stream opens a connection, and may be forged as well.
TEST_P(SmallTableTest, TcpTakenOverInMidStreamGivesWayUntilItGoesOn) {
  director_.Add({.scheduler = KLVS_SCHEDULER_MH, .reals = {{.address = "10.1.0.2"}}});
  for (TableCell& cell : director_.tables().first(4093)) cell.real = 1;
  for (int i = 0; i < 3; ++i) director_.Run(Client(100, kAck));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(director_.Run(Client(i, kAck)).verdict, Verdict::kSent);
  }
  EXPECT_EQ(director_.Entries().size(), 8u);
  EXPECT_EQ(director_.real_conns(1).active, 8u);
  const uint64_t packets = director_.RealCounters(1).connections;
  director_.Run(Client(100, kAck));
  EXPECT_EQ(director_.RealCounters(1).connections, packets) << "the settled one was evicted";
}

TEST_P(SmallTableTest, WhatHasExpiredMakesRoom) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Fill(kAck);
  director_.ExpireAll();
  for (int i = 8; i < 16; ++i) EXPECT_EQ(director_.Run(Client(i)).verdict, Verdict::kSent) << i;
  const std::vector<klvs_conn*> entries = director_.Entries();
  EXPECT_EQ(entries.size(), 8u);
  for (const klvs_conn* entry : entries) EXPECT_NE(entry->expires, 0u);
  EXPECT_EQ(director_.real_conns(1).active, 8u);
  EXPECT_EQ(director_.real_conns(1).inactive, 0u);
}

TEST_P(SmallTableTest, WhatIsOverStaysWhileThereIsSomethingExpired) {
  director_.Add({.reals = {{.address = "10.1.0.2"}}});
  Fill(kAck);
  ASSERT_EQ(director_.Run(Client(3, kFin | kAck)).verdict, Verdict::kSent);
  for (klvs_conn* entry : director_.Entries()) {
    if (KLVS_CTL_STATE(entry->ctl) != KLVS_ESTABLISHED) continue;
    entry->expires = 0;
    break;
  }
  EXPECT_EQ(director_.Run(Client(8)).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Entries().size(), 8u);
  EXPECT_EQ(director_.real_conns(1).inactive, 1u);
}

TEST_P(SmallTableTest, AReplyKeyLivesAndDiesWithItsConnection) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(director_.Run(Client(i)).verdict, Verdict::kSent);
    ASSERT_EQ(director_.Run(Client(i, kAck)).verdict, Verdict::kSent);
    ASSERT_EQ(director_.Entries().size(), i + 1u);
  }
  EXPECT_EQ(director_.Entries(true).size(), 4u);
  EXPECT_EQ(director_.Run(Client(4)).verdict, Verdict::kDropped);
  director_.Entries()[2]->expires = 0;
  EXPECT_EQ(director_.Run(Client(5)).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Entries().size(), 4u);
  EXPECT_EQ(director_.Entries(true).size(), 4u);
  EXPECT_EQ(director_.real_conns(1).active, 4u);
}

TEST_P(SmallTableTest, AReplyKeyWithoutConnectionIsSweptOut) {
  director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
  director_.Run(Client(0));
  director_.Connection().ctl &= ~uint64_t{KLVS_CONN_LIVE << 8};  // as if its CPU had died there
  EXPECT_EQ(director_.Entries(true).size(), 1u);
  EXPECT_EQ(director_.Sweep(), 1u);
  EXPECT_EQ(director_.Entries(true).size(), 0u);
}
}  // namespace
}  // namespace kube_lvs::ebpf
