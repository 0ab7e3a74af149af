#include "cli/options.h"

#include <gtest/gtest.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "cli/legality.h"
#include "cli/rule_lines.h"

namespace kube_lvs::cli {
namespace {

// A host and two ports.
class FewNames final : public Names {
 public:
  std::optional<std::array<uint8_t, 4>> HostAddress(const std::string& name) const override {
    if (name != "web.example") return std::nullopt;
    return std::array<uint8_t, 4>{192, 0, 2, 77};
  }
  std::optional<uint16_t> ServicePort(const std::string& name, uint16_t protocol) const override {
    if (name == "http" && protocol == IPPROTO_TCP) return 80;
    if (name == "domain" && protocol == IPPROTO_UDP) return 53;
    return std::nullopt;
  }
  std::optional<std::string> HostName(const IpAddress&) const override { return {}; }
  std::optional<std::string> ServiceName(uint16_t, uint16_t) const override { return {}; }
};

std::variant<Request, Answer> Parse(const std::string& line, bool extensions = true) {
  const auto lines = ParseRuleLines(line, false);
  const Dialect dialect{.program = extensions ? "lvsadm" : "ipvsadm", .extensions = extensions};
  return ParseOptions(dialect, lines.empty() ? std::vector<std::string>{} : lines[0].words,
                      FewNames());
}

Request Parsed(const std::string& line) {
  const auto parsed = Parse(line);
  if (const auto* answer = std::get_if<Answer>(&parsed)) {
    ADD_FAILURE() << line << ": " << answer->err;
    return {};
  }
  return std::get<Request>(parsed);
}

std::array<uint8_t, 16> Bytes(std::initializer_list<uint8_t> first) {
  std::array<uint8_t, 16> out = {};
  std::copy(first.begin(), first.end(), out.begin());
  return out;
}

TEST(Options, AServiceHasTheDefaultsOfIpvsadm) {
  const Request request = Parsed("-A -t 192.0.2.1:80");
  EXPECT_EQ(request.action, Action::kAddService);
  EXPECT_EQ(request.service,
            (ServiceArgument{.address = {.family = AF_INET, .bytes = Bytes({192, 0, 2, 1})},
                             .port = 80,
                             .protocol = IPPROTO_TCP,
                             .mark = 0,
                             .scheduler = "wlc",
                             .engine = "",
                             .flags = 0,
                             .timeout_seconds = 0,
                             .netmask = 0xffffffff}));
  const Request real = Parsed("-a -t 192.0.2.1:80 -r 10.0.0.1");
  EXPECT_EQ(real.server.method, uint32_t{IP_VS_CONN_F_DROUTE});
  EXPECT_EQ(real.server.weight, 1u);
  EXPECT_EQ(real.server.port, 80);
  EXPECT_EQ(Parsed("-A -t 192.0.2.1:80 -p").service.timeout_seconds, 360u);
  EXPECT_EQ(Parsed("--start-daemon master").daemon.interface, "eth0");
}

TEST(Options, WaysToWriteTheSame) {
  const Request wanted = Parsed("-A -t 192.0.2.1:80 -s rr -p 60");
  for (const char* line : {
           "-At192.0.2.1:80 -srr -p60",
           "-A -t=192.0.2.1:80 -s=rr -p=60",
           "--add-service --tcp-service 192.0.2.1:80 --scheduler rr --persistent 60",
           "--add-service --tcp-service=192.0.2.1:80 --scheduler=rr --persistent=60",
           "-A -p 60 -s rr -t 192.0.2.1:http",
           "-A -p 60 -s rr -t 0xc0000201:+80",
       }) {
    EXPECT_EQ(Parsed(line), wanted) << line;
  }
}

struct Refused {
  const char* line;
  int status;
  std::string text;
};

TEST(Options, RefusalsInTheWordsOfIpvsadm) {
  const std::string help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n";
  const std::vector<Refused> table = {
      {"-t 192.0.2.1:80", 255, help},
      {"-x", 255, help},
      {"--lis", 255, help},
      {"word", 255, help},
      {"-L -A", 2, "invalid option `-A'\n"},
      {"-L -Q", 255, "-Q: unknown option\n"},
      {"-A -t", 255, "-t: missing argument\n"},
      {"-L --watch", 255, "--watch: unknown option\n"},
      {"-L --dataplane ipvs", 255, "--dataplane: unknown option\n"},
      {"-L -o json", 2, "unexpected argument json\n"},
      {"-A", 2, "You need to supply the 'service-address' option for the 'add-service' command\n"},
      {"-C -n", 2, "Illegal 'numeric' option with the 'flush' command\n"},
      {"-L -c -t 1.2.3.4:5", 2,
       "The option 'service-address' conflicts with the 'connection' option in the 'list' "
       "command\n"},
      {"-L -c --stats", 2, "options conflicts in the list command\n"},
      {"-A -t 1.2.3.4:5 -t 1.2.3.4:5", 2, "multiple 'service-address' options specified\n"},
      {"-A -t 80", 2, "illegal virtual server address[:port] specified\n"},
      {"-A -t 1.2.3.4:domain", 2, "illegal virtual server address[:port] specified\n"},
      {"-A -t [::1]", 2, "illegal virtual server address[:port] specified\n"},
      {"-A -t ::1", 2, "Zero port specified for non-persistent service\n"},
      {"-A -t [1.2.3.4]:80", 2, "Zero port specified for non-persistent service\n"},
      {"-A -t 1.2.3.4:5 -o", 2, "One-Packet Scheduling is only for UDP virtual services\n"},
      {"-A -f 0", 2, "invalid fwmark value `0' specified\n"},
      {"-A -f 4294967296", 2, "invalid fwmark value `4294967296' specified\n"},
      {"-A -6 -f 1", 2, "-6 used before -f\n\n"},
      {"-A -t 1.2.3.4:5 -p 2678401", 2, "invalid timeout value `2678401' specified\n"},
      {"-A -t 1.2.3.4:5 -p -M x", 2, "illegal virtual server persistent mask specified\n"},
      {"-A -t [::1]:5 -p -M 129", 2, "illegal ipv6 netmask specified\n"},
      {"-A -t 1.2.3.4:5 -b sh-port", 2, "incompatible scheduler flag `sh-port'\n"},
      {"-A -t 1.2.3.4:5 -b x", 2, "invalid scheduler flag `x'\n"},
      {"-A -t 1.2.3.4:5 -b ,", 2, "invalid scheduler flag `,'\n"},
      {"-a -t 1.2.3.4:5 -r 80", 2, "illegal real server address[:port] specified\n"},
      {"-a -t 1.2.3.4:5 -r 1.1.1.1 -w 2147483648", 2, "illegal weight specified\n"},
      {"-a -t 1.2.3.4:5 -r ::1", 2,
       "Different address family is allowed only for tunneling servers\n"},
      {"-a -t 1.2.3.4:5 -r 1.1.1.1 --tun-csum", 2, "Tunnel options conflict with forward method\n"},
      {"-a -t 1.2.3.4:5 -r 1.1.1.1 -i --tun-csum", 2,
       "Illegal 'tun-csum' option with the 'ipip' tunnel type\n"},
      {"-a -t 1.2.3.4:5 -r 1.1.1.1 -i --tun-type gue", 2,
       "You need to supply the 'tun-port' option for the 'gue' tunnel type\n"},
      {"-a -t 1.2.3.4:5 -r 1.1.1.1 -i --tun-type gre --tun-csum --tun-nocsum", 2,
       "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type\n"},
      {"--set 1 2", 2, "--set option requires 3 timeout values\n"},
      {"--set 1 2 3 4", 2, "unexpected argument 4\n"},
      {"--set 1 2 -3", 255, "-3: unknown option\n"},
      {"--start-daemon x", 2, "illegal start-daemon parameter specified\n"},
      {"--stop-daemon x", 2, "illegal start_daemon specified\n"},
      {"--start-daemon master --mcast-group 1.2.3.4", 2, "invalid IPv4 mcast-group `1.2.3.4'\n"},
  };
  for (const Refused& row : table) {
    const auto parsed = Parse(row.line, false);
    const auto* answer = std::get_if<Answer>(&parsed);
    if (answer == nullptr) {
      ADD_FAILURE() << row.line << " is taken";
      continue;
    }
    EXPECT_EQ(answer->status, row.status) << row.line;
    EXPECT_EQ(answer->err, row.text) << row.line;
  }
}

TEST(Options, AWordThatPoptReplacesByALaterOneNeedsOne) {
  for (const char* line :
       {"-a -f 7 -r !#:+ -i", "-A -t 192.0.2.1!#:+80 -s", "-A -t !#:+ -s !#:+ rr"}) {
    const auto parsed = Parse(line);
    EXPECT_EQ(std::get<Answer>(parsed).err, "no word to put in place of '!#:+'\n") << line;
    EXPECT_EQ(std::get<Answer>(parsed).status, 2) << line;
  }
  EXPECT_EQ(Parsed("-A -t !#:+ 1.2.3.4:80"), Parsed("-A -t 1.2.3.4:80"));
}

TEST(Options, OfTheListingsOptionsAndTheTables) {
  EXPECT_EQ(CheckOptions(Action::kList, 0), "");
  const auto bit = [](Option option) { return uint64_t{1} << static_cast<int>(option); };
  EXPECT_EQ(CheckOptions(Action::kSave, bit(Option::kNumeric)), "");
  EXPECT_EQ(CheckOptions(Action::kZero, bit(Option::kService)), "");
  EXPECT_NE(CheckOptions(Action::kZero, bit(Option::kNumeric)), "");
  EXPECT_EQ(CheckTunnelOptions(IP_VS_CONN_F_TUNNEL_TYPE_GUE,
                               bit(Option::kTunnelPort) | bit(Option::kTunnelRemoteChecksum)),
            "");
}

TEST(Options, ExtensionsOfLvsadm) {
  EXPECT_TRUE(Parsed("-L -o json").extensions.json);
  EXPECT_TRUE(Parsed("-Lno json").extensions.json);
  EXPECT_TRUE(Parsed("-L --output=json").extensions.json);
  EXPECT_EQ(Parsed("--watch").extensions.watch_seconds, 2.0);
  EXPECT_EQ(Parsed("--watch 0.5 -n").extensions.watch_seconds, 0.5);
  EXPECT_EQ(Parsed("--watch -n").action, Action::kList);
  const Request ebpf = Parsed("--bpf-dir /x --dataplane ebpf -Ln");
  EXPECT_FALSE(ebpf.extensions.ipvs);
  EXPECT_TRUE(ebpf.extensions.ebpf);
  EXPECT_EQ(ebpf.extensions.bpf_dir, "/x");
  EXPECT_TRUE(Parsed("-A -t 1.2.3.4:5 --dataplane ebpf").extensions.ebpf);
  EXPECT_FALSE(Parsed("-L -c --dataplane ebpf").extensions.ipvs);
  EXPECT_FALSE(Parsed("-L --timeout --dataplane ebpf").extensions.ipvs);
  EXPECT_EQ(Parsed("--trace 10.1.0.1:1,192.0.2.1:80").extensions.trace, "10.1.0.1:1,192.0.2.1:80");
  EXPECT_TRUE(Parsed("-S --full").extensions.full);
  EXPECT_FALSE(Parsed("-L").extensions.drops);
  EXPECT_TRUE(Parsed("--drops -n").extensions.drops);
  EXPECT_EQ(Parsed("--drops").extensions.drop_seconds, std::nullopt);
  EXPECT_EQ(Parsed("--drops 0.5 -o json --dataplane ebpf").extensions.drop_seconds, 0.5);
  EXPECT_EQ(Parsed("--state-dir /y -D -t 192.0.2.1:80").extensions.state_dir, "/y");
  for (const char* line :
       {"-L --trace x -n", "-A -t 1.2.3.4:5 --trace x", "--trace x --dataplane ipvs",
        "--trace x -o json", "-L --watch 0", "-L --watch x", "-L --dataplane both",
        "-L --output xml", "-L --full", "--dataplane ebpf --start-daemon master",
        "-L --daemon --dataplane ebpf", "-A -t 1.2.3.4:5 --output json", "-L -c --watch",
        "-L --watch --output json", "-L -o", "-L -o xml", "--drops 0", "--drops x",
        "--drops --watch", "--drops --trace x", "--drops -c", "--drops --dataplane ipvs",
        "-A -t 1.2.3.4:5 --drops"}) {
    const auto parsed = Parse(line);
    const auto* answer = std::get_if<Answer>(&parsed);
    ASSERT_NE(answer, nullptr) << line;
    EXPECT_EQ(answer->status, 2) << line;
  }
}

TEST(Options, OnlyTheLinesOfStdinGoOnAfterAnUnknownOption) {
  const auto parsed = Parse("-A -t 1.2.3.4:5 --nosuch");
  EXPECT_FALSE(std::get<Answer>(parsed).ends);
  const auto refused = Parse("-A -t 1.2.3.4:5 -w 1");
  EXPECT_TRUE(std::get<Answer>(refused).ends);
  const auto again = ParseOptions({}, {"-R"}, FewNames(), true);
  EXPECT_EQ(std::get<Answer>(again).status, 255);
}

TEST(RuleLines, WordsAndTheNameOfTheProgram) {
  using Lines = std::vector<RuleLine>;
  EXPECT_EQ(ParseRuleLines("\n  -A\t-t x \r\nipvsadm\n\nipvsadm -C", false),
            (Lines{{2, {"-A", "-t", "x"}}, {5, {"-C"}}}));
  EXPECT_EQ(ParseRuleLines("lvsadm -C", true), (Lines{{1, {"-C"}}}));
  EXPECT_EQ(ParseRuleLines("lvsadm -C # no", false), (Lines{{1, {"lvsadm", "-C", "#", "no"}}}));
  EXPECT_EQ(ParseRuleLines("", false), Lines{});
}

}  // namespace
}  // namespace kube_lvs::cli
