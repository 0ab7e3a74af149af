// Later fragments at a director that has not claimed the VIP, and is a real server of the one that has.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

class ClaimsFragmentTest : public testing::TestWithParam<Stage> {
 protected:
  // Real server 2 is on this node, 1 is the other director, whose link address is kRealMac.
  Service Of(uint8_t scheduler, uint16_t port, uint16_t last_port) const {
    return {.port = port,
            .protocol = 17,
            .last_port = last_port,
            .scheduler = scheduler,
            .reals = {{.address = "10.1.0.2", .port = port},
                      {.address = "10.1.0.254",
                       .port = port,
                       .flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL}},
            .delivers = KLVS_DELIVERS,
            .local = 2};
  }
  static Frame Fragment(bool first, const Mac& from) {
    Frame frame = ClientFrame("10.7.0.1", 2000);
    frame.protocol = 17;
    frame.src_mac = from;
    frame.dont_fragment = false;
    frame.more_fragments = first;
    frame.fragment_offset = first ? 0 : 20;
    frame.payload = std::string(first ? 152 : 77, 'a');
    return frame;
  }
  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, ClaimsFragmentTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ClaimsFragmentTest, OneBeforeItsFirstIsDelivered) {
  director_.Add(Of(KLVS_SCHEDULER_SH, 0, 65535));
  // Where it would go if it were ours to balance: back.
  for (uint32_t i = 0; i < KLVS_HASH_BUCKETS; ++i) director_.tables()[i].real = 1;
  director_.settings().flags = KLVS_SETTING_CLAIMS;
  EXPECT_EQ(director_.RunBoth(Fragment(false, kRealMac).Build()).verdict, Verdict::kUntouched);
}

// As its first, which opens: what has no real server here any more is balanced.
TEST_P(ClaimsFragmentTest, OneBeforeItsFirstIsBalancedWhenNothingNewIsDelivered) {
  Service service = Of(KLVS_SCHEDULER_SH, 0, 65535);
  service.delivers = KLVS_DELIVERED;
  director_.Add(service);
  for (uint32_t i = 0; i < KLVS_HASH_BUCKETS; ++i) director_.tables()[i].real = 1;
  director_.settings().flags = KLVS_SETTING_CLAIMS;
  EXPECT_EQ(director_.RunBoth(Fragment(false, kClientMac).Build()).verdict, Verdict::kSent);
}

TEST_P(ClaimsFragmentTest, OneOfWhatHasNoPortsIsDropped) {
  director_.Add(Of(KLVS_SCHEDULER_SH, 0, 65535));
  director_.settings().flags = KLVS_SETTING_CLAIMS;
  for (const uint8_t protocol : {1, 47}) {
    Frame frame = Fragment(false, kRealMac);
    frame.protocol = protocol;
    EXPECT_EQ(director_.RunBoth(frame.Build()).verdict, Verdict::kDropped);
  }
}

TEST_P(ClaimsFragmentTest, OneOfWhatIsDeliveredIsNotCounted) {
  director_.Add(Of(KLVS_SCHEDULER_RR, 80, 0));
  director_.settings().flags = KLVS_SETTING_CLAIMS;
  for (const bool first : {true, false}) {
    EXPECT_EQ(director_.RunBoth(Fragment(first, kRealMac).Build()).verdict, Verdict::kUntouched);
    EXPECT_EQ(director_.ServiceCounters(1).packets, 0U);
  }
}

TEST_P(ClaimsFragmentTest, OneOfAConnectionOfBeforeGoesWhereItsFirstWent) {
  Service service = Of(KLVS_SCHEDULER_RR, 80, 0);
  service.reals[1].weight = 0;
  director_.Add(service);
  EXPECT_EQ(director_.RunBoth(Fragment(true, kClientMac).Build()).verdict, Verdict::kSent);
  director_.settings().flags = KLVS_SETTING_CLAIMS;
  for (const bool first : {true, false}) {
    EXPECT_EQ(director_.RunBoth(Fragment(first, kRealMac).Build()).verdict, Verdict::kUntouched);
  }
  EXPECT_EQ(director_.Drops(), (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
