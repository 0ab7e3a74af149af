#include "cli/messages.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "cli/options.h"
#include "cli/rule_lines.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/settings_codec.h"

namespace kube_lvs::cli {
namespace {

Request Parsed(const std::string& line) {
  return std::get<Request>(
      ParseOptions({}, ParseRuleLines(line, false)[0].words, NoNames(), false));
}

// What the kernel would tell of it: the answer to a question has the command of an addition.
template <typename F>
auto Told(const std::string& line, F decode) {
  const auto decoded = decode(Encode(Parsed(line)));
  EXPECT_TRUE(decoded.ok()) << line << ": " << decoded.status();
  return *decoded;
}

ipvs::ServiceEntry Service(const std::string& line) {
  return Told(line, [](const ipvs::Bytes& b) { return ipvs::DecodeService(b); });
}

TEST(Messages, AServiceAsTheAgentsCodecReadsIt) {
  const auto tcp = Service("-A -t 192.0.2.1:80 -s sh -b sh-port -p 60 -M 255.255.255.0");
  EXPECT_EQ(ToString(tcp.key), "IPVS 192.0.2.1:80/tcp");
  EXPECT_EQ(ToString(tcp.config), "sh source-port persistent 60s/24");
  const auto mark = Service("-A -f 7 -6 -s rr -p 60 -M 64");
  EXPECT_EQ(ToString(mark.key), "IPVS fwmark 7/IPv6");
  EXPECT_EQ(mark.config.persistence->prefix_length, 64);
  const auto udp = Service("-A -u [2001:db8::1]:5060 --pe sip -o");
  EXPECT_EQ(ToString(udp.key), "IPVS [2001:db8::1]:5060/udp");
  EXPECT_EQ(udp.engine, "sip");
  EXPECT_TRUE(udp.config.one_packet);
}

TEST(Messages, ARealServerAsTheAgentsCodecReadsIt) {
  const auto read = [](const std::string& line) {
    return Told(line, [](const ipvs::Bytes& b) { return ipvs::DecodeReal(b, Family::kIpv4); });
  };
  EXPECT_EQ(ToString(read("-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 9 -y 5").real),
            "10.0.0.1:8080 NAT weight 3 upper 9 lower 5");
  const auto gue =
      read("-a -t 192.0.2.1:80 -r 2001:db8::9 -i --tun-type gue --tun-port 6080 --tun-remcsum");
  EXPECT_EQ(gue.real.at.ToString(), "[2001:db8::9]:80");
  EXPECT_EQ(gue.real.tunnel.port, 6080);
  EXPECT_TRUE(gue.real.tunnel.remote_checksum);
}

TEST(Messages, ADaemonAsTheAgentsCodecReadsIt) {
  const auto daemon = Told(
      "--start-daemon backup --mcast-interface lo --syncid 7 --mcast-group ff02::9 --mcast-port 9 "
      "--mcast-ttl 3 --sync-maxlen 1000",
      [](const ipvs::Bytes& b) { return ipvs::DecodeDaemon(b); });
  EXPECT_EQ(daemon, (SyncDaemon{.role = SyncRole::kBackup,
                                .interface = "lo",
                                .sync_id = 7,
                                .max_length = 1000,
                                .group = *IpAddress::Parse("ff02::9"),
                                .port = 9,
                                .ttl = 3}));
}

TEST(Messages, ZeroWithoutAServiceIsForAll) {
  const ipvs::Bytes all = ipvs::EncodePlain(ipvs::Command::kZero);
  EXPECT_EQ(Encode(Parsed("-Z")), all);
  EXPECT_EQ(Encode(Parsed("-Z -t 0.0.0.0")), all);
  EXPECT_NE(Encode(Parsed("-Z -t 192.0.2.1:80")), all);
}

TEST(Messages, RefusalsInTheWordsOfIpvsadm) {
  EXPECT_EQ(Refused(Action::kAddService, EEXIST), "Service already exists");
  EXPECT_EQ(Refused(Action::kEditService, ENOENT), "Scheduler or persistence engine not found");
  EXPECT_EQ(Refused(Action::kDeleteService, ESRCH), "No such service");
  EXPECT_EQ(Refused(Action::kAddServer, ESRCH), "Service not defined");
  EXPECT_EQ(Refused(Action::kDeleteServer, ENOENT), "No such destination");
  EXPECT_EQ(Refused(Action::kAddServer, ERANGE), "Numerical result out of range");
  EXPECT_EQ(Refused(Action::kStopDaemon, ESRCH), "No daemon is running");
  EXPECT_EQ(Refused(Action::kFlush, EPERM), "Permission denied (you must be root)");
}

}  // namespace
}  // namespace kube_lvs::cli
