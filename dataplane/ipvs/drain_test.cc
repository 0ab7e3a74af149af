// A real server that leaves a service of IPVS: quiesced, then gone, whenever we are restarted.
#include "dataplane/plan/drain.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/fake_marks.h"
#include "dataplane/plan/diff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Duration kTimeout = std::chrono::seconds(60);
const ServiceKey kWeb{.dataplane = Dataplane::kIpvs,
                      .match = *Endpoint::Parse("192.0.2.1:80"),
                      .protocol = Protocol::kTcp};
const Endpoint kLeaves = *Endpoint::Parse("10.0.0.2:80");

RealServer Real(const std::string& at, uint32_t weight) {
  return {.at = *Endpoint::Parse(at), .method = ForwardingMethod::kNat, .weight = weight};
}

class IpvsDrainTest : public ::testing::Test {
 protected:
  IpvsDrainTest() {
    Restart();
    desired_.services[kWeb] = {.config = {},
                               .reals = {Real("10.0.0.1:80", 2), Real("10.0.0.2:80", 3)}};
    Pass();
    without_.services[kWeb] = {.config = {}, .reals = {Real("10.0.0.1:80", 2)}};
  }
  ~IpvsDrainTest() override { std::filesystem::remove(path_); }

  // A new process: of the old one only the kernel and the journal are left.
  void Restart() {
    auto journal = Journal::Open(path_, "boot");
    ASSERT_EQ(journal.status(), absl::OkStatus());
    journal_ = std::make_unique<Journal>(*std::move(journal));
    backend_ = std::make_unique<IpvsBackend>(kernel_, *journal_, marks_,
                                             [](const std::string&) { return absl::OkStatus(); });
    clock_.clear();
  }

  // As the agent's loop: read, drain, diff, apply. Whether there was nothing to do.
  bool Pass() {
    const auto actual = backend_->Read();
    const auto stats = backend_->ReadStats();
    EXPECT_EQ(actual.status(), absl::OkStatus());
    EXPECT_EQ(stats.status(), absl::OkStatus());
    Drained drained = Drain(desired_, *actual, *stats, {{kWeb, kTimeout}}, clock_, now_);
    clock_ = std::move(drained.clock);
    const Plan plan = Diff(drained.desired, *actual);
    backend_->Apply(plan.steps);
    return plan.steps.empty();
  }

  std::vector<RealServer> There() {
    const auto actual = backend_->Read();
    EXPECT_EQ(actual.status(), absl::OkStatus());
    std::vector<RealServer> reals = actual->services.at(kWeb).reals;
    SortCanonically(reals);
    return reals;
  }

  void Connections(uint32_t active, uint32_t inactive) {
    kernel_.Count(kWeb, kLeaves, {}, active, inactive);
  }

  FakeKernel kernel_;
  FakeMarks marks_;
  const std::string path_ = "/dev/shm/drain-journal-" + std::to_string(getpid());
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<IpvsBackend> backend_;
  DrainClock clock_;
  TimePoint now_{};
  State desired_, without_;
};

TEST_F(IpvsDrainTest, ItGoesWhenTheKernelCountsNoMoreConnections) {
  Connections(2, 1);
  desired_ = without_;
  EXPECT_FALSE(Pass());
  EXPECT_THAT(There(), ElementsAre(Real("10.0.0.1:80", 2), Real("10.0.0.2:80", 0)));
  EXPECT_TRUE(Pass());
  Connections(0, 1);
  now_ += kTimeout / 2;
  EXPECT_TRUE(Pass());
  Connections(0, 0);
  EXPECT_FALSE(Pass());
  EXPECT_THAT(There(), ElementsAre(Real("10.0.0.1:80", 2)));
}

TEST_F(IpvsDrainTest, ItGoesWhenItsTimeIsUp) {
  Connections(1, 0);
  desired_ = without_;
  Pass();
  now_ += kTimeout - std::chrono::nanoseconds(1);
  EXPECT_TRUE(Pass());
  now_ += std::chrono::nanoseconds(1);
  EXPECT_FALSE(Pass());
  EXPECT_THAT(There(), ElementsAre(Real("10.0.0.1:80", 2)));
}

TEST_F(IpvsDrainTest, WithoutConnectionsItGoesAtOnce) {
  desired_ = without_;
  Pass();
  EXPECT_THAT(There(), ElementsAre(Real("10.0.0.1:80", 2)));
}

TEST_F(IpvsDrainTest, OneThatComesBackHasItsWeightAlsoAfterARestart) {
  const State both = desired_;
  Connections(1, 0);
  desired_ = without_;
  Pass();
  Restart();
  desired_ = both;
  EXPECT_FALSE(Pass());
  EXPECT_EQ(There(), both.services.at(kWeb).reals);
  EXPECT_TRUE(Pass());
}

// The process dies before its Nth request to the kernel, for each N, and again in its next life.
TEST_F(IpvsDrainTest, ARestartAtAnyStepOnlyMakesItLonger) {
  const State both = desired_;
  for (int first = 0; first < 3; ++first) {
    for (int second = 0; second < 3; ++second) {
      SCOPED_TRACE(testing::Message() << "dies before request " << first << ", then " << second);
      desired_ = both;
      while (!Pass()) continue;
      Connections(1, 0);
      desired_ = without_;
      for (int left : {first, second}) {
        kernel_.fault = [&left](const Bytes&) { return left-- > 0 ? 0 : EINTR; };
        Pass();
        Pass();
        kernel_.fault = nullptr;
        Restart();
        // It is there with its connections: as before, or quiesced.
        ASSERT_EQ(There().size(), 2u);
        ASSERT_THAT(There()[1].weight, testing::AnyOf(0u, 3u));
      }
      Pass();
      EXPECT_THAT(There(), ElementsAre(Real("10.0.0.1:80", 2), Real("10.0.0.2:80", 0)));
      // The clock began with this process.
      now_ += kTimeout - std::chrono::nanoseconds(1);
      EXPECT_TRUE(Pass());
      now_ += std::chrono::nanoseconds(1);
      Pass();
      EXPECT_THAT(There(), ElementsAre(Real("10.0.0.1:80", 2)));
    }
  }
}

// A whole service has no director for new connections, so nothing of it stays.
TEST_F(IpvsDrainTest, AServiceThatIsRemovedIsNotDrained) {
  Connections(1, 0);
  desired_ = {};
  Pass();
  EXPECT_THAT(backend_->Read()->services, IsEmpty());
}

}  // namespace
}  // namespace kube_lvs::ipvs
