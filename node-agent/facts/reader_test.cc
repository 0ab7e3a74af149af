// Reads this machine's facts: every Linux has a loopback interface.
#include "node-agent/facts/reader.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/status.h"

namespace kube_lvs {
namespace {

TEST(Reader, ReadsTheLoopbackInterface) {
  const auto reader = NewKernelFactsReader("n1", std::nullopt);
  const auto facts = reader->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_EQ(facts->node_name, "n1");
  EXPECT_FALSE(facts->kernel_release.empty());
  ASSERT_TRUE(facts->interfaces.contains("lo"));
  const InterfaceFacts& lo = facts->interfaces.at("lo");
  EXPECT_TRUE(lo.loopback);
  EXPECT_EQ(lo.index, 1u);
  EXPECT_GT(lo.mtu, 0u);
}

TEST(Reader, TheNodesAddressIsAsTold) {
  const IpAddress address = *IpAddress::Parse("192.0.2.9");
  const auto facts = NewKernelFactsReader("n1", address)->Read();
  ASSERT_TRUE(facts.ok()) << Message(facts.status());
  EXPECT_EQ(facts->node_address, address);
}

TEST(Reader, TheWatchEndsWhenAsked) {
  absl::Status status = absl::UnknownError("still running");
  {
    std::jthread thread([&status](std::stop_token stop) { status = WatchNetlink(stop, [] {}); });
  }
  EXPECT_TRUE(status.ok()) << Message(status);
}

}  // namespace
}  // namespace kube_lvs
