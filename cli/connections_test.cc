#include "cli/connections.h"

#include <gtest/gtest.h>

namespace kube_lvs::cli {
namespace {

TEST(Connections, LinesOfTheKernelAsIpvsadmShowsThem) {
  const auto tcp =
      ParseConnection("TCP 0A000001 D431 C0000201 0050 0A000009 1F90 ESTABLISHED     899");
  ASSERT_TRUE(tcp);
  EXPECT_EQ(ConnectionLine(*tcp, false, NoNames()),
            "TCP 14:59  ESTABLISHED 10.0.0.1:54321     192.0.2.1:80       10.0.0.9:8080\n");
  const auto six = ParseConnection(
      "UDP 2001:0db8:0000:0000:0000:0000:0000:0001 D431 2001:0db8:0000:0000:0000:0000:0000:0002 "
      "0035 2001:0db8:0000:0000:0000:0000:0000:0003 0035 UDP             300");
  ASSERT_TRUE(six);
  EXPECT_EQ(ConnectionLine(*six, false, NoNames()),
            "UDP 05:00  UDP         [2001:db8::1]:54321 [2001:db8::2]:53   [2001:db8::3]:53\n");
}

TEST(Connections, EnginesHaveColumnsOfTheirOwn) {
  const auto made = ParseConnection(
      "UDP 0A000001 0000 C0000201 13C4 0A000009 13C4 UDP          60 sip call-id-1");
  ASSERT_TRUE(made);
  EXPECT_EQ(ConnectionLine(*made, true, NoNames()),
            "UDP 01:00  UDP         10.0.0.1:0         192.0.2.1:5060     10.0.0.9:5060    sip     "
            "           call-id-1\n");
  EXPECT_EQ(ConnectionTitle(false),
            "IPVS connection entries\n"
            "pro expire state       source             virtual            destination\n");
  EXPECT_EQ(ConnectionTitle(true),
            "IPVS connection entries\n"
            "pro expire state       source             virtual            destination        pe "
            "name          pe_data\n");
}

TEST(Connections, OtherLinesAreNone) {
  for (const char* line :
       {"", "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
        "TCP 0A000001 D431 C0000201 0050 0A000009 1F90 ESTABLISHED",
        "TCP 0A000001X D431 C0000201 0050 0A000009 1F90 ESTABLISHED 1",
        "TCP 0A000001 1D431 C0000201 0050 0A000009 1F90 ESTABLISHED 1",
        "TCP 0A000001 D431 C0000201 0050 0A000009 1F90 ESTABLISHED -1"}) {
    EXPECT_FALSE(ParseConnection(line)) << line;
  }
}

}  // namespace
}  // namespace kube_lvs::cli
