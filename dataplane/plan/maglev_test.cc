#include "dataplane/plan/maglev.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/model/schedulers.h"
#include "gtest/gtest.h"

namespace kube_lvs {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// The kernel puts a new destination at the head, so those added 1, 2, 3 are listed 3, 2, 1.
std::vector<MaglevReal> AddedInOrder(const std::vector<uint32_t>& weights) {
  std::vector<MaglevReal> list;
  for (size_t n = weights.size(); n > 0; --n) {
    list.push_back({{Ip("10.1.200." + std::to_string(n)), 80}, weights[n - 1]});
  }
  return list;
}

std::vector<int> Digits(const std::string& text) {
  std::vector<int> out;
  for (char c : text) {
    if (c != ' ') out.push_back(c - '0');
  }
  return out;
}

TEST(Maglev, ChoosesWhatTheKernelChoseByClientAddress) {
  const auto list = AddedInOrder({3, 1, 2});
  const auto table = PopulateMaglev(list, kMaglevDefaultSize);
  ASSERT_TRUE(table.ok());
  std::vector<int> chosen;
  for (uint32_t i = 0; i < 40; ++i) {
    const IpAddress client = IpAddress::FromV4(Ip("10.1.0.1").V4() + i);
    const uint32_t index = (*table)[MaglevHash(client, 0, kMaglevKey1, 0) % table->size()];
    chosen.push_back(list[index].at.ip.bytes[3]);
  }
  EXPECT_EQ(chosen, Digits("3 1 2 1 1 3 1 1 1 1 1 2 1 1 1 1 3 1 2 1 2 1 1 1 2 1 1 1 3 3 1 3 3 3 3 "
                           "1 2 2 3 3"));
}

TEST(Maglev, ChoosesWhatTheKernelChoseByClientPort) {
  const auto list = AddedInOrder({3, 1, 2});
  const auto table = PopulateMaglev(list, kMaglevDefaultSize);
  ASSERT_TRUE(table.ok());
  std::vector<int> chosen;
  for (uint16_t i = 0; i < 40; ++i) {
    const uint16_t port = static_cast<uint16_t>(21400 + i);
    const uint32_t slot = MaglevHash(Ip("10.1.0.1"), port, kMaglevKey1, 0) % table->size();
    chosen.push_back(list[(*table)[slot]].at.ip.bytes[3]);
  }
  EXPECT_EQ(chosen, Digits("1 1 3 1 1 3 3 3 3 1 1 2 2 1 1 2 2 2 3 1 1 3 3 2 1 1 3 1 3 3 2 1 1 3 3 "
                           "1 1 3 3 1"));
}

TEST(Maglev, ChoosesWhatTheKernelChoseWithFallbackPastAWeightOfZero) {
  const auto list = AddedInOrder({0, 1, 2});  // the first never had a weight
  const auto table = PopulateMaglev(list, kMaglevDefaultSize);
  ASSERT_TRUE(table.ok());
  std::vector<int> chosen;
  for (uint32_t i = 0; i < 40; ++i) {
    const IpAddress client = IpAddress::FromV4(Ip("10.1.0.1").V4() + i);
    const uint32_t index = (*table)[MaglevHash(client, 0, kMaglevKey1, 0) % table->size()];
    chosen.push_back(list[index].at.ip.bytes[3]);
  }
  EXPECT_EQ(chosen, Digits("3 3 2 3 3 3 3 3 2 3 3 2 3 2 3 2 3 3 2 3 2 3 3 3 2 3 3 2 3 3 3 3 3 3 3 "
                           "2 2 2 3 3"));
}

TEST(Maglev, SharesFollowTheWeights) {
  const auto table = PopulateMaglev(AddedInOrder({30, 10, 20}), 65521);
  ASSERT_TRUE(table.ok());
  std::map<uint32_t, int> slots;
  for (uint32_t index : *table) ++slots[index];
  EXPECT_NEAR(slots[2], 65521 * 3 / 6, 3);
  EXPECT_NEAR(slots[1], 65521 * 1 / 6, 3);
  EXPECT_NEAR(slots[0], 65521 * 2 / 6, 3);
}

// The share of the slots of other real servers that change hands when one of `list` goes: the mean
// over every ninth, and the worst.
std::pair<double, double> MovedWhenOneGoes(const std::vector<MaglevReal>& list, uint32_t slots) {
  const auto before = PopulateMaglev(list, slots);
  EXPECT_TRUE(before.ok());
  double sum = 0, worst = 0;
  int tries = 0;
  for (size_t gone = 0; gone < list.size(); gone += 9, ++tries) {
    std::vector<MaglevReal> fewer = list;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(gone));
    const auto after = PopulateMaglev(fewer, slots);
    EXPECT_TRUE(after.ok());
    uint32_t others = 0, moved = 0;
    for (size_t slot = 0; slot < before->size(); ++slot) {
      const uint32_t was = (*before)[slot];
      if (was == gone) continue;
      ++others;
      if ((was > gone ? was - 1 : was) != (*after)[slot]) ++moved;
    }
    const double share = static_cast<double>(moved) / others;
    sum += share;
    worst = std::max(worst, share);
  }
  return {sum / tries, worst};
}

