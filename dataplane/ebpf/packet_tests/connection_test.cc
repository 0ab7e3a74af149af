// The life of connections: TCP's states by the kernel's tables, counts, expiry, removed real servers.
#include <gtest/gtest.h>

#include <map>
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

}  // namespace
}  // namespace kube_lvs::ebpf
