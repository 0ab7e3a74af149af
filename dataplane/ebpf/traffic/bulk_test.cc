// Much through one connection: every byte arrives, in order, both ways at a time.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <thread>

#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

constexpr size_t kBlock = 1 << 20;

// Of the stream of this seed, which nothing that is lost, doubled or moved leaves as it was.
std::string Block(uint32_t seed, size_t n) {
  std::mt19937_64 random((uint64_t{seed} << 32) + n);
  std::string out(kBlock, '\0');
  for (size_t i = 0; i < kBlock; i += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(&out[i], &word, sizeof word);
  }
  return out;
}

// Whether all of the stream was taken.
bool Send(const UniqueFd& socket, uint32_t seed, size_t blocks) {
  for (size_t n = 0; n < blocks; ++n) {
    const std::string block = Block(seed, n);
    size_t sent = 0;
    while (sent < kBlock) {
      const ssize_t more = send(socket.get(), block.data() + sent, kBlock - sent, MSG_NOSIGNAL);
      if (more < 0) return false;
      sent += static_cast<size_t>(more);
    }
  }
  return shutdown(socket.get(), SHUT_WR) == 0;
}

// "" if what comes is the stream and no more; else what is wrong.
std::string Compare(const UniqueFd& socket, uint32_t seed, size_t blocks) {
  std::string got(kBlock, '\0');
  for (size_t n = 0; n < blocks; ++n) {
    const ssize_t size = recv(socket.get(), got.data(), kBlock, MSG_WAITALL);
    if (size < 0) return "block " + std::to_string(n) + ": " + std::strerror(errno);
    const std::string want = Block(seed, n);
    const auto [at, end] = std::mismatch(got.begin(), got.begin() + size, want.begin());
    const auto right = static_cast<size_t>(at - got.begin());
    if (right == kBlock) continue;
    return (right == static_cast<size_t>(size) ? "ends" : "differs") + std::string(" at byte ") +
           std::to_string(n * kBlock + right);
  }
  return recv(socket.get(), got.data(), 1, 0) == 0 ? "" : "does not end";
}

// What each of the two ends of a connection has to say of the other's stream; "" is praise.
struct Exchange {
  std::string of_client, of_real;
  bool operator==(const Exchange&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Exchange& exchange) {
  return out << "from the client: " << exchange.of_client
             << ", from the real server: " << exchange.of_real;
}
Exchange ExchangeBulk(const UniqueFd& client, const UniqueFd& real, uint32_t seed, size_t blocks) {
  Exchange out;
  std::thread compare_at_client([&] { out.of_real = Compare(client, seed + 1, blocks); });
  std::thread compare_at_real([&] { out.of_client = Compare(real, seed, blocks); });
  std::thread send_to_client([&] { Send(real, seed + 1, blocks); });
  Send(client, seed, blocks);
  send_to_client.join();
  compare_at_real.join();
  compare_at_client.join();
  return out;
}

// A connection by the VIP to `listener` of the first real server.
struct Connection {
  Connection(const Site& site, const Endpoint& vip, const UniqueFd& listener)
      : client(NewSocket(site.client(), vip.ip.family, SOCK_STREAM)) {
    LimitWaits(client, 10);
    const SocketAddress to(vip);
    if (connect(client.get(), to.Get(), to.size) != 0) return;
    real = UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    LimitWaits(real, 10);
  }