TEST(Maglev, RemovingOneOfAHundredMovesFewOthers) {
  std::vector<MaglevReal> list;
  for (uint32_t i = 0; i < 100; ++i) {
    list.push_back({{IpAddress::FromV4(0x0a000001 + i), 8080}, 1});
  }
  // The kernel's default, and as large a table as Katran's.
  const auto small = MovedWhenOneGoes(list, kMaglevDefaultSize);
  EXPECT_LT(small.first, 0.030);
  EXPECT_LT(small.second, 0.035);
  const auto large = MovedWhenOneGoes(list, 65521);
  EXPECT_LT(large.first, 0.006);
  EXPECT_LT(large.second, 0.0066);
}

TEST(Maglev, HugeWeightsTerminateAndNobodyWithAWeightIsLeftOut) {
  const auto table = PopulateMaglev(AddedInOrder({2147483647, 1, 65535}), kMaglevDefaultSize);
  ASSERT_TRUE(table.ok());
  for (uint32_t index : {0U, 1U, 2U}) {
    EXPECT_NE(std::ranges::find(*table, index), table->end()) << index;
  }
}

// The kernel's scale is finer the larger its table.
TEST(Maglev, SharesFollowTheWeightsAsFarAsTheSizeTellsThemApart) {
  const auto shares = [](uint32_t slots) {
    std::map<uint32_t, double> out;
    const auto table = PopulateMaglev(AddedInOrder({1000, 1}), slots);
    for (const uint32_t index : *table) out[index] += 1;
    return out[1] / out[0];
  };
  EXPECT_NEAR(shares(4093), 62, 3);  // 1000 >> 4 of 1
  EXPECT_NEAR(shares(16381), 125, 5);
  EXPECT_NEAR(shares(65521), 250, 5);
  EXPECT_NEAR(shares(131071), 250, 5);
}

TEST(Maglev, WithoutAnyWeightEverySlotIsEmpty) {
  for (const auto& list : {AddedInOrder({}), AddedInOrder({0, 0})}) {
    const auto table = PopulateMaglev(list, 4093);
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(*table, std::vector<uint32_t>(4093, kMaglevEmptySlot));
  }
}

TEST(Maglev, RefusesSizesTheKernelDoesNotKnowAndTooManyRealServers) {
  EXPECT_EQ(PopulateMaglev({}, 65537).status().code(), absl::StatusCode::kInvalidArgument);
  const std::vector<MaglevReal> many(4094, MaglevReal{{Ip("10.0.0.1"), 80}, 1});
  EXPECT_EQ(PopulateMaglev(many, 4093).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Maglev, FoldsIpv6ToTheXorOfItsWords) {
  EXPECT_EQ(MaglevHash(Ip("2001:db8::1"), 80, kMaglevKey1, 7),
            MaglevSipHash(7 + 80 + (0x20010db8U ^ 0x1U), kMaglevKey1));
}

}  // namespace
}  // namespace kube_lvs
