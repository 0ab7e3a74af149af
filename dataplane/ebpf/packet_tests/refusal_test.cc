// What clients are told whose packets open no connection: that a port is unreachable, and of TCP in
// mid-stream that there is no such connection.
#include <gtest/gtest.h>
#include <sched.h>

#include <map>
#include <string>
#include <utility>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class RefusalTest : public testing::TestWithParam<Stage> {
 protected:
  void Serve(uint32_t weight, uint8_t protocol = 6) {
    director_.Add({.id = protocol,
                   .protocol = protocol,
                   .reals = {{.address = "10.1.0.2", .weight = weight}},
                   .first_real = protocol});
  }
  // The answer is the frame; the reason is counted, and there is no connection.
  void ExpectAnswered(const Frame& in, const Frame& answer, const std::string& reason) {
    const uint64_t before = director_.Drops()[reason];
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(answer.Build()));
    EXPECT_EQ(director_.Drops()[reason], before + 1);
    EXPECT_TRUE(director_.Entries().empty());
  }
  void ExpectDropped(const Frame& in, const std::string& reason) {
    const uint64_t before = director_.Drops()[reason];
    EXPECT_EQ(director_.Run(in).verdict, Verdict::kDropped);
    EXPECT_EQ(director_.Drops()[reason], before + 1) << reason;
    EXPECT_TRUE(director_.Entries().empty());
  }
  // To who sent `in`, from where it was sent to.
  static Frame Back(const Frame& in) {
    Frame out;
    out.dst_mac = in.src_mac;
    out.src_mac = in.dst_mac;
    out.src = in.dst;
    out.dst = in.src;
    out.id = 0;
    out.payload.clear();
    return out;
  }
  static Frame Reset(const Frame& in, uint8_t flags, uint32_t seq, uint32_t ack = 0) {
    Frame out = Back(in);
    out.sport = in.dport;
    out.dport = in.sport;
    out.tos = in.tos & 0xfc;
    out.flags = flags;
    out.seq = seq;
    out.ack = ack;
    out.window = 0;
    return out;
  }
  static Frame Unreachable(const Frame& in) {
    Frame out = Back(in);
    out.protocol = 1;
    out.tos = 0xc0;
    out.payload = IcmpError(3, 3, 0, in.Build(), 48 - in.ip_options.size());
    return out;
  }
  static Frame MidStream(uint8_t flags, std::string payload = "hello") {
    Frame frame = ClientFrame();
    frame.flags = flags;
    frame.payload = std::move(payload);
    return frame;
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, RefusalTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(RefusalTest, TcpInMidStreamIsReset) {
  Serve(1);
  const uint32_t seq = 0x01020304, ack = 0x05060708;
  for (const Frame& in : {MidStream(kAck), MidStream(kAck, ""), MidStream(kFin | kAck)}) {
    ExpectAnswered(in, Reset(in, kRst, ack), "no_connection");
  }
  const std::pair<Frame, uint32_t> lengths[] = {
      {MidStream(0, ""), 0}, {MidStream(0), 5}, {MidStream(kFin, ""), 1}, {MidStream(kFin), 6}};
  for (const auto& [in, length] : lengths) {
    ExpectAnswered(in, Reset(in, kRst | kAck, 0, seq + length), "no_connection");
  }
  Frame in = MidStream(kFin);
  in.seq = 0xfffffffe;
  ExpectAnswered(in, Reset(in, kRst | kAck, 0, 4), "no_connection");
}

TEST_P(RefusalTest, NeitherOptionsNorPaddingCountAsSent) {
  Serve(1);
  Frame in = MidStream(0, "some more");
  in.ip_options = {1, 1, 1, 0};
  in.tcp_options = {1, 1, 1, 1, 1, 1, 1, 0};
  in.padding = 7;
  in.tos = 0xbb;
  in.dont_fragment = false;
  ExpectAnswered(in, Reset(in, kRst | kAck, 0, in.seq + 9), "no_connection");
}

TEST_P(RefusalTest, AResetIsNotAnswered) {
  Serve(1);
  for (const int flags : {int{kRst}, kRst | kAck, kRst | kSyn, kRst | kFin | kAck}) {
    ExpectDropped(MidStream(static_cast<uint8_t>(flags)), "no_connection");
  }
}

TEST_P(RefusalTest, APieceOfTcpIsNotReset) {
  Serve(1);
  Frame in = MidStream(0);
  in.dont_fragment = false;
  in.more_fragments = true;
  ExpectDropped(in, "no_connection");
  in.fragment_offset = 3;
  ExpectDropped(in, "fragment");
}

TEST_P(RefusalTest, NobodysSourcesAreNotAnswered) {
  Serve(1);
  director_.SetAddress("10.9.0.2", KLVS_ADDRESS_VIP);
  director_.SetAddress("10.1.0.250", KLVS_ADDRESS_SNAT);
  Frame in = MidStream(kAck);
  for (const char* source : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1",
                             "255.255.255.255", "10.9.0.1", "10.9.0.2", "10.1.0.250"}) {
    SCOPED_TRACE(source);
    in.src = Ip(source);
    ExpectDropped(in, "no_connection");
  }
  in = MidStream(kAck);
  in.src_mac[0] |= 1;
  ExpectDropped(in, "no_connection");
}

