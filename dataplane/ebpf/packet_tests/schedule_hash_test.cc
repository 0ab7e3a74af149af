// sh and dh: the choices that Linux 6.1's IPVS was seen to make for the same clients.
#include <string>
#include <vector>

#include "dataplane/ebpf/packet_tests/schedule_fixture.h"
#include "dataplane/plan/hash_buckets.h"

namespace kube_lvs::ebpf {
namespace {

class ScheduleHashTest : public ScheduleTest {
 protected:
  void Add(const Service& service) {
    director_.Add(service);
    std::vector<uint32_t> weights;
    for (const Real& real : service.reals) weights.push_back(real.weight);
    const auto buckets = service.scheduler == KLVS_SCHEDULER_DH
                             ? PopulateDestinationHash(static_cast<uint32_t>(weights.size()))
                             : PopulateSourceHash(weights);
    for (size_t i = 0; i < buckets.size(); ++i) {
      director_.tables()[i].real = service.first_real + buckets[i];
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, ScheduleHashTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ScheduleHashTest, SourceHashing) {
  Add(Kernel(KLVS_SCHEDULER_SH, {1, 1, 1}));
  EXPECT_EQ(Choices(40),
            "3 3 1 2 1 3 1 3 1 3 2 3 2 3 2 1 2 1 2 1 3 1 3 1 3 2 3 1 1 2 1 2 3 3 1 3 1 2 2 3");
  Forget();
  Add(Kernel(KLVS_SCHEDULER_SH, {3, 1, 2}));
  EXPECT_EQ(Choices(40),
            "3 1 1 3 1 3 2 3 2 3 3 1 3 1 3 2 1 2 1 1 1 1 1 1 3 1 3 2 1 3 1 3 1 3 2 3 2 1 3 1");
}

TEST_P(ScheduleHashTest, SourceHashingWithPorts) {
  Service service = Kernel(KLVS_SCHEDULER_SH, {3, 1, 2});
  service.flags = KLVS_SERVICE_HASH_PORT;
  Add(service);
  EXPECT_EQ(Choices(40, 21200),
            "3 1 3 1 1 2 1 2 1 3 1 1 3 1 3 1 3 2 3 3 1 3 1 3 2 1 2 1 3 1 1 1 1 3 1 3 1 1 3 1");
}

TEST_P(ScheduleHashTest, SourceHashingFallsBackFromTheQuiesced) {
  Service service = Kernel(KLVS_SCHEDULER_SH, {0, 1, 2});
  Add(service);
  Choices(40);
  EXPECT_EQ(director_.Drops().at("no_real_server"), 12u);
  Forget();
  service.flags = KLVS_SERVICE_HASH_FALLBACK;
  Add(service);
  EXPECT_EQ(Choices(40),
            "2 2 3 2 3 2 3 2 3 2 2 3 2 3 2 3 2 3 2 2 3 2 3 2 3 2 3 2 2 3 2 3 2 3 2 3 2 3 3 2");
}

TEST_P(ScheduleHashTest, TheOverloadedAreNoChoice) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_SH, KLVS_SCHEDULER_DH}) {
    Service service = Kernel(scheduler, {1});
    service.reals[0].upper = 2;
    Add(service);
    EXPECT_EQ(Choices(4), "1 1 - -");
    Forget();
  }
  Service service = Kernel(KLVS_SCHEDULER_SH, {1, 1, 1});
  service.flags = KLVS_SERVICE_HASH_FALLBACK;
  service.reals[0].upper = 2;  // number 3
  Add(service);
  const std::string chosen = Choices(40);
  EXPECT_EQ(chosen.substr(0, 7), "3 3 1 2");
  EXPECT_EQ(chosen.find('3', 4), std::string::npos);
  EXPECT_EQ(chosen.find('-'), std::string::npos);
}

TEST_P(ScheduleHashTest, DestinationHashing) {
  // The same real servers for many VIPs, as the kernel has them with a firewall mark.
  const std::string golden =
      "3 2 3 1 1 2 3 2 3 3 1 2 1 3 2 3 1 3 2 3 2 3 2 1 2 1 2 1 3 1 3 1 3 2 3 2 3 2 1 2";
  std::string chosen;
  for (int i = 0; i < 40; ++i) {
    Service service = Kernel(KLVS_SCHEDULER_DH, {9, 1, 4});
    service.vip = "10.9.1." + std::to_string(1 + i);
    Add(service);
    Frame frame = ClientFrame("10.1.0.1", 40000, service.vip);
    frame.protocol = 17;
    director_.Run(frame);
    chosen += (chosen.empty() ? "" : " ") + ChoiceOf(frame);
    Forget();
  }
  EXPECT_EQ(chosen, golden);
}

TEST_P(ScheduleHashTest, DestinationHashingRefusesTheQuiesced) {
  Service service = Kernel(KLVS_SCHEDULER_DH, {1, 1, 1});
  for (Real& real : service.reals) real.weight = 0;
  Add(service);
  EXPECT_EQ(Choices(1), "-");
}

TEST_P(ScheduleHashTest, TcpInMidStreamIsTakenOver) {
  for (const uint8_t scheduler : {KLVS_SCHEDULER_SH, KLVS_SCHEDULER_DH}) {
    Add(KernelTcp(scheduler, {1, 1, 1}));
    EXPECT_EQ(director_.Run(Tcp(scheduler, kAck)).verdict, Verdict::kSent);
    EXPECT_EQ(director_.Run(Tcp(100 + scheduler, kRst)).verdict, Verdict::kDropped);
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{{"no_connection", 2}}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
