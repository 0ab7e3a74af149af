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

TEST(Check, AdviceIsAWarningAndLacksNothing) {
  NodeFacts facts;
  facts.local_ports = {1024, 40000};
  CheckInput input;
  input.cpus = 4;
  input.nics = {{.interface = "eth0", .driver = "i40e", .queues = 2, .most_queues = 8},
                {.interface = "eth1", .driver = "i40e", .queues = 4, .most_queues = 8}};
  std::vector<CheckRow> rows = Check(facts, input);
  ASSERT_GE(rows.size(), 3u);
  rows.erase(rows.begin(), rows.end() - 3);
  EXPECT_EQ(rows[0].mend,
            "let them begin above: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"");
  EXPECT_TRUE(rows[0].ok);
  rows.erase(rows.begin());
  EXPECT_EQ(ToTable(rows),
            "WARN NIC eth0  2 queues for 4 CPUs: the other CPUs take no packets  "
            "mend: ethtool -L eth0 combined 4\n"
            "ok   NIC eth1  no advice\n");
}

TEST(Check, OwnPortsBesideThoseOfSourceNatAreFine) {
  const auto found = [](uint16_t first, uint16_t last) {
    NodeFacts facts;
    facts.local_ports = {first, last};
    const CheckRow row = Check(facts, {}).back();
    EXPECT_EQ(row.mend, "");
    return row.found;
  };
  EXPECT_EQ(found(32768, 60999), "32768 to 60999, none of source NAT");
  EXPECT_EQ(found(1024, 65535),
            "1024 to 65535, less those of source NAT, which the agent reserves");
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
