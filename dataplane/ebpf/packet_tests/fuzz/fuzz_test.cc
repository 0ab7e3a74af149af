// Random packets through the real programs: every outcome is judged by an oracle that has none of
// their code. A failure prints the seed and the packet.
//   KLVS_FUZZ_SECONDS=600   go on with further seeds for so long; else one short round
//   KLVS_FUZZ_SEED=7        begin with that one
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/fuzz/oracle.h"
#include "dataplane/ebpf/packet_tests/fuzz/packets.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kPackets = 8000;  // of a round

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// How short it may be: the kernel runs tc only for a frame with its IP header.
size_t Least(Stage stage, const Bytes& frame) {
  if (stage == Stage::kXdp) return kEthernet;
  const bool ipv6 = frame.size() >= kEthernet && frame[12] == 0x86 && frame[13] == 0xdd;
  return kEthernet + (ipv6 ? 40 : 20);
}

Bytes LongEnough(Stage stage, Bytes frame) {
  frame.resize(std::max(frame.size(), Least(stage, frame)));
  return frame;
}

std::string Fault(Director& director, const Site& site) {
  return TableFault(director.conn_tables(), director.real_conns().first(site.reals));
}

// Of a real server with more connections than it may have.
std::string OverThreshold(Director& director, const Site& site) {
  for (const Service& service : site.services) {
    // As in the kernel, these two do not ask it of whom connections went to before.
    if (service.scheduler == KLVS_SCHEDULER_LBLC || service.scheduler == KLVS_SCHEDULER_LBLCR) {
      continue;
    }
    for (uint32_t i = 0; i < service.reals.size(); ++i) {
      const klvs_real_conns conns = director.real_conns()[service.first_real + i];
      const uint32_t upper = service.reals[i].upper;
      if (upper == 0 || conns.active + conns.inactive <= upper) continue;
      return service.vip + " -> " + service.reals[i].address + ", scheduler " +
             std::to_string(service.scheduler);
    }
  }
  return "";
}

class FuzzTest : public testing::TestWithParam<Stage> {};

INSTANTIATE_TEST_SUITE_P(Stages, FuzzTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

// What happened how often; nothing more once something is wrong.
std::map<std::string, uint64_t> Round(Stage stage, uint64_t seed) {
  SCOPED_TRACE("KLVS_FUZZ_SEED=" + std::to_string(seed));
  Chance chance(seed);
  Director director(stage);
  Site site = MakeSite(director, chance);
  Oracle oracle(director, site);
  for (int i = 0; i < kPackets && !testing::Test::HasFailure(); ++i) {
    const Bytes frame = LongEnough(stage, Mutated(RandomPacket(director, site, chance), chance));
    EXPECT_EQ(oracle.Judge(frame), "") << "packet " << i;
    EXPECT_EQ(Fault(director, site), "") << "after packet " << i << ":\n" << Hex(frame);
    EXPECT_EQ(OverThreshold(director, site), "") << "after packet " << i << ":\n" << Hex(frame);
    if (chance.OneIn(20)) ExpireNear(director, chance.OneIn(2), chance.Below(512));
    if (chance.OneIn(100)) Reweight(director, site, chance);
    if (chance.OneIn(100)) Reclaim(director, site, chance);
    if (chance.OneIn(1000)) director.Sweep();
  }
  EXPECT_EQ(oracle.JudgeCounters(), "");
  director.ExpireAll();
  director.Sweep();
  EXPECT_EQ(director.Entries().size() + director.Entries(true).size(), 0U);
  EXPECT_EQ(director.Entries6().size() + director.Entries6(true).size(), 0U);
  EXPECT_EQ(Fault(director, site), "") << "after all have expired";
  return oracle.seen();
}

TEST_P(FuzzTest, EveryPacketIsForwardedByARuleOrDroppedOrLeftAlone) {
  const uint64_t first = Setting("KLVS_FUZZ_SEED", 1), seconds = Setting("KLVS_FUZZ_SECONDS", 0);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::map<std::string, uint64_t> seen;
  uint64_t seed = first;
  do {
    std::cout << "KLVS_FUZZ_SEED=" << seed << std::endl;
    for (const auto& [what, count] : Round(GetParam(), seed)) seen[what] += count;
    ++seed;
  } while (!HasFailure() && std::chrono::steady_clock::now() < end);
  for (const auto& [what, count] : seen) std::cout << count << " " << what << "\n";
  if (HasFailure()) return;
  // A site at random may have no service by some method that has real servers; several do.
  for (const char* what :
       {"untouched", "dropped", "echo", "ARP", "ND", "direct routing", "tunnel", "NAT",
        "NAT, reply", "NAT, error to a real server", "NAT, error to a client", "too big",
        "port unreachable", "reset", "later fragment", "at home", "delivered",
        "delivered, error", "delivered, has a connection"}) {
    EXPECT_GT(seen[what], 0U) << what << " never happened";
  }
}

// Sound packets of every kind, cut at every byte.
TEST_P(FuzzTest, CutAtEveryByte) {
  const uint64_t seed = Setting("KLVS_FUZZ_SEED", 1);
  SCOPED_TRACE("KLVS_FUZZ_SEED=" + std::to_string(seed));
  Chance chance(seed);
  Director director(GetParam());
  const Site site = MakeSite(director, chance);
  Oracle oracle(director, site);
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    const Bytes whole = RandomPacket(director, site, chance);
    EXPECT_EQ(oracle.Judge(whole), "");
    const size_t most = std::min<size_t>(whole.size(), 200);
    for (size_t size = Least(GetParam(), whole); size < most && !HasFailure(); ++size) {
      EXPECT_EQ(oracle.Judge(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))),
                "")
          << "cut to " << size << " bytes:\n"
          << Hex(whole);
    }
    EXPECT_EQ(Fault(director, site), "");
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
