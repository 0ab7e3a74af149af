#include "node-agent/flags.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace kube_lvs {
namespace {

TEST(Flags, ValuesMayBeJoinedOrFollow) {
  Flags expected;
  expected.manifests = "/site";
  expected.node_name = "d1";
  expected.node_ip = *IpAddress::Parse("10.77.0.11");
  expected.metrics = *Endpoint::Parse("127.0.0.1:9474");
  expected.xdp_interfaces = {"eth0", "veth*"};
  expected.dataplane = Dataplane::kIpvs;
  expected.peer_port = 9000;
  const auto flags = ParseFlags({"--manifests", "/site", "--node-name=d1", "--node-ip=10.77.0.11",
                                 "--metrics-address=127.0.0.1:9474", "--xdp-interfaces=eth0,veth*",
                                 "--dataplane=ipvs", "--peer-port", "9000"});
  ASSERT_TRUE(flags.ok()) << Message(flags.status());
  EXPECT_EQ(*flags, expected);
}

TEST(Flags, WhatIsWrongIsNamed) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"--manifest", "/site"}, "--manifest"},
      {{"--manifest"}, "no such flag"},
      {{"site"}, "site"},
      {{"--node-ip=web"}, "--node-ip=web"},
      {{"--peer-port=0"}, "1 to 65535"},
      {{"--peer-port=65536"}, "1 to 65535"},
      {{"--node-name"}, "--node-name: the value is missing"},
      {{"--node-name="}, "the value is missing"},
      {{"--node-name", "--check"}, "the value is missing"},
      {{"--check=yes"}, "takes no value"},
      {{"--check", "--cleanup"}, "only one"},
      {{"--dataplane=dpdk"}, "auto, ipvs or ebpf"},
      {{"--manifests=a", "--kubeconfig=b"}, "not from both"},
      {{"--metrics-address=9474"}, "ADDRESS:PORT"},
  };
  for (const auto& [args, part] : cases) {
    const auto flags = ParseFlags(args);
    ASSERT_FALSE(flags.ok()) << args[0];
    EXPECT_NE(Message(flags.status()).find(part), std::string::npos) << Message(flags.status());
  }
}

TEST(Flags, MetricsCanBeSwitchedOff) {
  EXPECT_EQ(ParseFlags({"--metrics-address=off"})->metrics, std::nullopt);
}

TEST(Flags, HelpNamesEveryFlag) {
  const std::string help = kHelp;
  for (const char* flag :
       {"--dry-run", "--check", "--cleanup", "--help", "--version", "--node-name", "--node-ip",
        "--namespace", "--manifests", "--kubeconfig", "--dataplane", "--xdp-interfaces",
        "--bpf-dir", "--state-dir", "--run-dir", "--metrics-address", "--peer-port",
        "--peer-key-file", "--log-level"}) {
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
  }
}

}  // namespace
}  // namespace kube_lvs
