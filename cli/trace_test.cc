#include "cli/trace.h"

#include <gtest/gtest.h>

namespace kube_lvs::cli {
namespace {

using ebpf::Trace;
using ebpf::TraceVerdict;

TEST(Trace, ReadsThePacket) {
  const auto tcp = ParseTrace("10.1.0.1:40000,192.0.2.1:80");
  ASSERT_TRUE(tcp.ok()) << tcp.status();
  EXPECT_EQ(tcp->protocol, Protocol::kTcp);
  EXPECT_EQ(tcp->client, *Endpoint::Parse("10.1.0.1:40000"));
  EXPECT_EQ(tcp->vip, *Endpoint::Parse("192.0.2.1:80"));
  EXPECT_EQ(ParseTrace("10.1.0.1:40000,192.0.2.1:80,udp")->protocol, Protocol::kUdp);
  EXPECT_EQ(ParseTrace("10.1.0.1:40000,192.0.2.1:80,sctp")->protocol, Protocol::kSctp);
  EXPECT_EQ(ParseTrace("[2001:db8::1]:1,[2001:db8::2]:80")->vip,
            *Endpoint::Parse("[2001:db8::2]:80"));
  for (const char* text :
       {"", "10.1.0.1:1", "10.1.0.1:1,", "10.1.0.1,192.0.2.1:80", "10.1.0.1:1,192.0.2.1:80,icmp",
        "10.1.0.1:1,192.0.2.1:80,tcp,", "[2001:db8::1]:1,192.0.2.1:80",
        "2001:db8::1:1,[2001:db8::2]:80", "10.1.0.1:1,192.0.2.1:65536"}) {
    EXPECT_FALSE(ParseTrace(text).ok()) << text;
  }
}

TEST(Trace, SaysWhichAndWhy) {
  const ebpf::TracePacket packet = ParseTrace("10.1.0.1:40000,192.0.2.1:80").value();
  RealServer real;
  real.at = *Endpoint::Parse("10.0.0.1:80");
  real.method = ForwardingMethod::kDirectRouting;
  Trace trace{.verdict = TraceVerdict::kForwarded,
              .is_vip = true,
              .drop_reason = "",
              .real = real,
              .state = "",
              .scheduler = "rr",
              .reals = 3,
              .available = 2};
  const std::string who = "10.1.0.1:40000 -> 192.0.2.1:80/tcp: ";
  EXPECT_EQ(TraceText(packet, trace), who +
                                          "to 10.0.0.1:80 DirectRouting weight 1\n"
                                          "  a new connection: rr had the choice of 2 of 3 real "
                                          "servers (weight above 0, below the upper threshold)\n");
  trace.persistent = true;
  EXPECT_EQ(TraceText(packet, trace), who +
                                          "to 10.0.0.1:80 DirectRouting weight 1\n"
                                          "  a new connection: persistence has the client stay\n");
  trace.state = "ESTABLISHED";
  EXPECT_EQ(TraceText(packet, trace), who +
                                          "to 10.0.0.1:80 DirectRouting weight 1\n"
                                          "  a connection is known, in state ESTABLISHED\n");
  trace = Trace{.verdict = TraceVerdict::kPassed,
                .is_vip = true,
                .drop_reason = "",
                .real = real,
                .state = "",
                .scheduler = "rr",
                .delivered = true};
  EXPECT_EQ(TraceText(packet, trace),
            who + "to 10.0.0.1:80 DirectRouting weight 1, which is this host\n"
                  "  this director does not answer for the VIP: what comes to it was balanced by "
                  "the one that does\n");
  trace = Trace{};
  trace.verdict = TraceVerdict::kDropped;
  trace.is_vip = true;
  trace.drop_reason = "no_service";
  EXPECT_EQ(TraceText(packet, trace),
            who + "dropped, reason no_service\n  there is no service at this port\n");
  EXPECT_EQ(TraceText(packet, Trace{}),
            who + "left to the stack of this host\n  no service has this address\n");
}

}  // namespace
}  // namespace kube_lvs::cli
