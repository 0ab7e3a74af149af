#include "cli/steps.h"

#include <gtest/gtest.h>

#include <string>

#include "cli/options.h"
#include "cli/rule_lines.h"

namespace kube_lvs::cli {
namespace {

std::string Text(const std::string& line) {
  const Dialect dialect;
  const auto parsed = ParseOptions(dialect, ParseRuleLines(line, false)[0].words, NoNames());
  const auto* request = std::get_if<Request>(&parsed);
  if (request == nullptr) return std::get<Answer>(parsed).err;
  const auto step = StepOf(*request);
  return step.ok() ? ToString(*step) : std::string(step.status().message());
}

TEST(Steps, SayWhatTheCommandSays) {
  EXPECT_EQ(Text("-A -t 192.0.2.1:80"), "add eBPF 192.0.2.1:80/tcp wlc");
  EXPECT_EQ(Text("-D -u 192.0.2.1:53"), "remove eBPF 192.0.2.1:53/udp");
  EXPECT_EQ(Text("-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3"),
            "add eBPF 192.0.2.1:80/tcp -> 10.0.0.1:8080 NAT weight 3");
  EXPECT_EQ(Text("-d -t 192.0.2.1:80 -r 10.0.0.1:8080"),
            "remove eBPF 192.0.2.1:80/tcp -> 10.0.0.1:8080");
}

const ServiceConfig& ConfigOf(const Step& step) { return std::get<AddService>(step).config; }

Step StepFor(const std::string& line) {
  const Dialect dialect;
  const auto parsed = ParseOptions(dialect, ParseRuleLines(line, false)[0].words, NoNames());
  return StepOf(std::get<Request>(parsed)).value();
}

TEST(Steps, FlagsAndPersistence) {
  EXPECT_EQ(ConfigOf(StepFor("-A -t 192.0.2.1:80 -s sh -b sh-port")).hash,
            (HashFlags{.source_port = true, .fallback = false}));
  EXPECT_EQ(ConfigOf(StepFor("-A -t 192.0.2.1:80 -s mh -b mh-fallback")).hash,
            (HashFlags{.source_port = false, .fallback = true}));
  EXPECT_EQ(ConfigOf(StepFor("-A -t 192.0.2.1:80 -s mh -b mh-port,mh-table-size=65521")).hash,
            (HashFlags{.source_port = true, .fallback = false, .table_size = 65521}));
  // Flags of another scheduler are no hash flags: the dataplane refuses what has no name.
  EXPECT_NE(ConfigOf(StepFor("-A -t 192.0.2.1:80 -s rr -b flag-1")).unnamed_flags, 0U);
  EXPECT_TRUE(ConfigOf(StepFor("-A -u 192.0.2.1:80 -o")).one_packet);
  const auto of_network = ConfigOf(StepFor("-A -t 192.0.2.1:80 -p 60 -M 255.255.0.0")).persistence;
  ASSERT_TRUE(of_network);
  EXPECT_EQ(of_network->timeout_seconds, 60U);
  EXPECT_EQ(of_network->prefix_length, 16);
  const auto holes = ConfigOf(StepFor("-A -t 192.0.2.1:80 -p -M 255.0.255.0")).persistence;
  ASSERT_TRUE(holes);
  EXPECT_EQ(holes->mask_with_holes, 0xff00ff00U);
  EXPECT_EQ(holes->prefix_length, 0);
}

TEST(Steps, TunnelsKeepTheirType) {
  const auto real = std::get<AddReal>(StepFor("-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue "
                                              "--tun-port 6080 --tun-csum"))
                        .real;
  EXPECT_EQ(real.method, ForwardingMethod::kTunnel);
  EXPECT_EQ(real.tunnel, (Tunnel{.type = TunnelType::kGue, .port = 6080, .checksum = true}));
}

}  // namespace
}  // namespace kube_lvs::cli
