// Which real server a new connection gets: the choices that Linux 6.1's IPVS was seen to make for
// the same services and clients (three real servers 10.1.200.1 to .3, added in that order; the
// kernel's list is newest first).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "dataplane/ebpf/packet_tests/schedule_fixture.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kMhKeys[] = {2654435761ULL, 2654446892ULL};
constexpr uint32_t kMhSlots = 4093;

// SipHash-1-3 of a 32-bit word, both halves of the key `key`: written from the paper, apart from
// the BPF program's.
uint32_t SipHash(uint32_t word, uint64_t key) {
  const auto rotate = [](uint64_t x, int bits) { return x << bits | x >> (64 - bits); };
  std::array<uint64_t, 4> v = {key ^ 0x736f6d6570736575, key ^ 0x646f72616e646f6d,
                               key ^ 0x6c7967656e657261, key ^ 0x7465646279746573};
  const auto round = [&] {
    v[0] += v[1], v[1] = rotate(v[1], 13), v[1] ^= v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17), v[1] ^= v[2], v[2] = rotate(v[2], 32);
  };
  const uint64_t last = 4ULL << 56 | word;
  v[3] ^= last;
  round();
  v[0] ^= last;
  v[2] ^= 0xff;
  for (int i = 0; i < 3; ++i) round();
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

// The kernel's table for these real servers, in list order, by their greatest weights.
std::vector<uint32_t> MaglevTable(const std::vector<Real>& reals, const std::vector<uint32_t>& ids,
                                  const std::vector<uint32_t>& last_weights) {
  uint32_t gcd = 0, greatest = 0;
  for (const uint32_t w : last_weights) gcd = std::gcd(gcd, w), greatest = std::max(greatest, w);
  const int bits = gcd == 0 ? 0 : 32 - __builtin_clz(greatest / gcd);
  const int shift = std::max(0, bits - 6);
  std::vector<uint32_t> table(kMhSlots), at(reals.size()), skip(reals.size());
  for (size_t i = 0; i < reals.size(); ++i) {
    const uint32_t value = Ip(reals[i].address) + reals[i].port;
    at[i] = SipHash(value, kMhKeys[0]) % kMhSlots;
    skip[i] = SipHash(value, kMhKeys[1]) % (kMhSlots - 1) + 1;
  }
  for (uint32_t filled = 0; gcd != 0;) {
    for (size_t i = 0; i < reals.size(); ++i) {
      uint32_t turns = (last_weights[i] / gcd) >> shift;
      if (turns == 0 && last_weights[i] != 0) turns = 1;
      for (; turns > 0; --turns) {
        while (table[at[i]] != 0) at[i] = (at[i] + skip[i]) % kMhSlots;
        table[at[i]] = ids[i];
        if (++filled == kMhSlots) return table;
      }
    }
  }
  return table;
}

class MaglevTest : public ScheduleTest {
 protected:
  void FillMaglev(const Service& service, std::vector<uint32_t> last_weights = {}) {
    std::vector<uint32_t> ids(service.reals.size());
    std::iota(ids.begin(), ids.end(), service.first_real);
    if (last_weights.empty()) {
      for (const Real& r : service.reals) last_weights.push_back(r.weight);
    }
    const std::vector<uint32_t> table = MaglevTable(service.reals, ids, last_weights);
    for (size_t i = 0; i < table.size(); ++i) director_.tables()[i].real = table[i];
  }
};

INSTANTIATE_TEST_SUITE_P(Stages, ScheduleTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });
INSTANTIATE_TEST_SUITE_P(Stages, MaglevTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ScheduleTest, RoundRobinGoesRound) {
  director_.Add(Kernel(KLVS_SCHEDULER_RR, {1, 1, 1}));
  EXPECT_EQ(Choices(9), "3 2 1 3 2 1 3 2 1");
}

TEST_P(ScheduleTest, RoundRobinSkipsTheQuiesced) {
  director_.Add(Kernel(KLVS_SCHEDULER_RR, {1, 0, 5}));
  EXPECT_EQ(Choices(6), "3 1 3 1 3 1");
}

TEST_P(ScheduleTest, ANewGenerationStartsWhereItSays) {
  const Service service = Kernel(KLVS_SCHEDULER_RR, {1, 1, 1});
  director_.Add(service);
  EXPECT_EQ(Choices(1), "3");
  Forget();
  director_.Replace(service, {.start_position = 2});  // behind the second of the list
  EXPECT_EQ(Choices(4), "1 3 2 1");
}

