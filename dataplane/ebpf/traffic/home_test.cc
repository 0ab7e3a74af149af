// A process of the director itself is a real server by NAT, without source NAT.
#include <array>
#include <map>
#include <string>
#include <vector>

#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/testing/tcp.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

class HomeTest : public TrafficTest {
 protected:
  // Besides real server 1.
  ServiceKey ServeAtHome(Protocol protocol) {
    const ServiceKey key = KeyOf(protocol);
    Serve(key, RealPort(), {1});
    RealServer here = RealOf(1, RealPort());
    here.at.ip = *IpAddress::Parse(At().director);
    Direct({AddReal{key, here}});
    return key;
  }
};

std::vector<Variant> VariantsOfPlainNat() {
  std::vector<Variant> out = Variants();
  std::erase_if(out, [](const Variant& each) { return !each.IsNat() || each.source_nat; });
  return out;
}

INSTANTIATE_TEST_SUITE_P(Methods, HomeTest, testing::ValuesIn(VariantsOfPlainNat()),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(HomeTest, ItsAnswersComeFromTheVip) {
  const TcpServer server(site_.director(), "home", {*IpAddress::Parse(At().director), kNatPort});
  const ServiceKey key = ServeAtHome(Protocol::kTcp);
  const std::string large = std::string(300000, 'x') + "\n";
  std::map<std::string, int> answers;
  for (const std::string& request : {std::string("x\n"), std::string("x\n"), large, large}) {
    const std::string answer = Ask(request);
    const size_t line = answer.find('\n');
    ASSERT_NE(line, std::string::npos) << "no answer";
    EXPECT_EQ(answer.substr(line + 1), request);
    ++answers[answer.substr(0, line)];
  }
  EXPECT_EQ(answers,
            (std::map<std::string, int>{{"home sees " + At().client, 2},
                                        {"real1:" + std::to_string(kNatPort) + " sees " +
                                             At().client, 2}}));
  const Counters counted = ReadStats().services.at(key);
  EXPECT_EQ(counted.connections, 4U);
  EXPECT_GT(counted.bytes, 2 * large.size());
  EXPECT_GT(counted.reply_bytes, 2 * large.size());
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// The router's "fragmentation needed" must reach this node's own socket.
TEST_P(HomeTest, ItLearnsOfTheClientsSmallerMtu) {
  Do(site_.director(), ":", std::string("ip ") + (IsV4() ? "" : "-6 ") + "route flush cache");
  Do(site_.real(1), ":", std::string("ip ") + (IsV4() ? "" : "-6 ") + "route flush cache");
  const TcpServer server(site_.director(), "home", {*IpAddress::Parse(At().director), kNatPort});
  ServeAtHome(Protocol::kTcp);
  const std::string request = std::string(60000, 'x') + "\n";
  for (int i = 0; i < 2; ++i) {
    const std::string answer = AskTcp(site_.far(), {vip_, kPort}, request);
    EXPECT_EQ(answer.size(), request.size() + answer.find('\n') + 1) << "connection " << i;
  }
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// Of several pieces each.
TEST_P(HomeTest, DatagramsAndTheirAnswersPass) {
  const UniqueFd server = NewSocket(site_.director(), FamilyOf(), SOCK_DGRAM);
  LimitWaits(server, 3);
  const SocketAddress at({*IpAddress::Parse(At().director), kNatPort});
  ASSERT_EQ(bind(server.get(), at.Get(), at.size), 0);
  const ServiceKey key = KeyOf(Protocol::kUdp);
  Serve(key, RealPort(), {});
  RealServer here = RealOf(1, RealPort());
  here.at.ip = *IpAddress::Parse(At().director);
  Direct({AddReal{key, here}});
  const UniqueFd client = NewSocket(site_.client(), FamilyOf(), SOCK_DGRAM);
  LimitWaits(client, 3);
  const SocketAddress to({vip_, kPort});
  ASSERT_EQ(connect(client.get(), to.Get(), to.size), 0);
  std::array<char, 9000> buffer;
  for (const size_t size : {10, 7000}) {
    const std::string question(size, 'x');
    ASSERT_EQ(send(client.get(), question.data(), size, 0), static_cast<ssize_t>(size));
    SocketAddress from;
    ASSERT_EQ(recvfrom(server.get(), buffer.data(), buffer.size(), 0, from.Get(), &from.size),
              static_cast<ssize_t>(size));
    ASSERT_EQ(sendto(server.get(), buffer.data(), size, 0, from.Get(), from.size),
              static_cast<ssize_t>(size));
    ASSERT_EQ(recv(client.get(), buffer.data(), buffer.size(), 0), static_cast<ssize_t>(size));
  }
  EXPECT_EQ(ReadStats().services.at(key).connections, 1U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
