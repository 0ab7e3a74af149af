// Each CPU has a budget of new connections that hash schedulers remember; what one remembers, all
// know. Needs two CPUs, which the guests do not have.
#include <gtest/gtest.h>
#include <sched.h>

#include <vector>

#include "dataplane/ebpf/packet_tests/stateless_fixture.h"

namespace kube_lvs::ebpf {
namespace {

class StatelessCpusTest : public StatelessTest {
 protected:
  void SetUp() override {
    cpu_set_t allowed;
    ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) cpus_.push_back(cpu);
    }
    ASSERT_GE(cpus_.size(), 2U) << "needs two CPUs";
  }

  std::vector<int> cpus_;
};

INSTANTIATE_TEST_SUITE_P(Ways, StatelessCpusTest, StatelessWays(), StatelessWayName);

TEST_P(StatelessCpusTest, EachRemembersAsManyAsItMay) {
  for (const uint8_t protocol : {6, 17}) {
    Service service = Of(protocol);
    service.id = protocol;
    Add(service);
  }
  RememberOnly(3);
  size_t remembered = 0;
  for (const int cpu : {cpus_[0], cpus_[1]}) {
    const OnCpu stays(cpu);
    for (const int first : {1, 11}) {
      for (const uint8_t protocol : {6, 17}) {
        // Those of the other CPU have entries, or are as new to this one.
        ExpectByHash(first, first + 9, protocol);
      }
    }
    EXPECT_EQ(Connections(), remembered += 3) << "on CPU " << cpu;
  }
  const OnCpu back(cpus_[0]);
  ExpectByHash(1, kClients, 17);
  EXPECT_EQ(Connections(), remembered);
}

TEST_P(StatelessCpusTest, WhatOneRemembersTheOtherKnows) {
  Add(Of(17));
  RememberOnly(3);
  {
    const OnCpu first(cpus_[0]);
    ExpectByHash(1, 6, 17);
  }
  EXPECT_EQ(Connections(), 3U);
  const OnCpu second(cpus_[1]);
  const uint64_t before = director_.ServiceCounters(1).connections;
  ExpectByHash(1, 3, 17);
  EXPECT_EQ(Connections(), 3U);
  EXPECT_EQ(director_.ServiceCounters(1).connections, before);
  ExpectByHash(4, 6, 17);  // of its own budget, which is whole
  EXPECT_EQ(Connections(), 6U);
  ExpectByHash(7, kClients, 17);
  EXPECT_EQ(Connections(), 6U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
