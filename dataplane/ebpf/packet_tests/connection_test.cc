// The life of connections: TCP's states by the kernel's tables, counts, expiry, the sets of the
// table, removed real servers.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class ConnectionTest : public testing::TestWithParam<Stage> {
 protected:
  std::pair<uint32_t, uint32_t> Counts(uint32_t real = 1) {
    const klvs_real_conns c = director_.real_conns(real);
    return {c.active, c.inactive};
  }
  std::string State() { return ConnectionStateName(KLVS_CTL_STATE(director_.Connection().ctl)); }
  void SetState(uint32_t state) {
    klvs_conn& c = director_.Connection();
    c.ctl = (c.ctl & ~0xffULL) | state;
  }
  // Seconds until the connection expires.
  uint64_t SecondsLeft() {
    return (director_.Connection().expires - director_.Now().jiffies + kHz / 2) / kHz;
  }
  Frame Reply(uint8_t flags) {
    Frame reply = ClientFrame("10.1.0.2", 80, "10.1.0.1", 40000);
    reply.flags = flags;
    return reply;
  }
  Frame Client(uint8_t flags) {
    Frame frame = ClientFrame();
    frame.flags = flags;
    return frame;
  }
  void AddNat() {
    director_.Add({.method = KLVS_METHOD_NAT, .reals = {{.address = "10.1.0.2"}}});
    director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
    director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, ConnectionTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

// Columns: NONE ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN
// SYNACK, as in ip_vs_proto_tcp.c of Linux 6.1 (behaviour, measured there).
struct Row {
  const char* table;
  uint8_t flags;
  const char* next;
};
constexpr Row kRows[] = {
    {"input", kSyn, "SR ES ES SR SR -- -- SR SR SR SR"},
    {"input", kFin | kAck, "CL CW SS TW TW TW CL CW LA LI TW"},
    {"input", kAck, "ES ES SS ES FW TW CL CW CL LI ES"},
    {"input", kRst | kAck, "CL CL CL SR CL CL CL CL LA LI SR"},
    {"input", 0, "CL CL CL CL CL CL CL CL CL CL CL"},
    {"output", kSyn | kAck, "SS ES SS SR SS SS SS SS SS LI SR"},
    {"output", kFin | kAck, "TW FW SS TW FW TW CL TW LA LI TW"},
    {"output", kAck, "ES ES SS ES FW TW CL CW LA ES ES"},
    {"output", kRst, "CL CL SS CL CL TW CL CL CL CL CL"},
    {"input-only", kSyn, "SR ES ES SR SR -- -- SR SR SR SR"},
    {"input-only", kFin | kAck, "CL FW SS TW FW TW CL CW LA LI TW"},
    {"input-only", kAck, "ES ES SS ES FW TW CL CW CL LI ES"},
    {"input-only", kRst, "CL CL CL SR CL CL CL CL LA LI CL"},
};
const std::map<std::string, uint32_t> kShort = {
    {"NO", KLVS_NONE},     {"ES", KLVS_ESTABLISHED}, {"SS", KLVS_SYN_SENT}, {"SR", KLVS_SYN_RECV},
    {"FW", KLVS_FIN_WAIT}, {"TW", KLVS_TIME_WAIT},   {"CL", KLVS_CLOSE},    {"CW", KLVS_CLOSE_WAIT},
    {"LA", KLVS_LAST_ACK}, {"LI", KLVS_LISTEN},      {"SA", KLVS_SYNACK}};
constexpr uint32_t kSeconds[] = KLVS_TIMEOUT_SECONDS;

bool IsActive(uint32_t state) {
  return state == KLVS_ESTABLISHED || state == KLVS_SYN_SENT || state == KLVS_SYN_RECV ||
         state == KLVS_SYNACK;
}

TEST_P(ConnectionTest, EveryStateMovesAsTheKernelsOnEveryEvent) {
  for (const Row& row : kRows) {
    const bool direct = std::string(row.table) == "input-only";
    if (direct) {
      director_.Add({.reals = {{.address = "10.1.0.2"}}});
    } else {
      AddNat();
    }
    for (uint32_t state = KLVS_NONE; state <= KLVS_SYNACK; ++state) {
      const std::string next = std::string(row.next).substr(state * 3, 2);
      if (next == "--") continue;  // opened anew: see below
      SCOPED_TRACE(std::string(row.table) + " flags " + std::to_string(row.flags) + " from " +
                   ConnectionStateName(state));
      // Both counts are one word: with others to count, the lie below does not make one negative.
      director_.SetRealConns(1, 10, 10);
      ASSERT_EQ(director_.Run(Client(kSyn)).verdict, Verdict::kSent);
      EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{11, 10}));
      // Put it into `state` behind the program's back, its count with it.
      SetState(state);
      const bool output = std::string(row.table) == "output";
      ASSERT_EQ(director_.Run(output ? Reply(row.flags) : Client(row.flags)).verdict,
                Verdict::kSent);
      EXPECT_EQ(State(), ConnectionStateName(kShort.at(next)));
      EXPECT_EQ(SecondsLeft(), kSeconds[kShort.at(next)]);
      const int moved = int{IsActive(kShort.at(next))} - int{IsActive(state)};
      EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>(11 + moved, 10 - moved)));
      // Undo the lie before the entry goes.
      SetState(KLVS_SYN_RECV);
      director_.ExpireAll();
      director_.Run(Client(kAck));  // meets it and takes it out
      EXPECT_TRUE(director_.Entries().empty());
      EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>(10 + moved, 10 - moved)));
    }
  }
}

