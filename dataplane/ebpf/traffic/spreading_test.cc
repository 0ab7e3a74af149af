// Who answers: every method spreads connections over the real servers, which see and answer the
// client, and nothing else passes the director.
#include <fstream>
#include <sstream>

#include "dataplane/ebpf/testing/xdp.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

// Packets that came in on eth0 of the calling thread's namespace.
uint64_t Received() {
  std::ifstream file("/proc/thread-self/net/dev");
  std::string line;
  while (std::getline(file, line)) {
    const size_t at = line.find("eth0:");
    if (at == std::string::npos) continue;
    std::istringstream fields(line.substr(at + 5));
    uint64_t bytes = 0;
    uint64_t packets = 0;
    fields >> bytes >> packets;
    return packets;
  }
  return 0;
}

TEST_P(TrafficTest, ConnectionsAreSpreadAndAnswered) {
  const ServiceKey key = ServeAlone();
  if (Xdp()) {
    EXPECT_NE(site_.director().In([] { return XdpProgramId("eth0"); }), 0U);
  } else {
    const auto reports = site_.director().In([&] { return Director().backend->Attachments(); });
    ASSERT_TRUE(reports.ok() && reports->size() == 1);
    EXPECT_FALSE((*reports)[0].xdp) << ToString((*reports)[0]);
  }

  std::map<std::string, int> answers;
  const uint64_t received_before = site_.director().In(Received);
  const std::string large(60000, 'x');  // many segments, and super-packets where there are any
  for (int i = 0; i < 20; ++i) {
    const std::string request = (i % 5 == 0 ? large : "hello " + std::to_string(i)) + "\n";
    const std::string answer = Ask(request);
    const size_t line = answer.find('\n');
    ASSERT_NE(line, std::string::npos) << "connection " << i << " had no answer";
    ASSERT_EQ(answer.substr(line + 1), request);
    ++answers[answer.substr(0, line)];
  }
  const std::string who = ":" + std::to_string(RealPort()) + " sees " + Seen();
  EXPECT_EQ(answers, (std::map<std::string, int>{{"real1" + who, 10}, {"real2" + who, 10}}));

  const Stats stats = ReadStats();
  const Counters counted = stats.services.at(key);
  EXPECT_EQ(counted.connections, 20U);
  const RealServerStats& of_one = stats.reals.at({key, Endpoint{site_.Real(1), RealPort()}});
  EXPECT_EQ(of_one.counters.connections, 10U);
  // Closed by both sides and not expired yet.
  EXPECT_EQ(of_one.active_connections + of_one.inactive_connections, 10U);
  // Replies come back through the director with NAT alone.
  const uint64_t received = site_.director().In(Received) - received_before;
  if (IsNat()) {
    EXPECT_GT(received, counted.packets + counted.packets / 2);
  } else {
    // The hosts of IPv6 have more to say to the segment than ARP.
    const uint64_t others = IsV4() ? 12 : counted.packets / 4;
    EXPECT_LE(received, counted.packets + others) << "replies pass the director";
  }
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

TEST_P(TrafficTest, EachPortOfARangeGoesToTheSamePort) {
  Unpack(Cidr::Host(vip_), true);
  const ServiceKey range{Dataplane::kEbpf, PortRange{vip_, kPort - 1, kPort + 1}, Protocol::kTcp};
  ServeAlone(range, 0);
  const std::string sees = " sees " + Seen() + "\n.\n";
  std::map<std::string, int> answers;
  for (const uint16_t port : {80, 80, 81, 81}) {
    ++answers[AskTcp(site_.client(), {vip_, port}, ".\n")];
  }
  EXPECT_EQ(answers, (std::map<std::string, int>{{"real1:80" + sees, 1},
                                                 {"real2:80" + sees, 1},
                                                 {"real1:81" + sees, 1},
                                                 {"real2:81" + sees, 1}}));
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
  EXPECT_EQ(ReadStats().services.at(range).connections, 4U);
}

TEST_P(TrafficTest, EachAddressOfANetworkIsAVip) {
  const Cidr vips = *Cidr::Parse(At().network);
  Unpack(vips, true);
  ServeAlone({Dataplane::kEbpf, Prefix{vips, kPort, kPort}, Protocol::kTcp}, RealPort());
  IpAddress between = vips.address;
  between.bytes[between.Size() - 1] += 5;
  std::map<std::string, int> answers;
  for (const IpAddress& vip : {vips.address, between, vips.Last(), between}) {
    ++answers[AskTcp(site_.client(), {vip, kPort}, "x\n").substr(0, 5)];
  }
  EXPECT_EQ(answers, (std::map<std::string, int>{{"real1", 2}, {"real2", 2}}))
      << testing::PrintToString(Drops());
}

}  // namespace
}  // namespace kube_lvs::ebpf