// The kernel's phase comes from adding one by one: see ContinueRoundRobin of the codec.
TEST_P(ScheduleTest, WeightedRoundRobin) {
  director_.Add(Kernel(KLVS_SCHEDULER_WRR, {4, 3, 2}), {.start_weight = 1});
  EXPECT_EQ(Choices(18), "3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1");
  Forget();
  director_.Replace(Kernel(KLVS_SCHEDULER_WRR, {2, 3, 4}), {.start_weight = 1});
  EXPECT_EQ(Choices(18), "3 2 1 3 3 2 3 2 1 3 2 1 3 3 2 3 2 1");
}

TEST_P(ScheduleTest, WeightedRoundRobinWithACommonDivisor) {
  director_.Add(Kernel(KLVS_SCHEDULER_WRR, {6, 4, 2}), {.start_weight = 1});
  EXPECT_EQ(Choices(18), "3 2 1 1 2 1 3 2 1 1 2 1 3 2 1 1 2 1");
}

TEST_P(ScheduleTest, WeightedRoundRobinFromTheGreatestWeight) {
  director_.Add(Kernel(KLVS_SCHEDULER_WRR, {4, 3, 2}));
  EXPECT_EQ(Choices(9), "1 2 1 3 2 1 3 2 1");
}

TEST_P(ScheduleTest, WeightedRoundRobinGivesEachItsShare) {
  director_.Add(Kernel(KLVS_SCHEDULER_WRR, {0, 1, 7, 100}));
  const std::string choices = Choices(216, 1000);
  EXPECT_EQ(std::count(choices.begin(), choices.end(), '1'), 0);
  EXPECT_EQ(std::count(choices.begin(), choices.end(), '2'), 2);
  EXPECT_EQ(std::count(choices.begin(), choices.end(), '3'), 14);
  EXPECT_EQ(std::count(choices.begin(), choices.end(), '4'), 200);
}

TEST_P(MaglevTest, MaglevHashing) {
  const Service service = Kernel(KLVS_SCHEDULER_MH, {3, 1, 2});
  director_.Add(service);
  FillMaglev(service);
  EXPECT_EQ(Choices(40),
            "3 1 2 1 1 3 1 1 1 1 1 2 1 1 1 1 3 1 2 1 2 1 1 1 2 1 1 1 3 3 1 3 3 3 3 1 2 2 3 3");
}

TEST_P(MaglevTest, MaglevHashingWithPorts) {
  Service service = Kernel(KLVS_SCHEDULER_MH, {3, 1, 2});
  service.flags = KLVS_SERVICE_HASH_PORT;
  director_.Add(service);
  FillMaglev(service);
  EXPECT_EQ(Choices(40, 21400),
            "1 1 3 1 1 3 3 3 3 1 1 2 2 1 1 2 2 2 3 1 1 3 3 2 1 1 3 1 3 3 2 1 1 3 3 1 1 3 3 1");
}

TEST_P(MaglevTest, MaglevHashingFallsBackFromTheQuiesced) {
  Service service = Kernel(KLVS_SCHEDULER_MH, {0, 1, 2});
  service.flags = KLVS_SERVICE_HASH_FALLBACK;
  director_.Add(service);
  FillMaglev(service);
  EXPECT_EQ(Choices(40),
            "3 3 2 3 3 3 3 3 2 3 3 2 3 2 3 2 3 3 2 3 2 3 3 3 2 3 3 2 3 3 3 3 3 3 3 2 2 2 3 3");
}

// The table is that of the weights before: quiescing does not move others.
TEST_P(MaglevTest, MaglevHashingRefusesTheQuiescedAndKeepsTheRest) {
  Service service = Kernel(KLVS_SCHEDULER_MH, {0, 1, 2});
  director_.Add(service);
  FillMaglev(service, {2, 1, 3});
  EXPECT_EQ(Choices(40),
            "3 - 2 - - 3 - - - - - 2 - - - - 3 - 2 - 2 - - - 2 - - - 3 3 - 3 3 3 3 - 2 2 3 3");
  EXPECT_EQ(director_.Drops().at("no_real_server"), 22u);
  Forget();
  service.flags = KLVS_SERVICE_HASH_FALLBACK;
  director_.Replace(service);
  EXPECT_EQ(Choices(40).find('-'), std::string::npos);
}

TEST_P(MaglevTest, MaglevHashingTakesOverTcpInMidStream) {
  Service service = Kernel(KLVS_SCHEDULER_MH, {3, 1, 2});
  service.protocol = 6;
  director_.Add(service);
  FillMaglev(service);
  Frame frame = ClientFrame();
  frame.flags = kAck;
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kSent);
  EXPECT_EQ(director_.Connection().real, 1u);  // number 3
  EXPECT_EQ(KLVS_CTL_STATE(director_.Connection().ctl), KLVS_ESTABLISHED);
  frame.sport = 40001;
  frame.flags = kRst;
  EXPECT_EQ(director_.Run(frame).verdict, Verdict::kDropped);
}

}  // namespace
}  // namespace kube_lvs::ebpf
