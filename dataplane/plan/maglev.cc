#include "dataplane/plan/maglev.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>

#include "dataplane/model/schedulers.h"

namespace kube_lvs {
namespace {

// Turns are scaled so that the largest needs at most this many bits: the kernel's
// CONFIG_IP_VS_MH_TAB_INDEX / 2.
int TurnBits(uint32_t slots) { return std::bit_width(slots) / 2; }

struct SipState {
  uint64_t v0, v1, v2, v3;
  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
};

uint32_t Fold(const IpAddress& address) {
  uint32_t folded = 0;
  for (size_t word = 0; word < address.Size(); word += 4) {
    folded ^= static_cast<uint32_t>(address.bytes[word]) << 24 |
              static_cast<uint32_t>(address.bytes[word + 1]) << 16 |
              static_cast<uint32_t>(address.bytes[word + 2]) << 8 | address.bytes[word + 3];
  }
  return folded;
}

// How many slots each real server takes in its turn.
std::vector<uint32_t> Turns(std::span<const MaglevReal> list, uint32_t slots) {
  uint32_t divisor = 0;
  uint32_t largest = 0;
  for (const MaglevReal& real : list) {
    divisor = std::gcd(divisor, real.last_weight);
    largest = std::max(largest, real.last_weight);
  }
  std::vector<uint32_t> turns(list.size(), 0);
  if (divisor == 0) return turns;
  const int bits = static_cast<int>(std::bit_width(largest / divisor));
  const int shift = std::max(0, bits - TurnBits(slots));
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].last_weight == 0) continue;
    turns[i] = std::max<uint32_t>(1, (list[i].last_weight / divisor) >> shift);
  }
  return turns;
}

}  // namespace

uint32_t MaglevSipHash(uint32_t value, uint32_t key) {
  const uint64_t k = key;
  SipState s{0x736f6d6570736575ULL ^ k, 0x646f72616e646f6dULL ^ k, 0x6c7967656e657261ULL ^ k,
             0x7465646279746573ULL ^ k};
  const uint64_t last = 4ULL << 56 | value;
  s.v3 ^= last;
  s.Round();
  s.v0 ^= last;
  s.v2 ^= 0xff;
  s.Round();
  s.Round();
  s.Round();
  return static_cast<uint32_t>(s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

uint32_t MaglevHash(const IpAddress& address, uint16_t port, uint32_t key, uint32_t offset) {
  return MaglevSipHash(offset + port + Fold(address), key);
}

absl::StatusOr<std::vector<uint32_t>> PopulateMaglev(std::span<const MaglevReal> list,
                                                     uint32_t slots) {
  if (!IsMaglevSize(slots)) {
    return absl::InvalidArgumentError(std::to_string(slots) +
                                      " slots is no size of a Maglev table; use " + MaglevSizes());
  }
  if (list.size() > slots) {
    return absl::InvalidArgumentError(std::to_string(list.size()) +
                                      " real servers do not fit a Maglev table of " +
                                      std::to_string(slots) + " slots");
  }
  std::vector<uint32_t> table(slots, kMaglevEmptySlot);
  const std::vector<uint32_t> turns = Turns(list, slots);
  if (std::ranges::all_of(turns, [](uint32_t t) { return t == 0; })) return table;

  std::vector<uint32_t> position(list.size());
  std::vector<uint32_t> step(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    position[i] = MaglevHash(list[i].at.ip, list[i].at.port, kMaglevKey1, 0) % slots;
    step[i] = MaglevHash(list[i].at.ip, list[i].at.port, kMaglevKey2, 0) % (slots - 1) + 1;
  }
  uint32_t filled = 0;
  while (true) {
    for (size_t i = 0; i < list.size(); ++i) {
      for (uint32_t turn = 0; turn < turns[i]; ++turn) {
        while (table[position[i]] != kMaglevEmptySlot) {
          position[i] = static_cast<uint32_t>((uint64_t{position[i]} + step[i]) % slots);
        }
        table[position[i]] = static_cast<uint32_t>(i);
        if (++filled == slots) return table;
        position[i] = static_cast<uint32_t>((uint64_t{position[i]} + step[i]) % slots);
      }
    }
  }
}

}  // namespace kube_lvs
