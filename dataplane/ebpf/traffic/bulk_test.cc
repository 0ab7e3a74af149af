// Much through one connection: every byte arrives, in order, both ways at a time.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

constexpr size_t kBlock = 1 << 20;
constexpr size_t kBlocks = 64;

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
bool Send(int socket, uint32_t seed) {
  for (size_t n = 0; n < kBlocks; ++n) {
    const std::string block = Block(seed, n);
    size_t sent = 0;
    while (sent < kBlock) {
      const ssize_t more = send(socket, block.data() + sent, kBlock - sent, MSG_NOSIGNAL);
      if (more < 0) return false;
      sent += static_cast<size_t>(more);
    }
  }
  return shutdown(socket, SHUT_WR) == 0;
}

// "" if what comes is the stream and no more, else what is wrong.
std::string Compare(int socket, uint32_t seed) {
  std::string got(kBlock, '\0');
  for (size_t n = 0; n < kBlocks; ++n) {
    const ssize_t size = recv(socket, got.data(), kBlock, MSG_WAITALL);
    if (size < 0) return "block " + std::to_string(n) + ": " + std::strerror(errno);
    const std::string want = Block(seed, n);
    const auto [at, end] = std::mismatch(got.begin(), got.begin() + size, want.begin());
    const auto right = static_cast<size_t>(at - got.begin());
    if (right == kBlock) continue;
    return (right == static_cast<size_t>(size) ? "ends" : "differs") + std::string(" at byte ") +
           std::to_string(n * kBlock + right);
  }
  return recv(socket, got.data(), 1, 0) == 0 ? "" : "does not end";
}

// What each of the two ends of a connection has to say of the other's stream.
struct Exchange {
  std::string of_client, of_real;
};
Exchange ExchangeBulk(int client, int real, uint32_t seed) {
  Exchange out;
  std::thread compare_at_client([&] { out.of_client = Compare(client, seed + 1); });
  std::thread compare_at_real([&] { out.of_real = Compare(real, seed); });
  std::thread send_to_client([&] { Send(real, seed + 1); });
  Send(client, seed);
  send_to_client.join();
  compare_at_real.join();
  compare_at_client.join();
  return out;
}

TEST_P(TrafficTest, BulkPassesBothWaysUnchanged) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const UniqueFd listener = Listen(site_.real(1), {*IpAddress::Parse(At().any), 0});
  LimitWaits(listener, 3);
  SocketAddress at;
  ASSERT_EQ(getsockname(listener.get(), at.Get(), &at.size), 0);
  const uint16_t port = at.ToEndpoint().port;
  Unpack(Cidr::Host(vip_), true);
  const ServiceKey key{Dataplane::kEbpf, Endpoint{vip_, port}, Protocol::kTcp};
  ServeAlone(key, port, {1});

  const UniqueFd client = NewSocket(site_.client(), FamilyOf(), SOCK_STREAM);
  LimitWaits(client, 10);
  const SocketAddress to({vip_, port});
  ASSERT_EQ(connect(client.get(), to.Get(), to.size), 0) << std::strerror(errno);
  const UniqueFd real(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(real.ok()) << std::strerror(errno);
  LimitWaits(real, 10);
  const Exchange exchange = ExchangeBulk(client.get(), real.get(), seed);
  EXPECT_EQ(exchange.of_real, "") << "from the client";
  EXPECT_EQ(exchange.of_client, "") << "from the real server";

  const Counters counted = ReadStats().services.at(key);
  EXPECT_EQ(counted.connections, 1U);
  EXPECT_GT(counted.bytes, kBlocks * kBlock);
  if (IsNat()) {
    EXPECT_GT(counted.reply_bytes, kBlocks * kBlock);
  } else {
    EXPECT_EQ(counted.reply_bytes, 0U);
  }
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
