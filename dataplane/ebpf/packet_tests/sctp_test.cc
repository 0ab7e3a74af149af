// SCTP: the kernel's states, and packets that keep their ports and their checksum.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint8_t kSctp = 132;
enum Chunk : uint8_t {
  kData = 0,
  kInit = 1,
  kInitAck = 2,
  kHeartbeat = 4,
  kAbort = 6,
  kShutdown = 7,
  kShutdownAck = 8,
  kError = 9,
  kCookieEcho = 10,
  kCookieAck = 11,
  kShutdownComplete = 14,
};

class SctpTest : public testing::TestWithParam<Stage> {
 protected:
  static Frame Client(uint8_t chunk, std::string_view client = "10.1.0.1") {
    Frame frame = ClientFrame(client, 3868, "10.9.0.1", 3868);
    frame.protocol = kSctp;
    frame.chunk = chunk;
    return frame;
  }
  static Frame Reply(uint8_t chunk, std::string_view to = "10.1.0.1") {
    Frame frame = ClientFrame("10.1.0.2", 3868, to, 3868);
    frame.src_mac = kRealMac;
    frame.protocol = kSctp;
    frame.chunk = chunk;
    return frame;
  }
  // As it leaves the director.
  Frame Sent(Frame frame, const Mac& to) {
    if (GetParam() == Stage::kXdp) {
      frame.dst_mac = to;
      frame.src_mac = kOwnMac;
    }
    frame.ttl = 63;
    return frame;
  }
  void ExpectSent(const Outcome& outcome, const Bytes& expected) {
    EXPECT_EQ(outcome.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(outcome.frame), Hex(expected));
  }
  void AddDirect(uint8_t scheduler = KLVS_SCHEDULER_RR) {
    director_.Add(
        {.port = 3868,
         .protocol = kSctp,
         .scheduler = scheduler,
         .reals = {{.address = "10.1.0.2", .port = 3868}, {.address = "10.1.0.3", .port = 3868}}});
  }
  void AddNat(bool source_nat) {
    director_.Add({.port = 3868,
                   .protocol = kSctp,
                   .flags = source_nat ? uint8_t{KLVS_SERVICE_SOURCE_NAT} : uint8_t{0},
                   .method = KLVS_METHOD_NAT,
                   .reals = {{.address = "10.1.0.2", .port = 3868}}});
    if (source_nat) {
      director_.SetAddress("10.1.0.254", KLVS_ADDRESS_SNAT);
    } else {
      director_.settings().flags = KLVS_SETTING_PLAIN_NAT;
      director_.SetAddress("10.1.0.2", KLVS_ADDRESS_NAT_REAL);
    }
  }
  std::string State() { return ConnectionStateName(KLVS_CTL_STATE(director_.Connection().ctl)); }
  uint64_t SecondsLeft() {
    return (director_.Connection().expires - director_.Now().jiffies + kHz / 2) / kHz;
  }
  std::pair<uint32_t, uint32_t> Counts() {
    const klvs_real_conns c = director_.real_conns(1);
    return {c.active, c.inactive};
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, SctpTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

// Columns: NONE INIT1 INIT COOKIE_SENT COOKIE_REPLIED COOKIE_WAIT COOKIE COOKIE_ECHOED ESTABLISHED
// SHUTDOWN_SENT SHUTDOWN_RECEIVED SHUTDOWN_ACK_SENT REJECTED CLOSED, as in ip_vs_proto_sctp.c of
// Linux 6.1 (behaviour, measured there).
struct Row {
  const char* table;
  uint8_t chunk;
  const char* next;
};
constexpr Row kRows[] = {
    {"input", 0, "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL"},
    {"input", 1, "I1 IN IN CS CR CW CO CE ES SS SR SA IN IN"},
    {"input", 2, "CW CW CW CS CR CO CO CE ES SS SR SA RJ CL"},
    {"input", 10, "CR IN IN CR CR CW CO CE ES SS SR SA RJ CL"},
    {"input", 11, "ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL"},
    {"input", 7, "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL"},
    {"input", 8, "CL IN IN CS CR CW CO CE ES CL SR CL RJ CL"},
    {"input", 14, "CL CL CL CS CR CW CO CE ES SS SR CL RJ CL"},
    {"input", 9, "CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL"},
    {"input", 6, "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL"},
    {"output", 0, "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL"},
    {"output", 1, "CW CW CW CW CW CW CW CW ES CW CW CW CW CW"},
    {"output", 2, "CS CS CS CS CR CW CO CE ES SS SR SA RJ CL"},
    {"output", 10, "CE CE CE CE CE CE CE CE ES SS SR SA RJ CL"},
    {"output", 11, "ES ES ES ES ES ES ES ES ES SS SR SA RJ CL"},
    {"output", 7, "SS SS SS SS SS SS SS SS SS SS SR SA RJ CL"},
    {"output", 8, "SA SA SA SA SA CW CO CE ES SA SA SA RJ CL"},
    {"output", 14, "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL"},
    {"output", 9, "CL CL CL CL CL CW CO CE ES SS SR SA RJ CL"},
    {"output", 6, "CL RJ CL CL CL CL CL CL CL CL CL CL CL CL"},
    {"input-only", 0, "ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL"},
    {"input-only", 1, "I1 IN IN IN IN IN CO CE ES SS SR SA IN IN"},
    {"input-only", 2, "CE CE CE CE CE CE CO CE ES SS SR SA RJ CL"},
    {"input-only", 10, "ES ES ES ES ES ES CO CE ES SS SR SA RJ CL"},
    {"input-only", 11, "ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL"},
    {"input-only", 7, "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL"},
    {"input-only", 8, "CL IN IN CS CR CW CO CE CL CL SR CL RJ CL"},
    {"input-only", 14, "CL CL CL CL CL CW CO CE ES SS CL CL RJ CL"},
    {"input-only", 9, "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL"},
    {"input-only", 6, "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL"},
};
const std::string kShort = "NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL";

uint64_t Seconds(uint32_t state) {
  if (state == KLVS_SCTP_ESTABLISHED) return 900;
  if (state == KLVS_SCTP_NONE) return 2;
  return state == KLVS_SCTP_INIT1 || state == KLVS_SCTP_REJECTED ? 4 : 61;
}

TEST_P(SctpTest, EveryStateMovesAsTheKernelsOnEveryChunk) {
  for (const Row& row : kRows) {
    if (std::strcmp(row.table, "input-only") == 0) {
      director_.Add({.port = 3868, .protocol = kSctp, .reals = {{.address = "10.1.0.2"}}});
    } else {
      AddNat(false);
    }
    for (uint32_t state = KLVS_SCTP_NONE; state <= KLVS_SCTP_CLOSED; ++state) {
      const bool output = std::strcmp(row.table, "output") == 0;
      if (state == KLVS_SCTP_CLOSED && row.chunk == kInit && !output) continue;  // see below
      const std::string name = std::string(row.next).substr((state - KLVS_SCTP_NONE) * 3, 2);
      const uint32_t next = KLVS_SCTP_NONE + static_cast<uint32_t>(kShort.find(name)) / 3;
      SCOPED_TRACE(std::string(row.table) + " chunk " + std::to_string(row.chunk) + " from " +
                   ConnectionStateName(state));
      director_.SetRealConns(1, 10, 10);
      ASSERT_EQ(director_.Run(Client(kInit)).verdict, Verdict::kSent);
      EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{10, 11}));
      klvs_conn& c = director_.Connection();
      // Put it into `state` behind the program's back.
      c.ctl = (c.ctl & ~0xffULL) | state;
      ASSERT_EQ(director_.Run(output ? Reply(row.chunk) : Client(row.chunk)).verdict,
                Verdict::kSent);
      EXPECT_EQ(State(), ConnectionStateName(next));
      EXPECT_EQ(SecondsLeft(), Seconds(next));
      const int moved = int{next == KLVS_SCTP_ESTABLISHED} - int{state == KLVS_SCTP_ESTABLISHED};
      EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>(10 + moved, 11 - moved)));
      // Undo the lie before the entry goes.
      c.ctl = (c.ctl & ~0xffULL) | KLVS_SCTP_INIT1;
      director_.ExpireAll();
      director_.Run(Client(kData));  // meets it and takes it out
      EXPECT_TRUE(director_.Entries().empty());
    }
  }
}

