#include "dataplane/ebpf/drop_samples.h"

#include <gtest/gtest.h>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {
namespace {

TEST(DropSample, HasWhatTheProgramSaw) {
  klvs_drop_sample raw{};
  raw.boot_ns = 5000000007;
  raw.ifindex = 3;
  raw.length = 1514;
  raw.captured = 2;
  raw.reason = KLVS_DROP_TTL;
  raw.stage = KLVS_STAGE_XDP;
  raw.frame[0] = 0xab;
  raw.frame[2] = 1;  // of an older record
  const auto sample = DecodeDropSample(AsBytes(raw));
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_EQ(sample->boot_ns, 5000000007U);
  EXPECT_EQ(sample->ifindex, 3U);
  EXPECT_EQ(sample->length, 1514U);
  EXPECT_EQ(sample->reason, "ttl");
  EXPECT_EQ(sample->stage, "xdp");
  EXPECT_EQ(sample->frame, (std::vector<uint8_t>{0xab, 0}));
}

TEST(DropSample, OfAnotherVersionIsReadAsFarAsItGoes) {
  klvs_drop_sample raw{};
  raw.captured = 60000;
  raw.reason = 63;
  const auto sample = DecodeDropSample(AsBytes(raw));
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_EQ(sample->reason, "unknown");
  EXPECT_EQ(sample->frame.size(), static_cast<size_t>(KLVS_DROP_FRAME));
  EXPECT_EQ(DecodeDropSample(AsBytes(raw).first(151)).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace kube_lvs::ebpf
