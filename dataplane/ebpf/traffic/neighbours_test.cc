// The director and its neighbours, whose link addresses it may not know yet.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

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
    ASSERT_EQ(send(client.get(), "x\n", 2, MSG_NOSIGNAL), 2);
    std::array<char, 256> buffer;
    ASSERT_GT(recv(client.get(), buffer.data(), buffer.size(), 0), 0) << std::strerror(errno);
    EXPECT_EQ(std::string(buffer.data(), 5), name);
    tcp_info info{};
    socklen_t size = sizeof info;
    ASSERT_EQ(getsockopt(client.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    EXPECT_EQ(info.tcpi_total_retrans, 0U) << "connection to " << name;
  }
  EXPECT_EQ(ReadStats().services.at(key).connections, 2U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
