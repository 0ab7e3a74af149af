// Directors on loopback addresses of this machine, real sockets.
#include "node-agent/peers/link.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <condition_variable>
#include <thread>

#include "base/status.h"
#include "base/unique_fd.h"
#include "node-agent/peers/ownership.h"

namespace kube_lvs {
namespace {

class NoLog final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

// A port that was free on 127.0.0.2 a moment ago.
uint16_t FreePort() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, "127.0.0.2", &address.sin_addr);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  socklen_t length = sizeof(address);
  EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  return ntohs(address.sin_port);
}

class Director {
 public:
  Director(std::string node, const char* address, uint16_t port, std::string key)
      : link_({.node = node, .port = port, .key = key, .bind = *IpAddress::Parse(address)}, nullptr,
              clock_, log_, [this] {
                const std::lock_guard<std::mutex> lock(mu_);
                changed_.notify_all();
              }) {}
  void Start() {
    thread_ = std::jthread([this](std::stop_token stop) {
      const absl::Status status = link_.Run(stop);
      EXPECT_TRUE(status.ok()) << Message(status);
    });
  }
  // Waits until the number of claims is `count`; false after 10 s.
  bool WaitForClaims(size_t count) {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [this, count] { return link_.Claims().size() == count; });
  }
  PeerLink& link() { return link_; }

 private:
  SystemClock clock_;
  NoLog log_;
  std::mutex mu_;
  std::condition_variable changed_;
  PeerLink link_;
  std::jthread thread_;
};

PeerGroup Two() {
  PeerGroup group;
  group.name = "default";
  group.epoch = 1;
  group.members = {{"a", *IpAddress::Parse("127.0.0.2")}, {"b", *IpAddress::Parse("127.0.0.3")}};
  group.interval = std::chrono::milliseconds(50);
  group.misses = 20;  // patient: the test machine may be busy
  return group;
}

std::set<IpAddress> Vips(uint32_t count) {
  std::set<IpAddress> vips;
  for (uint32_t n = 0; n < count; ++n) vips.insert(IpAddress::FromV4(0xc6336400u + n));
  return vips;
}

TEST(PeerLink, TwoDirectorsShareTheVips) {
  const uint16_t port = FreePort();
  Director a("a", "127.0.0.2", port, "key"), b("b", "127.0.0.3", port, "key");
  for (Director* director : {&a, &b}) {
    director->link().Update(Two(), Vips(20), {true, {}});
    director->Start();
  }
  size_t owned_by_a = 0;
  for (const IpAddress& vip : Vips(20)) owned_by_a += OwnerOf(vip, {"a", "b"}) == "a" ? 1 : 0;
  EXPECT_TRUE(a.WaitForClaims(owned_by_a));
  EXPECT_TRUE(b.WaitForClaims(20 - owned_by_a));
}

TEST(PeerLink, AnotherKeyIsCountedAndIgnored) {
  const uint16_t port = FreePort();
  Director a("a", "127.0.0.2", port, "key"), b("b", "127.0.0.3", port, "other");
  for (Director* director : {&a, &b}) {
    director->link().Update(Two(), Vips(4), {true, {}});
    director->Start();
  }
  // Each takes the other for dead and answers for everything.
  EXPECT_TRUE(a.WaitForClaims(4));
  EXPECT_TRUE(b.WaitForClaims(4));
  EXPECT_GT(a.link().Counters().unauthenticated, 0u);
}

TEST(PeerLink, ATakenPortIsToldByName) {
  const uint16_t port = FreePort();
  Director a("a", "127.0.0.2", port, "");
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.2", &address.sin_addr);
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const absl::Status status = a.link().Run({});
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_NE(Message(status).find("--peer-port"), std::string::npos);
}

}  // namespace
}  // namespace kube_lvs
