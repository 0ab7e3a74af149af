#include "node-agent/desired/source_ports.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

NodeFacts With(uint16_t first, uint16_t last, const std::string& reserved = "") {
  NodeFacts facts;
  facts.local_ports = {first, last};
  facts.reserved_ports = reserved;
  return facts;
}

std::string Reservation(const NodeFacts& facts) {
  const SourcePortGuard guard = GuardSourcePorts(facts);
  EXPECT_EQ(guard.problem, "");
  if (!guard.reservation.has_value()) return "none";
  EXPECT_EQ(guard.reservation->name, "net/ipv4/ip_local_reserved_ports");
  return guard.reservation->value;
}

TEST(SourcePorts, ANodeWhoseOwnPortsAreOthersIsLeftAlone) {
  EXPECT_EQ(Reservation(NodeFacts{}), "none");
  EXPECT_EQ(Reservation(With(32768, 60999)), "none");
  EXPECT_EQ(Reservation(With(32768, 60999, "40000")), "none");
  EXPECT_EQ(Reservation(With(1, 1023)), "none");
}

TEST(SourcePorts, OursAreAddedToWhatIsReserved) {
  EXPECT_EQ(Reservation(With(32767, 60999)), "1024-32767");
  EXPECT_EQ(Reservation(With(1024, 65535)), "1024-32767");
  EXPECT_EQ(Reservation(With(1024, 65535, "80,8080,30000-32900,40000-40001,65535")),
            "80,1024-32900,40000-40001,65535");
  EXPECT_EQ(Reservation(With(1024, 65535, "1000-1023")), "1000-32767");
}

TEST(SourcePorts, WhatWasReservedOnceStaysTheSame) {
  const std::string once = Reservation(With(1024, 65535, "80,40000"));
  EXPECT_EQ(Reservation(With(1024, 65535, once)), once);
}

TEST(SourcePorts, ANodeThatWouldHaveTooFewPortsLeftIsToldInstead) {
  EXPECT_EQ(Reservation(With(10000, 49151)), "1024-32767");  // 16384 are left
  const SourcePortGuard guard = GuardSourcePorts(With(10000, 49150));
  EXPECT_FALSE(guard.reservation.has_value());
  EXPECT_NE(guard.problem.find("only 16383 would be left; let them begin above: sysctl -w "),
            std::string::npos)
      << guard.problem;
  EXPECT_FALSE(GuardSourcePorts(With(10000, 49151, "49151")).reservation.has_value());
}

TEST(SourcePorts, AListThatIsNotUnderstoodIsNeverWrittenOver) {
  for (const char* text : {"80-", "-80", "90-80", "65536", "80;90", "a", "80,,90"}) {
    const SourcePortGuard guard = GuardSourcePorts(With(1024, 65535, text));
    EXPECT_FALSE(guard.reservation.has_value()) << text;
    EXPECT_NE(guard.problem, "") << text;
  }
}

TEST(SourcePorts, AListThatFitsIntoNoPageIsNeverWritten) {
  std::string odd;
  for (int port = 40001; port < 41601; port += 2)
    odd += (odd.empty() ? "" : ",") + std::to_string(port);
  const SourcePortGuard guard = GuardSourcePorts(With(1024, 65535, odd));
  EXPECT_FALSE(guard.reservation.has_value());
  EXPECT_NE(guard.problem.find("too long"), std::string::npos);
}

}  // namespace
}  // namespace kube_lvs
