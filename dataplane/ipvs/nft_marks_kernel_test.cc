// The table of marks on this machine's kernel, in a network namespace of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "dataplane/ipvs/nft_marks.h"

namespace kube_lvs::ipvs {
namespace {

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

class NftMarksTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
    ASSERT_EQ(std::system("ip link set lo up"), 0);
  }

  // Written by one process, read by another.
  static void Reach(const Marks& wanted) {
    ASSERT_EQ((*OpenMarkTable())->Write(wanted), absl::OkStatus());
    EXPECT_EQ((*OpenMarkTable())->Read()->marks, wanted);
  }
  static bool Ok(const std::string& command) { return std::system(command.c_str()) == 0; }
};

const Marks kSome = {{Range("192.0.2.1", 10000, 10100), 0x12345},
                     {Range("192.0.2.1", 10000, 10100, Protocol::kTcp), 2},
                     {Range("192.0.2.1", 10101, 65535), 4294967295},
                     {Range("192.0.2.3", 80, 80, Protocol::kSctp), 3},
                     {All("192.0.2.2"), 4},
                     {All("2001:db8::2"), 5},
                     {Range("2001:db8::1", 1, 65535), 6},
                     {Of("198.51.100.0/24", 80, 80), 7},
                     {Of("198.51.100.0/24", 81, 99), 8},
                     {Of("203.0.113.128/25", 0, 65535), 9},
                     {Of("203.0.113.4/31", 0, 65535), 10},
                     {Of("2001:db8:1::/48", 0, 65535), 11}};

TEST_F(NftMarksTest, WhatIsWrittenIsReadByTheNextProcess) {
  EXPECT_EQ((*OpenMarkTable())->Read()->marks, Marks{});
  Reach(kSome);
  Marks fewer = kSome;
  fewer.erase(Range("192.0.2.1", 10101, 65535));
  fewer.erase(All("2001:db8::2"));
  Reach(fewer);
  Reach({});
  EXPECT_FALSE(Ok("nft list table inet kube-lvs-marks 2>/dev/null"));
}

// Small systems, such as a guest or a container, have none.
TEST_F(NftMarksTest, WithoutNamesOfProtocolsItIsTheSame) {
  Reach(kSome);
  ASSERT_EQ(unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  ASSERT_EQ(mount("/dev/null", "/etc/protocols", nullptr, MS_BIND, nullptr), 0);
  EXPECT_EQ((*OpenMarkTable())->Read()->marks, kSome);
  Reach({});
  Reach(kSome);
  ASSERT_EQ(umount("/etc/protocols"), 0);
}

TEST_F(NftMarksTest, RangesGrowShrinkAndMoveInOneStep) {
  Reach({{Range("192.0.2.1", 10, 20), 1}, {All("192.0.2.2"), 2}});
  Reach({{Range("192.0.2.1", 10, 30), 3}, {Range("192.0.2.2", 1, 5), 4}});
  Reach({{Range("192.0.2.1", 10, 14), 5}, {Range("192.0.2.1", 15, 30), 6}, {All("192.0.2.2"), 7}});
  Reach({{Range("192.0.2.1", 10, 14), 8}});
  Reach({{Of("192.0.2.0/24", 10, 14), 9}});
  Reach({{Of("192.0.2.0/25", 10, 14), 10}, {Range("192.0.2.129", 10, 14), 11}});
}

TEST_F(NftMarksTest, WhateverMarksAreWrittenComeBack) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](uint32_t n) { return static_cast<uint16_t>(random() % n); };
  for (int round = 0; round < 20; ++round) {
    Marks wanted;
    for (int i = below(20); i > 0; --i) {
      const std::string vip = (below(2) ? "192.0.2." : "2001:db8::") + std::to_string(below(3));
      const auto first = static_cast<uint16_t>(1 + below(40));
      const std::string prefix = vip.substr(0, vip.size() - 1) + "0/" +
                                 std::to_string((vip[0] == '1' ? 32 : 128) - 1 - below(8));
      const ServiceKey key = below(8) == 0 ? All(vip)
                             : below(4) == 0
                                 ? Of(prefix, below(2) ? 0 : first, 65535)
                                 : Range(vip, first, static_cast<uint16_t>(first + below(9)),
                                         below(2) ? Protocol::kTcp : Protocol::kUdp);
      wanted = WithMarks(wanted, {{key, static_cast<uint32_t>(100 * round + i)}});
    }
    Reach(wanted);
    if (HasFailure()) return;
  }
}

TEST_F(NftMarksTest, WhatOthersBrokeReadsAsNothingAndIsMadeAnew) {
  const std::string table = " inet kube-lvs-marks ";
  const std::vector<std::string> harms = {
      "flush ruleset",
      "flush chain" + table + "choose",
      "delete element" + table + "ours { 4 }",
      "delete element" + table + "udp4 { 192.0.2.2 . 0-65535 }",
      "add rule" + table + "requests accept",
      "add element" + table + "tcp4 { 198.51.100.0/24 . 1 : 99 }",
      "add chain" + table + "more; add rule" + table + "more accept"};
  for (const std::string& harm : harms) {
    Reach(kSome);
    ASSERT_TRUE(Ok("nft '" + harm + "'")) << harm;
    EXPECT_EQ((*OpenMarkTable())->Read()->marks, Marks{}) << harm;
    Reach(kSome);
  }
}

TEST_F(NftMarksTest, OthersTablesAreNotTouched) {
  ASSERT_TRUE(Ok("nft 'add table inet kube-lvs; add table ip kube-lvs-marks'"));
  Reach(kSome);
  Reach({});
  EXPECT_TRUE(Ok("nft list table inet kube-lvs && nft list table ip kube-lvs-marks"));
}

TEST_F(NftMarksTest, PacketsThatCameWithAMarkAreCounted) {
  ASSERT_TRUE(Ok("ip addr add 192.0.2.1/32 dev lo"));
  Reach({{Range("192.0.2.1", 10000, 10100), 7}});
  const std::string to = "bash -c 'echo > /dev/udp/192.0.2.1/10050'";
  ASSERT_TRUE(Ok(to));
  EXPECT_EQ((*OpenMarkTable())->Read()->replaced, 0u);
  ASSERT_TRUE(
      Ok("nft 'add table ip x; add chain ip x o { type filter hook output priority -150; }; "
         "add rule ip x o meta mark set 0x4000'"));
  ASSERT_TRUE(Ok(to));
  EXPECT_GE((*OpenMarkTable())->Read()->replaced, 1u);
}

}  // namespace
}  // namespace kube_lvs::ipvs