TEST_P(SctpTest, AnAbortBehindACookieIsAnAbort) {
  AddDirect();
  director_.Run(Client(kInit));
  Frame frame = Client(kCookieEcho);
  frame.payload = "hello";  // 9 bytes with its header, 12 with padding
  frame.payload += std::string(3, '\0');
  frame.payload += std::string("\x06\0\0\4", 4);  // ABORT
  Bytes bytes = frame.Build();
  bytes[14 + 20 + 15] = 9;
  EXPECT_EQ(director_.Run(bytes).verdict, Verdict::kSent);
  EXPECT_EQ(State(), "CLOSED");
  EXPECT_EQ(SecondsLeft(), 61u);
}

TEST_P(SctpTest, AnAssociationThroughNat) {
  AddNat(false);
  Frame expected = Sent(Client(kInit), kRealMac);
  expected.dst = Ip("10.1.0.2");
  ExpectSent(director_.Run(Client(kInit)), expected.Build());
  EXPECT_EQ(State(), "INIT1");
  expected = Sent(Reply(kInitAck), kClientMac);
  expected.src = Ip("10.9.0.1");
  ExpectSent(director_.Run(Reply(kInitAck)), expected.Build());
  EXPECT_EQ(State(), "C-SENT");
  director_.Run(Client(kCookieEcho));
  EXPECT_EQ(State(), "C-REPLIED");
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{0, 1}));
  director_.Run(Reply(kCookieAck));
  EXPECT_EQ(State(), "ESTABLISHED");
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{1, 0}));
  EXPECT_EQ(SecondsLeft(), 900u);
  director_.Run(Client(kShutdown));
  EXPECT_EQ(State(), "S-RECEIVED");
  director_.Run(Reply(kShutdownAck));
  EXPECT_EQ(State(), "S-ACK-SENT");
  director_.Run(Client(kShutdownComplete));
  EXPECT_EQ(State(), "CLOSED");
  EXPECT_EQ(Counts(), (std::pair<uint32_t, uint32_t>{0, 1}));
}

