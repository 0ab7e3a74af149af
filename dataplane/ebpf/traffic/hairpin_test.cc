// Clients that are real servers themselves: what a director gets from a host goes back to the same
// one, or to its neighbour. By DirectRouting and Tunnel they are their own VIP, and never ask.
#include <map>
#include <string>

#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

TEST_P(TrafficTest, ARealServerIsAClientOfItselfAndOfOthersWithSourceNat) {
  if (!SourceNat()) return;
  const ServiceKey key = ServeAlone();
  const std::string large = std::string(60000, 'x') + "\n";
  for (const int n : {1, 2}) {
    const std::string route = vip_.ToString() + " dev eth0";
    Do(site_.real(n), "ip route add " + route, "ip route del " + route);
    std::map<std::string, int> answers;
    for (const std::string& request : {std::string("x\n"), large, large, std::string("x\n")}) {
      const std::string answer = AskTcp(site_.real(n), {vip_, kPort}, request);
      const size_t line = answer.find('\n');
      ASSERT_NE(line, std::string::npos) << "real server " << n << " had no answer";
      EXPECT_EQ(answer.substr(line + 1), request);
      ++answers[answer.substr(0, line)];
    }
    const std::string who = ":" + std::to_string(RealPort()) + " sees " + Seen();
    EXPECT_EQ(answers, (std::map<std::string, int>{{"real1" + who, 2}, {"real2" + who, 2}}));
  }
  const Counters counted = ReadStats().services.at(key);
  EXPECT_EQ(counted.connections, 8U);
  EXPECT_GT(counted.reply_bytes, 4 * large.size());
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// Without source NAT the other one must not answer it directly. Nor can it be its own client: it
// takes nothing that comes from its own address.
TEST_P(TrafficTest, ARealServerIsAClientOfAnotherWhoseRepliesComeByTheDirector) {
  if (!IsNat() || SourceNat()) return;
  const std::string route = site_.Real(1).ToString() + " via " + At().director_in;
  Do(site_.real(2), "ip route add " + route, "ip route del " + route);
  const ServiceKey key = KeyOf();
  ServeAlone(key, RealPort(), {2});
  const ServiceKey of_client{Dataplane::kEbpf, Endpoint{vip_, kPort + 1}, Protocol::kTcp};
  ServiceConfig config;
  config.scheduler = "rr";
  Direct({AddService{of_client, config}, AddReal{of_client, RealOf(1, RealPort())}});
  const std::string sees =
      "real2:" + std::to_string(RealPort()) + " sees " + site_.Real(1).ToString() + "\n";
  for (const size_t size : {size_t{1}, size_t{60000}}) {
    const std::string request = std::string(size, 'x') + "\n";
    EXPECT_EQ(AskTcp(site_.real(1), {vip_, kPort}, request), sees + request);
  }
  const Counters counted = ReadStats().services.at(key);
  EXPECT_EQ(counted.connections, 2U);
  EXPECT_GT(counted.reply_bytes, 60000U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
