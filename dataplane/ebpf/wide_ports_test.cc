// Who has which port, by a trie that answers as the kernel's does.
#include "dataplane/ebpf/wide_ports.h"

#include <optional>
#include <set>
#include <utility>

#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/service_map.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

klvs_wide_key Range(uint16_t first, uint16_t last, uint8_t protocol = 6, uint32_t vip = 7) {
  klvs_wide_key out{};
  out.vip_id = vip;
  out.first = ToWirePort(first);
  out.last = ToWirePort(last);
  out.protocol = protocol;
  return out;
}
klvs_wide_key All(uint32_t vip = 7) { return Range(0, UINT16_MAX, 0, vip); }

class WidePortsTest : public testing::Test {
 protected:
  WidePortsTest() { MakeMaps(maps_); }

  void Add(const klvs_wide_key& key, uint32_t id) {
    ASSERT_TRUE(LeadPorts(maps_, key, false).ok());
    klvs_service service{};
    service.id = id;
    ASSERT_TRUE(PutService(maps_, key, service).ok());
    ASSERT_TRUE(LeadPorts(maps_, key, true).ok());
  }
  void Remove(const klvs_wide_key& key) {
    ASSERT_TRUE(ReleasePorts(maps_, key).ok());
    ASSERT_TRUE(EraseService(maps_, key).ok());
  }
  // The service of a packet's port; 0 for none.
  uint32_t At(uint16_t port, uint8_t protocol = 6, uint32_t vip = 7) {
    const auto found = FindService(maps_, {vip, ToWirePort(port), protocol, 0});
    EXPECT_TRUE(found.ok()) << found.status();
    return *found ? (*found)->id : 0;
  }
  size_t Blocks() { return maps_.Dump(kPortsMap)->size(); }

  FakeMapStore maps_;
};

TEST_F(WidePortsTest, BlocksHoldEachPortOfARangeOnceAndNoOther) {
  for (const auto& [first, last] : {std::pair(1, 65535),
                                    {1, 65534},
                                    {80, 89},
                                    {10000, 10100},
                                    {32768, 65535},
                                    {65535, 65535},
                                    {5, 5},
                                    {1, 1}}) {
    std::set<int> ports;
    const auto blocks = BlocksOf(Range(first, last));
    EXPECT_LE(blocks.size(), 30U);
    for (const klvs_port_key& block : blocks) {
      const int size = 1 << (KLVS_PORT_PREFIX_PORT - block.prefix_length);
      EXPECT_EQ(FromWirePort(block.port) % size, 0);
      for (int i = 0; i < size; ++i) EXPECT_TRUE(ports.insert(FromWirePort(block.port) + i).second);
    }
    EXPECT_EQ(*ports.begin(), first);
    EXPECT_EQ(*ports.rbegin(), last);
    EXPECT_EQ(ports.size(), static_cast<size_t>(last - first + 1));
  }
  EXPECT_EQ(BlocksOf(Range(1, 65534)).size(), 30U);
  ASSERT_EQ(BlocksOf(All()).size(), 1U);
  EXPECT_EQ(BlocksOf(All())[0].prefix_length, static_cast<uint32_t>(KLVS_PORT_PREFIX_VIP));
}

TEST_F(WidePortsTest, ASinglePortWinsOverARangeAndThatOverAllPorts) {
  Add(All(), 1);
  Add(Range(80, 89), 2);
  klvs_service single{};
  single.id = 3;
  ASSERT_TRUE(PutService(maps_, klvs_service_key{7, ToWirePort(85), 6, 0}, single).ok());
  EXPECT_EQ(At(85), 3U);
  for (const uint16_t port : {80, 84, 86, 89}) EXPECT_EQ(At(port), 2U) << port;
  for (const uint16_t port : {79, 90, 1, 65535}) EXPECT_EQ(At(port), 1U) << port;
  EXPECT_EQ(At(85, 17), 1U);
  EXPECT_EQ(At(85, 6, 8), 0U);
}

TEST_F(WidePortsTest, WhoComesKeepsWhoIsThereUntilHeGoes) {
  Add(Range(100, 200), 1);
  Add(Range(96, 255), 2);  // other blocks, and one that both have: 128 to 191
  for (uint16_t port = 100; port <= 200; ++port) EXPECT_NE(At(port), 0U) << port;
  EXPECT_EQ(At(96), 2U);
  EXPECT_EQ(At(255), 2U);
  Remove(Range(100, 200));
  for (uint16_t port = 96; port <= 255; ++port) EXPECT_EQ(At(port), 2U) << port;
  EXPECT_TRUE(*HasItsPorts(maps_, Range(96, 255)));
  Remove(Range(96, 255));
  EXPECT_EQ(Blocks(), 0U);
}

TEST_F(WidePortsTest, WhoEndsLaterThanAnotherBeginsWithItsOwnName) {
  Add(Range(100, 107), 1);
  Add(Range(100, 111), 2);  // the same first port
  EXPECT_EQ(At(111), 2U);
  EXPECT_EQ(At(100), 1U);
  Remove(Range(100, 111));
  EXPECT_EQ(At(111), 0U);
  EXPECT_EQ(At(100), 1U);
  EXPECT_TRUE(*HasItsPorts(maps_, Range(100, 107)));
}

TEST_F(WidePortsTest, ASmallerOneTakesPortsOnlyWhenItIsThere) {
  Add(Range(64, 127), 1);
  const klvs_wide_key small = Range(80, 83);
  ASSERT_TRUE(LeadPorts(maps_, small, false).ok());
  EXPECT_EQ(At(81), 1U);
  EXPECT_FALSE(*HasItsPorts(maps_, small));
  Add(small, 2);
  EXPECT_EQ(At(81), 2U);
  EXPECT_TRUE(*HasItsPorts(maps_, small));
  const int writes = maps_.writes;
  ASSERT_TRUE(LeadPorts(maps_, small, true).ok());
  EXPECT_EQ(maps_.writes, writes);
}

TEST_F(WidePortsTest, WhatNobodyHasIsTidiedAway) {
  Add(Range(64, 127), 1);
  Add(Range(80, 83), 2);
  Add(Range(64, 95), 3);
  ASSERT_TRUE(EraseService(maps_, RecordKey(Range(80, 83))).ok());
  EXPECT_EQ(At(81), 0U);
  ASSERT_TRUE(TidyPorts(maps_).ok());
  EXPECT_EQ(At(81), 3U);
  const int writes = maps_.writes;
  ASSERT_TRUE(TidyPorts(maps_).ok());
  EXPECT_EQ(maps_.writes, writes);
}

}  // namespace
}  // namespace kube_lvs::ebpf
