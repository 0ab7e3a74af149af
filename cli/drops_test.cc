#include "cli/drops.h"

#include <gtest/gtest.h>

namespace kube_lvs::cli {
namespace {

ShownDrop Drop() {
  ShownDrop out{.time = "2026-01-31T14:03:22.123Z", .interface = "eth0", .sample = {}};
  out.sample.stage = "tc";
  out.sample.reason = "no_service";
  out.sample.length = 42;
  out.sample.frame = {2,    0, 0, 0, 0, 1,  2, 0, 0,    0,    0, 12, 8, 0,     // Ethernet
                      0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 1,  // IPv4
                      192,  0, 2, 1, 0x9c, 0x40, 0, 53, 0, 8, 0, 0};
  return out;
}

TEST(Drops, ALineFitsATerminal) {
  EXPECT_EQ(DropTitle(), "Time (UTC)   Interface  At  Reason         Bytes Packet\n");
  EXPECT_EQ(DropLine(Drop()),
            "14:03:22.123 eth0       tc  no_service        42 "
            "10.1.0.1:40000 > 192.0.2.1:53 UDP\n");
  EXPECT_LE(DropLine(Drop()).size(), 100U);
}

TEST(Drops, OfAPacketThatCannotBeReadTheRestIsShown) {
  ShownDrop drop = Drop();
  drop.sample.frame.clear();
  EXPECT_EQ(DropLine(drop),
            "14:03:22.123 eth0       tc  no_service        42 too short to read\n");
  EXPECT_EQ(DropJson(drop),
            R"({"time":"2026-01-31T14:03:22.123Z","interface":"eth0","stage":"tc",)"
            R"("reason":"no_service","bytes":42,"frame":""})"
            "\n");
}

TEST(Drops, AsJsonAnObjectALine) {
  EXPECT_EQ(DropJson(Drop()),
            R"({"time":"2026-01-31T14:03:22.123Z","interface":"eth0","stage":"tc",)"
            R"("reason":"no_service","bytes":42,"source":{"address":"10.1.0.1","port":40000},)"
            R"("destination":{"address":"192.0.2.1","port":53},"protocol":"UDP",)"
            R"("frame":"02000000000102000000000c08004500001c0000400040110000)"
            R"(0a010001c00002019c40003500080000"})"
            "\n");
  EXPECT_EQ(DropSummaryJson({.seconds = 1.5, .shown = 1, .packets = {{"no_service", 7}}}),
            R"({"seconds":1.5,"shown":1,"dropped":{"no_service":7}})"
            "\n");
}

TEST(Drops, TheSumSaysWhatWasNotShown) {
  EXPECT_EQ(DropSummary({.seconds = 12.34, .shown = 2, .packets = {{"no_service", 840}, {"ttl", 2}}}),
            "842 dropped in 12.3 s, 2 shown: no_service 840, ttl 2\n");
  EXPECT_EQ(DropSummary({.seconds = 1, .shown = 0, .packets = {}}), "0 dropped in 1.0 s, 0 shown\n");
}

}  // namespace
}  // namespace kube_lvs::cli
