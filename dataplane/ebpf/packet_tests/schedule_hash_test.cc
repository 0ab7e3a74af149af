// sh and dh: the choices that Linux 6.1's IPVS was seen to make for the same clients.
#include <set>
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

// More new connections than a CPU is to remember: the same real servers without entries.
class FloodTest : public ScheduleHashTest {
 protected:
  static constexpr int kClients = 20;

  void OnlyOneASecond() { director_.settings().stateful_per_second = 1; }
  void RememberAll() { director_.settings().stateful_per_second = 0; }
  // The number of the real server that it goes to.
  uint32_t Goes(int client, uint8_t flags) { return Goes(Client(client, flags)); }
  uint32_t Goes(const Frame& frame) {
    std::vector<uint64_t> before;
    for (uint32_t n = 1; n <= size_; ++n) before.push_back(director_.RealCounters(Id(n)).packets);
    EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
    for (uint32_t n = 1; n <= size_; ++n) {
      if (director_.RealCounters(Id(n)).packets > before[n - 1]) return n;
    }
    return 0;
  }
  static Frame Client(int number, uint8_t flags) {
    Frame frame = ClientFrame("10.1.0." + std::to_string(1 + number));
    frame.flags = flags;
    return frame;
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, FloodTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(FloodTest, LaterFragmentsFollowTheirFirst) {
  Add(KernelTcp(KLVS_SCHEDULER_SH, {1, 1, 1}));
  OnlyOneASecond();
  std::set<uint32_t> chosen;
  for (int i = 0; i < kClients; ++i) {
    Frame frame = Client(i, kSyn);
    frame.dont_fragment = false;
    frame.more_fragments = true;
    frame.payload = std::string(140, 'a');
    const uint32_t real = Goes(frame);
    chosen.insert(real);
    frame.fragment_offset = 20;
    EXPECT_EQ(Goes(frame), real);
    frame.fragment_offset = 40;
    frame.more_fragments = false;
    EXPECT_EQ(Goes(frame), real);
  }
  EXPECT_LT(director_.Entries().size(), kClients / 2);
  EXPECT_GT(chosen.size(), 1U);
  EXPECT_TRUE(director_.Drops().empty());
}

TEST_P(FloodTest, IsServedWithoutEntries) {
  Add(KernelTcp(KLVS_SCHEDULER_SH, {1, 1, 1}));
  OnlyOneASecond();
  std::vector<uint32_t> chosen;
  for (int i = 0; i < kClients; ++i) {
    chosen.push_back(Goes(i, kSyn));
    EXPECT_EQ(Goes(i, kAck), chosen.back());
  }
  EXPECT_LT(director_.Entries().size(), kClients / 2);
  EXPECT_GE(director_.Entries().size(), 1);
  EXPECT_EQ(director_.ServiceCounters(1).connections, kClients);
  EXPECT_EQ(director_.ServiceCounters(1).packets, 2 * kClients);

  RememberAll();
  for (int i = 0; i < kClients; ++i) EXPECT_EQ(Goes(i, kAck), chosen[i]);
  EXPECT_EQ(director_.Entries().size(), kClients);
}

// What XDP cannot send is tc's alone.
TEST_P(FloodTest, IsCountedOnceWhereXdpLeavesItToTc) {
  Add(KernelTcp(KLVS_SCHEDULER_SH, {1, 1, 1}));
  for (uint32_t n = 1; n <= size_; ++n) {
    director_.real(Id(n)).flags &= static_cast<uint8_t>(~KLVS_REAL_L2);
  }
  OnlyOneASecond();
  for (int i = 0; i < kClients; ++i) {
    EXPECT_EQ(director_.RunBoth(Client(i, kSyn).Build()).verdict, Verdict::kSent);
  }
  EXPECT_EQ(director_.Entries().size(), 1U);
  EXPECT_EQ(director_.ServiceCounters(1).connections, kClients);
  EXPECT_EQ(director_.ServiceCounters(1).packets, kClients);
}

TEST_P(FloodTest, HasEntriesWhereTheyAreNeeded) {
  OnlyOneASecond();
  for (const char* why : {"NAT", "thresholds", "persistence", "round robin"}) {
    SCOPED_TRACE(why);
    Service service = KernelTcp(KLVS_SCHEDULER_SH, {1, 1, 1});
    if (why == std::string("NAT")) service.method = KLVS_METHOD_NAT;
    if (why == std::string("thresholds")) service.reals[0].upper = 1000;
    if (why == std::string("persistence")) service.template_seconds = 60;
    if (why == std::string("round robin")) service.scheduler = KLVS_SCHEDULER_RR;
    Add(service);
    for (int i = 0; i < kClients; ++i) Goes(i, kSyn);
    EXPECT_EQ(director_.Entries().size(), kClients);
    Forget();
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