TEST_P(ConnectionTest, AHandshakeAndACloseThroughNat) {
  AddNat();
  director_.Run(Client(kSyn));
  EXPECT_EQ(State(), "SYN_RECV");
  EXPECT_EQ(SecondsLeft(), 60u);
  director_.Run(Reply(kSyn | kAck));
  EXPECT_EQ(State(), "SYN_RECV");
  director_.Run(Client(kAck));
  EXPECT_EQ(State(), "ESTABLISHED");
  EXPECT_EQ(SecondsLeft(), 900u);
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{1, 0}));
  director_.Run(Client(kFin | kAck));
  EXPECT_EQ(State(), "CLOSE_WAIT");
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{0, 1}));
  director_.Run(Reply(kFin | kAck));
  EXPECT_EQ(State(), "TIME_WAIT");
  EXPECT_EQ(SecondsLeft(), 120u);
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{0, 1}));
}

TEST_P(ConnectionTest, ASynOnAClosedConnectionOpensANewOne) {
  director_.Add({.reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}}});
  for (const uint32_t state : {KLVS_TIME_WAIT, KLVS_CLOSE}) {
    director_.ExpireAll();
    director_.Run(Client(kSyn));
    const uint32_t before = director_.Connection().real;
    director_.Run(Client(kAck));
    director_.Run(Client(state == KLVS_CLOSE ? kRst : kFin | kAck));
    SetState(state);
    director_.Run(Client(kSyn));
    EXPECT_NE(director_.Connection().real, before);
    EXPECT_EQ(State(), "SYN_RECV");
  }
  EXPECT_EQ(director_.ServiceCounters(1).connections, 4u);
  const auto one = director_.real_conns(1), two = director_.real_conns(2);
  EXPECT_EQ(one.active + two.active, 1u);
  EXPECT_EQ(one.inactive + two.inactive, 0u);
}

TEST_P(ConnectionTest, AnExpiredConnectionIsAbsentAndItsCountsGo) {
  director_.Add({.reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}}});
  director_.Run(Client(kSyn));
  director_.Run(Client(kAck));
  director_.ExpireAll();
  director_.Run(Client(kAck));
  EXPECT_TRUE(director_.Entries().empty());
  EXPECT_EQ(Counts(1), (std::pair<uint32_t, uint32_t>{0, 0}));
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_connection", 1}}));
}

TEST_P(ConnectionTest, SweepingTakesOutWhatHasExpiredAndNothingElse) {
  AddNat();
  for (int i = 0; i < 20; ++i) director_.Run(ClientFrame("10.1.0.1", 40000 + i));
  EXPECT_EQ(director_.Sweep(), 0u);
  EXPECT_EQ(director_.Entries().size(), 20u);
  const std::vector<klvs_conn*> all = director_.Entries();
  for (size_t i = 0; i < 7; ++i) all[i]->expires = 0;
  EXPECT_EQ(director_.Sweep(), 7u);
  EXPECT_EQ(director_.Entries().size(), 13u);
  EXPECT_EQ(director_.Entries(true).size(), 13u);
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{13, 0}));
}

