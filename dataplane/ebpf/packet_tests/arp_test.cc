// Who is asked for a VIP answers while it holds the claim.
#include <gtest/gtest.h>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kForEver = ~uint64_t{0};
constexpr uint32_t kAnswered = KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP;

class ArpTest : public testing::TestWithParam<Stage> {
 protected:
  static Arp Request(const char* target = "10.9.0.1") {
    Arp arp;
    arp.src_mac = arp.sender_mac = kClientMac;
    arp.sender = Ip("10.9.0.77");
    arp.target = Ip(target);
    return arp;
  }
  static Bytes Answer(const Arp& request) {
    Arp arp;
    arp.dst_mac = request.sender_mac;
    arp.src_mac = kOwnMac;
    arp.operation = 2;
    arp.sender_mac = kOwnMac;
    arp.sender = request.target;
    arp.target_mac = request.sender_mac;
    arp.target = request.sender;
    return arp.Build();
  }
  void ExpectUntouched(const Bytes& bytes) {
    const Outcome out = director_.Run(bytes);
    EXPECT_EQ(out.verdict, Verdict::kUntouched);
    EXPECT_EQ(Hex(out.frame), Hex(bytes));
  }

  Director director_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Stages, ArpTest, testing::Values(Stage::kXdp, Stage::kTc),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(ArpTest, ARequestForAVipIsAnswered) {
  director_.SetAddress("10.9.0.1", kAnswered, kForEver);
  const Outcome out = director_.Run(Request().Build());
  EXPECT_EQ(out.verdict, Verdict::kSent);
  EXPECT_EQ(Hex(out.frame), Hex(Answer(Request())));
}

TEST_P(ArpTest, APaddedOrUnicastRequestOrAProbeIsAnswered) {
  director_.SetAddress("10.9.0.1", kAnswered, kForEver);
  Arp arp = Request();
  arp.dst_mac = kOwnMac;
  EXPECT_EQ(Hex(director_.Run(arp.Build()).frame), Hex(Answer(arp)));
  arp.sender = 0;
  EXPECT_EQ(Hex(director_.Run(arp.Build()).frame), Hex(Answer(arp)));
  Bytes padded = arp.Build(), answer = Answer(arp);
  padded.resize(60);
  answer.resize(60);
  EXPECT_EQ(Hex(director_.Run(padded).frame), Hex(answer));
}

TEST_P(ArpTest, WithoutAClaimThereIsSilence) {
  director_.SetAddress("10.9.0.1", KLVS_ADDRESS_VIP, kForEver);
  ExpectUntouched(Request().Build());
  const uint64_t now = director_.Now().boot_ns;
  director_.SetAddress("10.9.0.1", kAnswered, now);
  ExpectUntouched(Request().Build());
  director_.SetAddress("10.9.0.1", kAnswered, now + 60'000'000'000);
  EXPECT_EQ(director_.Run(Request().Build()).verdict, Verdict::kSent);
}

TEST_P(ArpTest, OthersRequestsAndOddOnesAreUntouched) {
  director_.SetAddress("10.9.0.1", kAnswered, kForEver);
  ExpectUntouched(Request("10.9.0.2").Build());
  Arp arp = Request();
  arp.operation = 2;
  ExpectUntouched(arp.Build());
  arp = Request();
  arp.dst_mac = kRealMac;  // flooded
  ExpectUntouched(arp.Build());
  arp = Request();
  arp.sender = arp.target;  // an announcement
  ExpectUntouched(arp.Build());
  for (const size_t at : {14, 16, 18, 19, 20}) {  // hardware, protocol, their lengths, operation
    Bytes bytes = Request().Build();
    bytes[at] ^= 0x40;
    ExpectUntouched(bytes);
  }
}

TEST_P(ArpTest, ARequestThatEndsEarlyIsUntouched) {
  director_.SetAddress("10.9.0.1", kAnswered, kForEver);
  const Bytes whole = Request().Build();
  for (size_t size = 15; size < whole.size(); ++size) {
    ExpectUntouched(Bytes(whole.begin(), whole.begin() + size));
  }
}

TEST_P(ArpTest, ItIsAnsweredOnItsInterfaceOnly) {
  director_.SetAddress("10.9.0.1", kAnswered, kForEver, director_.ifindex() + 1);
  ExpectUntouched(Request().Build());
}

}  // namespace
}  // namespace kube_lvs::ebpf
