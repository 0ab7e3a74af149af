#include "dataplane/ipvs/timeout_backend.h"

#include <unistd.h>

#include <filesystem>
#include <random>

#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/faulty_channel.h"
#include "dataplane/ipvs/reading.h"
#include "dataplane/ipvs/settings_codec.h"
#include "dataplane/plan/diff.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

ConnectionTimeout Timeout(ConnectionKind kind, uint32_t seconds) {
  return {Dataplane::kIpvs, kind, seconds};
}

class TimeoutBackendTest : public ::testing::Test {
 protected:
  ~TimeoutBackendTest() override { std::filesystem::remove(path_); }

  TimeoutBackend Backend(const std::string& boot_id = "boot") {
    return {*channel_, path_, boot_id};
  }
  // Each time as a new process. Whether all is as desired now.
  bool BringTo(const std::set<NodeItem>& items) {
    TimeoutBackend backend = Backend();
    const State desired{.services = {}, .items = items};
    const auto actual = backend.Read();
    if (!actual.ok()) return false;
    const Plan plan = Diff(desired, *actual);
    for (const Step& step : plan.steps) EXPECT_TRUE(backend.Takes(step)) << ToString(step);
    backend.Apply(plan.steps);
    const auto again = backend.Read();
    return again.ok() && *again == desired;
  }
  void SetAsOther(const IpvsTimeouts& timeouts) {
    const std::vector<Bytes> request = {*EncodeTimeouts(timeouts)};
    ASSERT_EQ(kernel_.Send(request)->front(), 0);
  }
  IpvsTimeouts Now() { return *ReadTimeouts(kernel_); }

  FakeKernel kernel_;
  const uint32_t seed_ = std::random_device{}();
  Channel* channel_ = &kernel_;
  const std::string path_ = "/dev/shm/timeout-journal-" + std::to_string(getpid());
};

TEST_F(TimeoutBackendTest, WhatIsHeldIsReadAndWhatWasBeforeComesBack) {
  SetAsOther({.tcp_seconds = 100, .tcp_fin_seconds = 50, .udp_seconds = 20});
  EXPECT_TRUE(Backend().Read()->items.empty());
  const NodeItem udp = Timeout(ConnectionKind::kUdp, 30), tcp = Timeout(ConnectionKind::kTcp, 3600);
  EXPECT_TRUE(BringTo({udp, tcp}));
  EXPECT_EQ(Now(), (IpvsTimeouts{.tcp_seconds = 3600, .tcp_fin_seconds = 50, .udp_seconds = 30}));
  // At another value it is still the first one that comes back.
  EXPECT_TRUE(BringTo({Timeout(ConnectionKind::kUdp, 31), tcp}));
  EXPECT_TRUE(BringTo({tcp}));
  EXPECT_EQ(Now().udp_seconds, 20u);
  EXPECT_TRUE(BringTo({}));
  EXPECT_EQ(Now(), (IpvsTimeouts{.tcp_seconds = 100, .tcp_fin_seconds = 50, .udp_seconds = 20}));
}

TEST_F(TimeoutBackendTest, AnothersChangeIsDriftWhileItIsHeldAndTheirsAfterwards) {
  const NodeItem fin = Timeout(ConnectionKind::kTcpFin, 10);
  ASSERT_TRUE(BringTo({fin}));
  SetAsOther({.tcp_fin_seconds = 11});
  EXPECT_EQ(Backend().Read()->items, (std::set<NodeItem>{Timeout(ConnectionKind::kTcpFin, 11)}));
  EXPECT_TRUE(BringTo({fin}));
  EXPECT_EQ(Now().tcp_fin_seconds, 10u);
  // Changed between our reading and our removal.
  SetAsOther({.tcp_fin_seconds = 12});
  TimeoutBackend backend = Backend();
  EXPECT_TRUE(backend.Apply(std::vector<Step>{RemoveItem{fin}}).front().ok());
  EXPECT_EQ(Now().tcp_fin_seconds, 12u);
  EXPECT_TRUE(Backend().Read()->items.empty());
}

TEST_F(TimeoutBackendTest, ABootForgetsThem) {
  ASSERT_TRUE(BringTo({Timeout(ConnectionKind::kUdp, 30)}));
  EXPECT_TRUE(Backend("another").Read()->items.empty());
}

TEST_F(TimeoutBackendTest, ABrokenJournalIsToldAndNothingIsChanged) {
  ASSERT_TRUE(BringTo({Timeout(ConnectionKind::kUdp, 30)}));
  std::filesystem::resize_file(path_, 7);  // "boot\nud"
  EXPECT_TRUE(absl::IsDataLoss(Backend().Read().status()));
  const std::vector<Step> steps = {AddItem{Timeout(ConnectionKind::kTcp, 5)}};
  EXPECT_FALSE(Backend().Apply(steps).front().ok());
  EXPECT_EQ(Now().udp_seconds, 30u);
}

TEST_F(TimeoutBackendTest, TooLongIsRefusedByName) {
  const std::vector<Step> steps = {AddItem{Timeout(ConnectionKind::kTcp, 40 * 86400)}};
  const absl::Status status = Backend().Apply(steps).front();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(BringTo({}));
}

TEST_F(TimeoutBackendTest, WhateverFailsOnTheWayItEndsAsDesiredAndCanBeUndone) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::mt19937 random(seed_);
  const IpvsTimeouts before = Now();
  for (int round = 0; round < 100; ++round) {
    FaultyChannel faulty(kernel_, static_cast<uint32_t>(random()), 3);
    channel_ = &faulty;
    for (int i = 0; i < 5; ++i) {
      std::set<NodeItem> items;
      for (const auto kind :
           {ConnectionKind::kTcp, ConnectionKind::kTcpFin, ConnectionKind::kUdp}) {
        if (random() % 2 == 0) items.insert(Timeout(kind, 1 + static_cast<uint32_t>(random() % 3)));
      }
      BringTo(items);
    }
    channel_ = &kernel_;
    ASSERT_TRUE(BringTo({}));
    ASSERT_EQ(Now(), before);
  }
}

}  // namespace
}  // namespace kube_lvs::ipvs