TEST_P(RefusalTest, WithoutARealServerThePortIsUnreachable) {
  for (const uint8_t protocol : {6, 17, 132}) {
    SCOPED_TRACE(std::to_string(protocol));
    Serve(0, protocol);
    for (const size_t size : {0, 1, 5, 27, 28, 29, 1400}) {
      Frame in = ClientFrame();
      in.protocol = protocol;
      in.payload = std::string(size, 'x');
      ExpectAnswered(in, Unreachable(in), "no_real_server");
      in.ip_options = {1, 1, 1, 0};
      in.padding = 3;
      in.tos = 0xbb;
      ExpectAnswered(in, Unreachable(in), "no_real_server");
    }
  }
  EXPECT_EQ(director_.ServiceCounters(17).packets, 0u);
}

TEST_P(RefusalTest, AFirstPieceIsAnsweredAndALaterOneIsNot) {
  Serve(0, 17);
  Frame in = ClientFrame();
  in.protocol = 17;
  in.dont_fragment = false;
  in.more_fragments = true;
  in.payload = std::string(32, 'x');
  ExpectAnswered(in, Unreachable(in), "no_real_server");
  in.fragment_offset = 5;
  ExpectDropped(in, "fragment");
  in.more_fragments = false;
  ExpectDropped(in, "fragment");
}

TEST_P(RefusalTest, EveryListWithoutAWeightIsNobody) {
  director_.Add({});
  ExpectAnswered(ClientFrame(), Unreachable(ClientFrame()), "no_real_server");
  for (const uint8_t scheduler : {KLVS_SCHEDULER_RR, KLVS_SCHEDULER_WRR, KLVS_SCHEDULER_MH}) {
    director_.Replace({.scheduler = scheduler, .reals = {{.address = "10.1.0.2", .weight = 0}}});
    ExpectAnswered(ClientFrame(), Unreachable(ClientFrame()), "no_real_server");
  }
}

// The host has its own use of the VIP, but not of a service's port.
TEST_P(RefusalTest, TcpInMidStreamIsTheHostsWhereItSharesTheVip) {
  Serve(1);
  director_.settings().flags |= KLVS_SETTING_SHARED_VIPS;
  EXPECT_EQ(director_.Run(MidStream(kAck)).verdict, Verdict::kUntouched);
  EXPECT_TRUE(director_.Drops().empty());
  Serve(0, 17);
  Frame in = ClientFrame();
  in.protocol = 17;
  ExpectAnswered(in, Unreachable(in), "no_real_server");
}

TEST_P(RefusalTest, AnswersAreLimited) {
  Serve(1);
  Serve(0, 17);
  director_.settings().hz = 1 << 30;  // a second lasts
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  Frame datagram = ClientFrame();
  datagram.protocol = 17;
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    answers += director_.Run(datagram).verdict == Verdict::kSent;
    answers += director_.Run(MidStream(kAck)).verdict == Verdict::kSent;
  }
  EXPECT_EQ(answers, 50);
  EXPECT_EQ(director_.Drops(),
            (std::map<std::string, uint64_t>{{"no_connection", 100}, {"no_real_server", 100}}));
  director_.settings().hz = 1;  // many seconds pass with the next tick
  director_.AwaitTick();
  ExpectAnswered(datagram, Unreachable(datagram), "no_real_server");
}

}  // namespace
}  // namespace kube_lvs::ebpf
