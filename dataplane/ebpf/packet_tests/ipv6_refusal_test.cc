// Of IPv6: what clients are told whose packets open no connection.
#include <gtest/gtest.h>

#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr char kVip[] = "2001:db8:9::1";

class Ipv6RefusalTest : public testing::TestWithParam<Stage> {
 protected:
  void Serve(uint32_t weight, uint8_t protocol = 6) {
    director_.Add({.id = protocol,
                   .vip = kVip,
                   .protocol = protocol,
                   .reals = {{.address = "2001:db8:1::2", .weight = weight}},
                   .first_real = protocol});
  }
  void ExpectAnswered(const Frame6& in, const Frame6& answer, const std::string& reason) {
    const uint64_t before = director_.Drops()[reason];
    const Outcome out = director_.Run(in);
    EXPECT_EQ(out.verdict, Verdict::kSent);
    EXPECT_EQ(Hex(out.frame), Hex(answer.Build()));
    EXPECT_EQ(director_.Drops()[reason], before + 1);
    EXPECT_TRUE(director_.Entries6().empty());
  }
  void ExpectDropped(const Frame6& in, const std::string& reason) {
    const uint64_t before = director_.Drops()[reason];
    EXPECT_EQ(director_.Run(in).verdict, Verdict::kDropped);
    EXPECT_EQ(director_.Drops()[reason], before + 1) << reason;
    EXPECT_TRUE(director_.Entries6().empty());
  }
  // To who sent `in`, from where it was sent to.
  static Frame6 Back(const Frame6& in) {
    Frame6 out;
    out.dst_mac = in.src_mac;
    out.src_mac = in.dst_mac;
    out.src = in.dst;
    out.dst = in.src;
    out.payload.clear();
    return out;
  }
  static Frame6 Reset(const Frame6& in, uint8_t flags, uint32_t seq, uint32_t ack = 0) {
    Frame6 out = Back(in);
    out.sport = in.dport;
    out.dport = in.sport;
    out.traffic_class = in.traffic_class & 0xfc;
    out.flags = flags;
    out.seq = seq;
    out.ack = ack;
    out.window = 0;
    return out;
  }
  static Frame6 Unreachable(const Frame6& in) {
    return Icmp6(Back(in), 1, 4, About6(0, in.Build(), 240));
  }
  static Frame6 MidStream(uint8_t flags) {
    Frame6 frame = ClientFrame6();
    frame.flags = flags;
    return frame;
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, Ipv6RefusalTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(Ipv6RefusalTest, TcpInMidStreamIsReset) {
  Serve(1);
  for (const int flags : {int{kAck}, kAck | kFin}) {
    const Frame6 in = MidStream(static_cast<uint8_t>(flags));
    ExpectAnswered(in, Reset(in, kRst, in.ack), "no_connection");
  }
  Frame6 in = MidStream(kFin);
  ExpectAnswered(in, Reset(in, kRst | kAck, 0, in.seq + 6), "no_connection");
  in.traffic_class = 0xbb;
  in.flags = 0;
  in.tcp_options = {1, 1, 1, 0};
  in.padding = 5;
  ExpectAnswered(in, Reset(in, kRst | kAck, 0, in.seq + 5), "no_connection");
  in.extensions = {{60, {0, 0, 1, 4, 0, 0, 0, 0}}};
  ExpectAnswered(in, Reset(in, kRst | kAck, 0, in.seq + 5), "no_connection");
}

TEST_P(Ipv6RefusalTest, NeitherResetsNorPiecesNorNobodyAreReset) {
  Serve(1);
  for (const int flags : {int{kRst}, kRst | kAck, kRst | kSyn}) {
    ExpectDropped(MidStream(static_cast<uint8_t>(flags)), "no_connection");
  }
  Frame6 piece = MidStream(0);
  piece.extensions = {Fragment6(0, true, 1)};
  ExpectDropped(piece, "no_connection");
  piece.extensions = {Fragment6(3, false, 1)};
  ExpectDropped(piece, "fragment");
  for (const char* source : {"::", "::1", "::ffff:10.1.0.1", "fe80::1", "ff02::1", kVip}) {
    SCOPED_TRACE(source);
    Frame6 in = MidStream(kAck);
    in.src = source;
    ExpectDropped(in, "no_connection");
  }
}

TEST_P(Ipv6RefusalTest, WithoutARealServerThePortIsUnreachable) {
  for (const uint8_t protocol : {6, 17}) {
    SCOPED_TRACE(std::to_string(protocol));
    Serve(0, protocol);
    for (const size_t size : {0, 1, 5, 179, 180, 181, 191, 192, 193, 1400}) {
      Frame6 in = ClientFrame6();
      in.protocol = protocol;
      in.payload = std::string(size, 'x');
      ExpectAnswered(in, Unreachable(in), "no_real_server");
    }
  }
  Serve(0, 132);
  const Bytes init = SctpPacket(40000, 80, 1, "association");
  Frame6 in = ClientFrame6();
  in.protocol = 132;
  in.payload.assign(init.begin(), init.end());
  ExpectAnswered(in, Unreachable(in), "no_real_server");
}

TEST_P(Ipv6RefusalTest, AFirstPieceIsAnsweredAndALaterOneIsNot) {
  Serve(0, 17);
  Frame6 in = ClientFrame6();
  in.protocol = 17;
  in.extensions = {Fragment6(0, true, 1)};
  ExpectAnswered(in, Unreachable(in), "no_real_server");
  in.extensions = {Fragment6(2, false, 1)};
  ExpectDropped(in, "fragment");
}

}  // namespace
}  // namespace kube_lvs::ebpf
