// The director and its neighbours: their link addresses may not be known yet, and they need not be
// in the segment that requests come from.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

// A lost one would come again after a second.
TEST_P(TrafficTest, APacketWaitsForTheLinkAddressOfItsRealServer) {
  const std::string neighbours = std::string("ip ") + (IsV4() ? "-4" : "-6") + " neigh ";
  const std::string forget = neighbours + "flush dev eth0; test -z \"$(" + neighbours +
                             "show dev eth0 | grep -e lladdr -e '" + At().real + "')\"";
  site_.director().Sh(forget);
  Unpack(Cidr::Host(vip_), true);
  const ServiceKey key = KeyOf();
  Serve(key, RealPort());
  EXPECT_EQ(RealsOfXdp(), 0U);
  for (const std::string name : {"real1", "real2"}) {
    // What was asked for when the real server was added.
    site_.director().Sh(forget);
    const UniqueFd client = NewSocket(site_.client(), FamilyOf(), SOCK_STREAM);
    LimitWaits(client, 10);
    const SocketAddress to({vip_, kPort});
    ASSERT_EQ(connect(client.get(), to.Get(), to.size), 0) << std::strerror(errno);
    tcp_info info{};
    socklen_t size = sizeof info;
    ASSERT_EQ(getsockopt(client.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    EXPECT_EQ(info.tcpi_total_retrans, 0U) << "connection to " << name;
    ASSERT_EQ(send(client.get(), "x\n", 2, MSG_NOSIGNAL), 2);
    std::array<char, 256> buffer;
    ASSERT_GT(recv(client.get(), buffer.data(), buffer.size(), 0), 0) << std::strerror(errno);
    EXPECT_EQ(std::string(buffer.data(), 5), name);
  }
  EXPECT_EQ(ReadStats().services.at(key).connections, 2U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// A director with an arm in three segments: the clients' and, one by a bridge, those of the real
// servers. Requests leave by another interface than they came in by; so do replies of NAT.
TEST_P(TrafficTest, RealServersAreBehindOtherInterfaces) {
  if (Tunnel()) return;  // its outer packets go as any to a real server
  ServiceConfig config;
  config.scheduler = "rr";
  config.source_nat = SourceNat();
  const ServiceKey key = KeyOf();
  std::vector<Step> steps = {AddItem{Attachment{"eth0"}},
                             AddItem{AnsweredVip{Dataplane::kEbpf, vip_, "eth0"}},
                             AddService{key, config}};
  const std::string length = "/" + std::to_string(At().length), nodad = IsV4() ? "" : " nodad";
  std::map<std::string, int> expected;
  for (const int n : {1, 2}) {
    const std::string number = std::to_string(n), port = "eth" + number;
    const std::string network = IsV4() ? "10.2" + number + ".0." : "2001:db8:2" + number + "::";
    const std::string inside = network + "1", real = network + "11";
    const std::string device = n == 1 ? port : "br" + number;
    Wire(site_.director(), port, site_.real(n), "eth1");
    Do(site_.director(), ":", "ip link del " + port);
    if (device != port) {
      Do(site_.director(),
         "ip link add name " + device + " type bridge; ip link set " + port + " master " + device,
         "ip link del " + device);
    }
    site_.director().Sh("sysctl -qw net.ipv4.conf." + device + ".rp_filter=0; ip link set " +
                        device + " up; ip addr add " + inside + length + " dev " + device + nodad);
    site_.real(n).Sh("sysctl -qw net.ipv4.conf.eth1.rp_filter=0; ip addr add " + real + length +
                     " dev eth1" + nodad);
    if (IsNat()) site_.real(n).Sh("ip route add " + At().clients + " via " + inside);

    RealServer server = RealOf(n, RealPort());
    server.at.ip = *IpAddress::Parse(real);
    steps.insert(steps.begin() + 1, AddItem{Attachment{device}});
    steps.push_back(AddReal{key, server});
    expected["real" + number + ":" + std::to_string(RealPort()) + " sees " +
             (SourceNat() ? inside : At().client)] = 2;
  }
  Direct(steps);

  const std::string large = std::string(60000, 'x') + "\n";
  std::map<std::string, int> answers;
  for (const std::string& request : {std::string("x\n"), large, large, std::string("x\n")}) {
    const std::string answer = Ask(request);
    const size_t line = answer.find('\n');
    ASSERT_NE(line, std::string::npos) << "no answer " << testing::PrintToString(Drops());
    EXPECT_EQ(answer.substr(line + 1), request);
    ++answers[answer.substr(0, line)];
  }
  EXPECT_EQ(answers, expected);
  const Counters counted = ReadStats().services.at(key);
  EXPECT_EQ(counted.connections, 4U);
  EXPECT_GE(counted.reply_bytes, IsNat() ? 2 * large.size() : 0);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
