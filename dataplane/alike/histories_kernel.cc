// IPVS and both stages of our own dataplane live through the same random history of one service of
// IPv4 or IPv6, one event after the other: connections that open, go on, close and expire, weights
// and thresholds that change, real servers that come and go; clients that persistence has stay, as
// long as it remembers them. They choose alike and count alike. The seed is printed; ALIKE_SEED
// sets it.
//
// What twos draws is not seen: in its histories no draw matters.
#include <chrono>
#include <list>
#include <string>
#include <vector>

#include "dataplane/alike/course.h"
#include "gtest/gtest.h"

namespace kube_lvs::alike {
namespace {

// A connection that was reset ends after 10 s, by the kernel's timer at once.
constexpr auto kLongest = std::chrono::milliseconds(700);

// Events of one service go on so long at a time: every one is over before the first connection
// expires, on any side. They expire during those of others.
constexpr auto kBurst = std::chrono::milliseconds(300);
constexpr int kBursts = 2;

class HistoryTest : public testing::TestWithParam<History>, protected Course {
 protected:
  HistoryTest() : Course(GetParam()) {}
};

TEST_P(HistoryTest, TheDataplanesChooseAndCountAlike) {
  Begin();
  GoOnFor(kLongest);
  End();
}

std::string NameOfTest(const testing::TestParamInfo<History>& info) { return NameOf(info.param); }
INSTANTIATE_TEST_SUITE_P(Ipv4, HistoryTest, testing::ValuesIn(Histories(Family::kIpv4)),
                         NameOfTest);
INSTANTIATE_TEST_SUITE_P(Ipv6, HistoryTest, testing::ValuesIn(Histories(Family::kIpv6)),
                         NameOfTest);

void SetTimeouts(bool set) {
  for (const auto kind : {ConnectionKind::kTcp, ConnectionKind::kTcpFin, ConnectionKind::kUdp}) {
    for (Side* side : TheSides().all) {
      const ConnectionTimeout timeout{side->dataplane(), kind, kTimeoutSeconds};
      side->Apply({set ? Step(AddItem{timeout}) : Step(RemoveItem{timeout})});
    }
  }
}

// While connections of one service expire, others' histories go on.
class ExpiryTest : public testing::TestWithParam<std::vector<History>> {
 protected:
  void SetUp() override { SetTimeouts(true); }
  void TearDown() override { SetTimeouts(false); }
};
TEST_P(ExpiryTest, ConnectionsAndTemplatesExpireAlike) {
  std::list<Course> courses(GetParam().begin(), GetParam().end());
  for (Course& course : courses) course.Begin();
  for (int burst = 0; burst < kBursts; ++burst) {
    for (Course& course : courses) {
      if (burst != 0 && !HasFailure()) course.ExpectExpiry();
      course.GoOnFor(kBurst);
    }
  }
  for (Course& course : courses) {
    if (!HasFailure()) course.ExpectExpiry();
    course.End();
  }
}
std::vector<History> OfTwosInBothFamilies() {
  std::vector<History> out = ExpiringHistories(Family::kIpv4, true);
  for (const History& history : ExpiringHistories(Family::kIpv6, true)) out.push_back(history);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Ipv4, ExpiryTest,
                         testing::Values(ExpiringHistories(Family::kIpv4, false)),
                         [](const auto&) { return "OfEveryScheduler"; });
INSTANTIATE_TEST_SUITE_P(Ipv6, ExpiryTest,
                         testing::Values(ExpiringHistories(Family::kIpv6, false)),
                         [](const auto&) { return "OfEveryScheduler"; });
INSTANTIATE_TEST_SUITE_P(Both, ExpiryTest, testing::Values(OfTwosInBothFamilies()),
                         [](const auto&) { return "OfTwos"; });

}  // namespace
}  // namespace kube_lvs::alike