// The checksum is of the whole packet, ports in it: nobody may change them.
TEST_P(SctpTest, SourceNatLeavesThePortOrRefuses) {
  AddNat(true);
  director_.settings().snat_port_base = 10000;
  Frame expected = Sent(Client(kInit), kRealMac);
  expected.src = Ip("10.1.0.254");
  expected.dst = Ip("10.1.0.2");
  ExpectSent(director_.Run(Client(kInit)), expected.Build());
  expected = Sent(Reply(kInitAck, "10.1.0.254"), kClientMac);
  expected.src = Ip("10.9.0.1");
  expected.dst = Ip("10.1.0.1");
  ExpectSent(director_.Run(Reply(kInitAck, "10.1.0.254")), expected.Build());

  EXPECT_EQ(director_.Run(Client(kInit, "10.1.0.7")).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_source_port", 1}}));
  EXPECT_EQ(director_.Entries().size(), 1u);
}

TEST_P(SctpTest, TunnelAndDirectRoutingLeaveThePacketAsItIs) {
  AddDirect();
  ExpectSent(director_.Run(Client(kInit)), Sent(Client(kInit), kRealMac).Build());
  director_.Add({.id = 2,
                 .port = 3869,
                 .protocol = kSctp,
                 .method = KLVS_METHOD_TUNNEL,
                 .reals = {{.address = "10.1.0.4", .port = 3869}},
                 .first_real = 3});
  Frame in = Client(kInit);
  in.dport = 3869;
  Frame sent = Sent(in, kRealMac);
  sent.ttl = 64;
  ExpectSent(director_.Run(in), Encapsulate(sent.Build(), Ip("10.1.0.254"), Ip("10.1.0.4")));
}

TEST_P(SctpTest, OnlyAnInitOpensAConnectionOrOpensAClosedOneAnew) {
  AddDirect();
  for (const uint8_t chunk :
       {kData, kInitAck, kHeartbeat, kAbort, kCookieEcho, kShutdownComplete}) {
    EXPECT_EQ(director_.Run(Client(chunk)).verdict, Verdict::kDropped) << int{chunk};
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_connection", 6}}));
  director_.Run(Client(kInit));
  const uint32_t first = director_.Connection().real;
  director_.Run(Client(kAbort));
  EXPECT_EQ(State(), "CLOSED");
  director_.Run(Client(kInit));
  EXPECT_NE(director_.Connection().real, first);
  EXPECT_EQ(State(), "INIT1");
}

TEST_P(SctpTest, AHashSchedulerTakesAnAssociationThatAnotherDirectorOpened) {
  AddDirect(KLVS_SCHEDULER_SH);
  for (uint32_t bucket = 0; bucket < KLVS_HASH_BUCKETS; ++bucket) {
    director_.tables()[bucket].real = 1;
  }
  EXPECT_EQ(director_.Run(Client(kAbort)).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Run(Client(kData)).verdict, Verdict::kSent);
  EXPECT_EQ(State(), "ESTABLISHED");
}

TEST_P(SctpTest, PacketsThatAreCutOrLieAreDropped) {
  AddDirect();
  const Bytes whole = Client(kInit).Build();
  for (size_t size = 14 + 20; size < 14 + 20 + 16; ++size) {
    Frame frame = Client(kInit);
    frame.protocol = 253;
    frame.payload.assign(whole.begin() + 34, whole.begin() + static_cast<std::ptrdiff_t>(size));
    Bytes cut = frame.Build();
    cut[14 + 9] = kSctp;
    cut[14 + 10] = cut[14 + 11] = 0;
    const uint16_t sum = Checksum(cut.data() + 14, 20);
    cut[14 + 10] = static_cast<uint8_t>(sum >> 8);
    cut[14 + 11] = static_cast<uint8_t>(sum);
    EXPECT_EQ(director_.Run(cut).verdict, Verdict::kDropped) << size;
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"short", 16}}));
  Bytes lie = whole;
  lie[14 + 20 + 14] = 0;
  lie[14 + 20 + 15] = 3;  // a chunk shorter than its header
  EXPECT_EQ(director_.Run(lie).verdict, Verdict::kDropped);
  EXPECT_EQ(director_.Drops().at("bad_header"), 1u);
  EXPECT_TRUE(director_.Entries().empty());
}

