#include "node-agent/check.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

TEST(Check, KernelVersionsAreRead) {
  EXPECT_EQ(KernelVersion("6.1.0-56-cloud-amd64"), std::pair(6, 1));
  EXPECT_EQ(KernelVersion("6.18.12+deb13-amd64"), std::pair(6, 18));
  EXPECT_EQ(KernelVersion("next"), std::pair(0, 0));
}

TEST(Check, APerfectNodeLacksNothingAndABareOneNamesEveryMend) {
  NodeFacts facts;
  facts.kernel_release = "6.1.0-56-cloud-amd64";
  facts.has_btf = true;
  facts.node_address = *IpAddress::Parse("192.0.2.1");
  CheckInput input;
  for (int i = 0; i < 41; ++i) input.capabilities.insert(i);
  input.bpf_file_system = input.state_dir_writable = input.sysctls_writable = true;
  for (const CheckRow& row : Check(facts, input)) {
    EXPECT_TRUE(row.ok) << row.name;
    EXPECT_TRUE(row.mend.empty()) << row.name;
  }
  size_t lacking = 0;
  for (const CheckRow& row : Check(NodeFacts{}, CheckInput{})) {
    if (row.ok) continue;
    ++lacking;
    EXPECT_FALSE(row.mend.empty()) << row.name;
  }
  EXPECT_GE(lacking, 6u);
}

TEST(Check, OneDataplaneIsEnough) {
  NodeFacts facts;
  facts.kernel_release = "5.15.0";
  facts.has_ipvs = true;
  for (const CheckRow& row : Check(facts, {})) {
    if (row.name == "eBPF" || row.name == "IPVS") {
      EXPECT_TRUE(row.ok) << row.name;
    }
  }
}

}  // namespace
}  // namespace kube_lvs