TEST_P(ConnectionTest, UdpLives300SecondsAndIsNeverActive) {
  director_.Add({.protocol = 17, .reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}}});
  Frame frame = ClientFrame();
  frame.protocol = 17;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(State(), "UDP");
  EXPECT_EQ(SecondsLeft(), 300u);
  EXPECT_EQ(Counts(1), (std::pair<uint32_t, uint32_t>{0, 1}));
  EXPECT_EQ(Counts(2), (std::pair<uint32_t, uint32_t>{0, 0}));
}

TEST_P(ConnectionTest, ARemovedRealServerKeepsItsTcpConnectionsOnly) {
  for (const uint8_t protocol : {6, 17}) {
    const uint32_t id = protocol;
    director_.Add(
        {.id = id, .protocol = protocol, .reals = {{.address = "10.1.0.2"}}, .first_real = id});
    Frame frame = ClientFrame();
    frame.protocol = protocol;
    director_.Run(frame);
    director_.Replace({.id = id,
                       .protocol = protocol,
                       .reals = {{.address = "10.1.0.3"}},
                       .first_real = 100 + id});
    director_.real(id).flags |= KLVS_REAL_REMOVED;
  }
  Frame frame = Client(kAck);
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(6).packets, 2u);
  frame.flags = kSyn;
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(6).packets, 2u);
  EXPECT_EQ(director_.RealCounters(106).packets, 1u);
  EXPECT_EQ(Counts(6), (std::pair<uint32_t, uint32_t>{0, 0}));

  frame.protocol = 17;
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(17).packets, 1u);
  EXPECT_EQ(director_.RealCounters(117).packets, 1u);
  EXPECT_EQ(Counts(17), (std::pair<uint32_t, uint32_t>{0, 0}));
}

TEST_P(ConnectionTest, AQuiescedRealServerKeepsItsConnections) {
  const std::vector<Real> reals = {{.address = "10.1.0.2"}, {.address = "10.1.0.3"}};
  director_.Add({.reals = reals});
  director_.Run(Client(kSyn));
  director_.Replace({.reals = {{.address = "10.1.0.2", .weight = 0}, {.address = "10.1.0.3"}}});
  director_.Run(Client(kAck));
  for (int i = 1; i < 4; ++i) director_.Run(ClientFrame("10.1.0.1", 40000 + i));
  EXPECT_EQ(director_.RealCounters(1).packets, 2u);
  EXPECT_EQ(director_.RealCounters(2).packets, 3u);
}

// Where clients' connections come into a table in which nothing else is.
class OwnWayTest : public ConnectionTest {
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

TEST_P(ConnectionTest, APacketGivesItsTimeoutOfWhichAThousandthMayBeMissing) {
  constexpr uint64_t kTimeout = 1 << 30, kThousandth = kTimeout >> 10;  // an hour: no test is so slow
  AddNat();
  director_.settings().timeouts[KLVS_ESTABLISHED] = kTimeout;
  director_.Run(Client(kSyn));
  director_.Run(Reply(kSyn | kAck));
  director_.Run(Client(kAck));
  for (const Frame& frame : {Client(kAck), Reply(kAck)}) {
    klvs_conn& c = director_.Connection();
    const uint64_t full = director_.Now().jiffies + kTimeout, nearly = full - kThousandth / 2;
    c.expires = nearly;
    ASSERT_EQ(director_.Run(frame).verdict, Verdict::kSent);
    EXPECT_EQ(c.expires, nearly);
    for (const uint64_t expires : {full - 2 * kThousandth, full + 2 * kThousandth}) {
      c.expires = expires;
      ASSERT_EQ(director_.Run(frame).verdict, Verdict::kSent);
      EXPECT_GE(c.expires, full);
      EXPECT_LT(c.expires, full + kThousandth);
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