  UniqueFd client;
  UniqueFd real;  // not ok() if it could not be opened: errno says why
};

// At a port that was free.
UniqueFd ListenAnywhere(const Namespace& where, const IpAddress& any) {
  UniqueFd listener = Listen(where, {any, 0});
  LimitWaits(listener, 3);
  return listener;
}

uint16_t PortOf(const UniqueFd& listener) {
  SocketAddress at;
  return getsockname(listener.get(), at.Get(), &at.size) == 0 ? at.ToEndpoint().port : 0;
}

tcp_info InfoOf(const UniqueFd& connection) {
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(getsockopt(connection.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return info;
}

class BulkTest : public TrafficTest {
 protected:
  BulkTest() : listener_(ListenAnywhere(site_.real(1), *IpAddress::Parse(At().any))) {}

  // Of one connection to the first real server.
  void ExpectBulk(size_t blocks) {
    const uint32_t seed = std::random_device()();
    SCOPED_TRACE("seed " + std::to_string(seed));
    connection_ = std::make_unique<Connection>(site_, Endpoint{vip_, port_}, listener_);
    ASSERT_TRUE(connection_->real.ok()) << std::strerror(errno);
    EXPECT_EQ(ExchangeBulk(connection_->client, connection_->real, seed, blocks), (Exchange{}));
  }

  // Every byte of it counted, and no packet dropped.
  void ExpectCountedBulk() {
    constexpr size_t kBlocks = 64;
    Unpack(Cidr::Host(vip_), true);
    ServeAlone(key_, port_, {1});
    ExpectBulk(kBlocks);
    const Counters counted = ReadStats().services.at(key_);
    EXPECT_EQ(counted.connections, 1U);
    EXPECT_GT(counted.bytes, kBlocks * kBlock);
    if (IsNat()) {
      EXPECT_GT(counted.reply_bytes, kBlocks * kBlock);
    } else {
      EXPECT_EQ(counted.reply_bytes, 0U);
    }
    EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
  }

  // The client's bundles are cut behind the director, into segments of a size that it must be told.
  void ExpectBundlesToLearnTheMtu() {
    constexpr uint32_t kMtu = 1400;
    const std::string route = site_.Real(1).ToString() + " dev eth0 src " + At().director_in;
    Do(site_.director(), "ip route add " + route + " mtu " + std::to_string(kMtu),
       "ip route del " + route);
    Unpack(Cidr::Host(vip_), false);
    ServeAlone(key_, port_, {1});
    ExpectBulk(4);
    if (HasFatalFailure()) return;
    const uint32_t fits = kMtu - Overhead();
    EXPECT_EQ(InfoOf(connection_->client).tcpi_pmtu, fits);
    // Of the largest segment that came.
    EXPECT_LE(InfoOf(connection_->real).tcpi_rcv_mss,
              fits - (IsV4() ? 20 : 40) - sizeof(tcphdr));
    const auto drops = Drops();
    EXPECT_TRUE(drops.size() == 1 && drops.contains("too_big")) << testing::PrintToString(drops);
  }

  // UDP at the first real server that nobody takes. Of IPv6 it is an error, being without checksum.
  uint64_t UntakenUdp() const {
    return site_.real(1).In([] {
      std::ifstream in(IsV4() ? "/proc/thread-self/net/snmp" : "/proc/thread-self/net/snmp6");
      std::string line, word;
      if (!IsV4()) {
        uint64_t value = 0;
        while (in >> word >> value && word != "Udp6InErrors") continue;
        return value;
      }
      while (std::getline(in, line) && !line.starts_with("Udp:")) continue;
      uint64_t received = 0, no_ports = 0;
      in >> word >> received >> no_ports;
      return no_ports;
    });
  }

 private:
  const UniqueFd listener_;
  const uint16_t port_ = PortOf(listener_);

 protected:
  const ServiceKey key_{Dataplane::kEbpf, Endpoint{vip_, port_}, Protocol::kTcp};

 private:
  std::unique_ptr<Connection> connection_;
};

INSTANTIATE_TEST_SUITE_P(Methods, BulkTest, testing::ValuesIn(Variants()),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(BulkTest, PassesBothWaysUnchanged) { ExpectCountedBulk(); }

TEST_P(BulkTest, BundlesLearnTheSmallerMtuOfTheWayToARealServer) { ExpectBundlesToLearnTheMtu(); }

// At a real server that has nothing but our program to take it.
TEST_P(BulkTest, PassesByGue) {
  if (!Tunnel()) return;
  TunnelByGue();
  const uint64_t before = UntakenUdp();
  ExpectCountedBulk();
  EXPECT_EQ(UntakenUdp(), before);
}

TEST_P(BulkTest, BundlesLearnWhatFitsByGue) {
  if (!Tunnel()) return;
  TunnelByGue();
  ExpectBundlesToLearnTheMtu();
}

TEST_P(BulkTest, ByGueNothingPassesARealServerThatTakesItByIpip) {
  if (!Tunnel()) return;
  Unpack(Cidr::Host(vip_), true);
  TunnelByGue();
  const ServiceKey key = KeyOf();
  ServeAlone(key, RealPort(), {1});
  const uint64_t before = UntakenUdp();
  EXPECT_EQ(Ask("hello"), "");
  EXPECT_GT(UntakenUdp(), before);
  EXPECT_GT(ReadStats().services.at(key).packets, 0U);
}

}  // namespace
}  // namespace kube_lvs::ebpf
