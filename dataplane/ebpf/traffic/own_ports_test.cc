// Source NAT takes ports of the director's address. The node has connections of its own from that
// address, to the same real server: each keeps its replies.
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"
#include "dataplane/model/source_ports.h"

namespace kube_lvs::ebpf {
namespace {

class OwnPortsTest : public TrafficTest {
 protected:
  // Of the director's own, to the real server; `port`: 0 as the kernel chooses. Not ok(): there is
  // none.
  UniqueFd OwnConnection(uint16_t port, int seconds = 5) {
    return Connect(site_.director(), {*IpAddress::Parse(At().director_in), port},
                   {site_.Real(1), kNatPort}, seconds);
  }
  // Of a client, whose port is source NAT's, too, if nothing else has it.
  UniqueFd Connection(uint16_t port) {
    return Connect(site_.client(), {*IpAddress::Parse(At().client), port}, {vip_, kPort}, 5);
  }

  static uint16_t PortOf(const UniqueFd& connection) {
    SocketAddress own;
    EXPECT_EQ(getsockname(connection.get(), own.Get(), &own.size), 0);
    return own.ToEndpoint().port;
  }

  // The real server's answer to `line`, and that there is no more of it.
  std::string Ask(const UniqueFd& connection, const std::string& line) {
    if (send(connection.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) return "";
    std::string answer;
    std::array<char, 4096> buffer;
    ssize_t got = 0;
    while ((got = recv(connection.get(), buffer.data(), buffer.size(), 0)) > 0) {
      answer.append(buffer.data(), static_cast<size_t>(got));
    }
    return answer;
  }
  std::string Answer(const std::string& line) const {
    return "real1:8080 sees " + At().director_in + "\n" + line;
  }

  void ServeByOne() { ServeAlone(KeyOf(), kNatPort, {1}); }

 private:
  static UniqueFd Connect(const Namespace& where, const Endpoint& from, const Endpoint& to,
                          int seconds) {
    UniqueFd out = NewSocket(where, to.ip.family, SOCK_STREAM);
    LimitWaits(out, seconds);
    const int yes = 1;
    setsockopt(out.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const SocketAddress own(from), real(to);
    if (bind(out.get(), own.Get(), own.size) != 0 ||
        connect(out.get(), real.Get(), real.size) != 0) {
      out.Reset();
    }
    return out;
  }
};

TEST_P(OwnPortsTest, OneFromAPortThatTheKernelChoosesKeepsItsReplies) {
  ServeByOne();
  const UniqueFd own = OwnConnection(0);
  ASSERT_TRUE(own.ok()) << std::strerror(errno);
  EXPECT_GT(PortOf(own), kLastSourcePort);
  const UniqueFd client = Connection(PortOf(own));
  ASSERT_TRUE(client.ok()) << std::strerror(errno);
  EXPECT_EQ(Ask(own, "own\n"), Answer("own\n"));
  EXPECT_EQ(Ask(client, "client\n"), Answer("client\n"));
  EXPECT_EQ(ReadStats().services.at(KeyOf()).connections, 1U);
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

TEST_P(OwnPortsTest, OneFromAPortOfSourceNatThatIsFreeKeepsItsReplies) {
  ServeByOne();
  const UniqueFd client = Connection(5002), own = OwnConnection(5003);
  ASSERT_TRUE(client.ok() && own.ok()) << std::strerror(errno);
  EXPECT_EQ(Ask(own, "own\n"), Answer("own\n"));
  EXPECT_EQ(Ask(client, "client\n"), Answer("client\n"));
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// Who binds such a port himself may meet a client's connection, which goes on in any case.
TEST_P(OwnPortsTest, OneFromAPortThatAClientHasDoesNotDisturbTheClient) {
  ServeByOne();
  const UniqueFd client = Connection(5004);
  ASSERT_TRUE(client.ok()) << std::strerror(errno);
  EXPECT_FALSE(OwnConnection(5004, 1).ok());
  EXPECT_EQ(Ask(client, "client\n"), Answer("client\n"));
}

// The node's own ends then: the real server takes the client's packets for those of one that has
// begun anew.
TEST_P(OwnPortsTest, AClientIsServedWhosePortSuchAConnectionHas) {
  ServeByOne();
  const UniqueFd own = OwnConnection(5005);
  ASSERT_TRUE(own.ok()) << std::strerror(errno);
  const UniqueFd client = Connection(5005);
  ASSERT_TRUE(client.ok()) << std::strerror(errno);
  EXPECT_EQ(Ask(client, "client\n"), Answer("client\n"));
}

std::vector<Variant> VariantsWithSourceNat() {
  std::vector<Variant> out = Variants();
  std::erase_if(out, [](const Variant& variant) { return !variant.source_nat; });
  return out;
}

INSTANTIATE_TEST_SUITE_P(Methods, OwnPortsTest, testing::ValuesIn(VariantsWithSourceNat()),
                         [](const auto& info) { return ToString(info.param); });

}  // namespace
}  // namespace kube_lvs::ebpf
