#include "dataplane/ipvs/marks.h"

#include <random>

#include "dataplane/ipvs/mark_commands.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ServiceKey Range(const std::string& vip, uint16_t first, uint16_t last,
                 Protocol protocol = Protocol::kUdp) {
  return {.dataplane = Dataplane::kIpvs,
          .match = PortRange{*IpAddress::Parse(vip), first, last},
          .protocol = protocol};
}

ServiceKey All(const std::string& vip) {
  return {.dataplane = Dataplane::kIpvs,
          .match = AllPorts{*IpAddress::Parse(vip)},
          .protocol = Protocol::kTcp};
}

ServiceKey Of(const std::string& prefix, uint16_t first, uint16_t last) {
  return {.dataplane = Dataplane::kIpvs,
          .match = Prefix{*Cidr::Parse(prefix), first, last},
          .protocol = first == 0 ? Protocol::kTcp : Protocol::kUdp};
}

TEST(ChooseMark, IsTheSameForAKeyAndNeverOneThatIsTakenOrHasOthersBits) {
  std::set<uint32_t> taken;
  for (int i = 0; i < 5000; ++i) {
    const ServiceKey key =
        Range("192.0.2." + std::to_string(i % 250), static_cast<uint16_t>(1 + i), 65535);
    const uint32_t mark = ChooseMark(key, taken);
    EXPECT_EQ(mark, ChooseMark(key, taken));
    EXPECT_NE(mark, 0u);
    EXPECT_EQ(mark & 0x8000cf00, 0u);
    EXPECT_TRUE(taken.insert(mark).second) << ToString(key);
  }
  // Directors of different versions must choose the same.
  EXPECT_EQ(ChooseMark(Range("192.0.2.1", 10000, 10100), {}), 479526963u);
  const uint32_t first = ChooseMark(All("192.0.2.1"), {});
  EXPECT_NE(ChooseMark(All("192.0.2.1"), {first}), first);
}

TEST(WithMarks, WhatIsAddedTakesThePacketsOfWhatOverlapsIt) {
  const Marks there = {{Range("192.0.2.1", 10, 20), 1},
                       {Range("192.0.2.1", 21, 30), 2},
                       {Range("192.0.2.1", 10, 20, Protocol::kTcp), 3},
                       {Range("192.0.2.2", 10, 20), 4}};
  EXPECT_EQ(WithMarks(there, {}), there);
  EXPECT_EQ(WithMarks(there, {{Range("192.0.2.1", 20, 20), 9}}),
            (Marks{{Range("192.0.2.1", 20, 20), 9},
                   {Range("192.0.2.1", 21, 30), 2},
                   {Range("192.0.2.1", 10, 20, Protocol::kTcp), 3},
                   {Range("192.0.2.2", 10, 20), 4}}));
  EXPECT_EQ(WithMarks(there, {{All("192.0.2.1"), 9}}),
            (Marks{{All("192.0.2.1"), 9}, {Range("192.0.2.2", 10, 20), 4}}));
}

TEST(WithMarks, APrefixTakesThePacketsOfEachAddressInIt) {
  const Marks there = {{Range("192.0.2.1", 10, 20), 1},
                       {Of("192.0.2.0/30", 15, 15), 2},
                       {Range("192.0.2.4", 10, 20), 3},
                       {Of("192.0.2.0/30", 21, 21), 4}};
  EXPECT_EQ(WithMarks(there, {{Of("192.0.2.0/31", 1, 20), 9}}),
            (Marks{{Of("192.0.2.0/31", 1, 20), 9},
                   {Range("192.0.2.4", 10, 20), 3},
                   {Of("192.0.2.0/30", 21, 21), 4}}));
  EXPECT_EQ(WithMarks(there, {{Of("192.0.2.0/24", 0, 65535), 9}}),
            (Marks{{Of("192.0.2.0/24", 0, 65535), 9}}));
}

TEST(MarkCommands, NothingToDoIsNothing) {
  const Marks marks = {{Range("192.0.2.1", 10, 20), 1}, {All("2001:db8::1"), 2}};
  EXPECT_EQ(MarkCommands(marks, true, marks), "");
  EXPECT_EQ(MarkCommands(std::nullopt, false, {}), "");
}

TEST(MarkCommands, AChangeTouchesTheElementsThatDifferAndNothingElse) {
  const Marks there = {{Range("192.0.2.1", 10, 20), 1},
                       {Range("2001:db8::1", 5, 6, Protocol::kSctp), 3},
                       {All("192.0.2.9"), 2}};
  const Marks wanted = {
      {Range("192.0.2.1", 10, 25), 4}, {All("192.0.2.9"), 2}, {Of("198.51.100.0/24", 80, 80), 5}};
  EXPECT_EQ(MarkCommands(there, true, wanted),
            "delete element inet kube-lvs-marks udp4 { 192.0.2.1 . 10-20 }\n"
            "add element inet kube-lvs-marks udp4 { 192.0.2.1 . 10-25 : 4, "
            "198.51.100.0/24 . 80-80 : 5 }\n"
            "delete element inet kube-lvs-marks sctp6 { 2001:db8::1 . 5-6 }\n"
            "delete element inet kube-lvs-marks ours { 1, 3 }\n"
            "add element inet kube-lvs-marks ours { 4, 5 }\n");
}

TEST(MarkCommands, ATableThatSomebodyChangedIsMadeAnewAndTheLastServiceTakesItAlong) {
  const Marks wanted = {{All("192.0.2.9"), 2}};
  const std::string made = MarkCommands(std::nullopt, false, wanted);
  EXPECT_THAT(made, HasSubstr("add table inet kube-lvs-marks\n"));
  for (const char* protocol : {"tcp", "udp", "sctp"}) {
    EXPECT_THAT(made, HasSubstr("add element inet kube-lvs-marks " + std::string(protocol) +
                                "4 { 192.0.2.9 . 0-65535 : 2 }\n"));
  }
  EXPECT_THAT(made, Not(HasSubstr("delete")));
  EXPECT_EQ(MarkCommands(std::nullopt, true, wanted), "delete table inet kube-lvs-marks\n" + made);
  EXPECT_EQ(MarkCommands(wanted, true, {}), "delete table inet kube-lvs-marks\n");
  EXPECT_EQ(MarkCommands(std::nullopt, true, {}), "delete table inet kube-lvs-marks\n");
}

TEST(ParseMarkTable, TextThatIsNoListingOfOursIsNone) {
  for (const char* text : {"null", "{}", "[]", "[1]", R"([{"map": 1}])",
                           R"([{"map": {"name": "udp4", "elem": [[{"concat": [1]}, 2]]}}])",
                           R"([{"map": {"name": "udp4",
                               "elem": [[{"concat": [{"prefix": {"addr": 1, "len": 2}}, 80]}, 2]]}}])",
                           R"([{"map": {"name": "udp4",
                               "elem": [[{"concat": [{"prefix": "a"}, 80]}, 2]]}}])"}) {
    EXPECT_FALSE(ParseMarkTable(nlohmann::json::parse(text)).has_value()) << text;
  }
}

}  // namespace
}  // namespace kube_lvs::ipvs