TEST_P(SctpTest, Ipv6) {
  director_.Add({.vip = "2001:db8:9::1",
                 .port = 3868,
                 .protocol = kSctp,
                 .flags = KLVS_SERVICE_SOURCE_NAT,
                 .method = KLVS_METHOD_NAT,
                 .reals = {{.address = "2001:db8:1::2", .port = 3868}}});
  director_.SetAddress("2001:db8:1::254", KLVS_ADDRESS_SNAT);
  const auto packet = [](uint8_t chunk) {
    const Bytes bytes = SctpPacket(3868, 3868, chunk, "hello");
    return std::string(bytes.begin(), bytes.end());
  };
  Frame6 in = ClientFrame6("2001:db8:1::1", 3868);
  in.protocol = kSctp;
  in.payload = packet(kInit);
  Frame6 expected = in;
  if (GetParam() == Stage::kXdp) {
    expected.dst_mac = kRealMac;
    expected.src_mac = kOwnMac;
  }
  expected.src = "2001:db8:1::254";
  expected.dst = "2001:db8:1::2";
  expected.hops = 63;
  ExpectSent(director_.Run(in), expected.Build());
  in.payload = packet(kCookieEcho);
  EXPECT_EQ(director_.Run(in).verdict, Verdict::kSent);
  Frame6 reply = ClientFrame6("2001:db8:1::2", 3868, "2001:db8:1::254", 3868);
  reply.protocol = kSctp;
  reply.src_mac = kRealMac;
  reply.payload = packet(kCookieAck);
  expected = reply;
  if (GetParam() == Stage::kXdp) {
    expected.dst_mac = kClientMac;
    expected.src_mac = kOwnMac;
  }
  expected.src = "2001:db8:9::1";
  expected.dst = "2001:db8:1::1";
  expected.hops = 63;
  ExpectSent(director_.Run(reply), expected.Build());
  EXPECT_STREQ(ConnectionStateName(KLVS_CTL_STATE(director_.Connection6().ctl)), "ESTABLISHED");
}

TEST_P(SctpTest, AnIcmpErrorReachesTheRealServer) {
  AddNat(false);
  director_.Run(Client(kInit));
  Frame answer = ClientFrame("10.9.0.1", 3868, "10.1.0.1", 3868);
  answer.protocol = kSctp;
  Frame error = ClientFrame("203.0.113.9", 0, "10.9.0.1", 0);
  error.protocol = 1;
  error.payload = IcmpError(3, 4, 1400, answer.Build());
  Frame expected = Sent(error, kRealMac);
  expected.dst = Ip("10.1.0.2");
  answer.src = Ip("10.1.0.2");
  expected.payload = IcmpError(3, 4, 1400, answer.Build());
  ExpectSent(director_.Run(error), expected.Build());
}

}  // namespace
}  // namespace kube_lvs::ebpf
