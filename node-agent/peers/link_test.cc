// Directors on loopback addresses of this machine, real sockets.
#include "node-agent/peers/link.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <condition_variable>
#include <functional>
#include <thread>

#include "base/status.h"
#include "base/unique_fd.h"
#include "node-agent/peers/frame.h"
#include "node-agent/peers/ownership.h"
#include "node-agent/peers/setup_message.h"
#include "node-agent/peers/udp.h"

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
  Director(std::string node, const char* address, uint16_t port, std::string key,
           std::unique_ptr<Prober> prober = nullptr)
      : link_({.node = node, .port = port, .key = key, .bind = *IpAddress::Parse(address)},
              std::move(prober), clock_, log_, [this] {
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
  // Waits until `done` holds of what real servers' agents said; false after 10 s.
  bool WaitFor(const std::function<bool(const SetupPeers::Answers&)>& done) {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return done(link_.Heard()); });
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

size_t Owned(const std::string& node, uint32_t count) {
  size_t owned = 0;
  for (const IpAddress& vip : Vips(count)) owned += OwnerOf(vip, {"a", "b"}) == node ? 1 : 0;
  return owned;
}

TEST(PeerLink, TwoDirectorsShareTheVips) {
  const uint16_t port = FreePort();
  Director a("a", "127.0.0.2", port, "key"), b("b", "127.0.0.3", port, "key");
  for (Director* director : {&a, &b}) {
    director->link().Update(Two(), Vips(20), {true, {}});
    director->Start();
  }
  const size_t owned_by_a = Owned("a", 20);
  EXPECT_TRUE(a.WaitForClaims(owned_by_a));
  EXPECT_TRUE(b.WaitForClaims(20 - owned_by_a));
}

// Probes that always answer: an agent that falls silent is then waited for.
class Reachable final : public Prober {
 public:
  int Fd(Family) const override { return -1; }
  void Probe(const IpAddress& to) override { answers_.push_back(to); }
  std::optional<IpAddress> NextAnswer() override {
    if (answers_.empty()) return std::nullopt;
    const IpAddress from = answers_.back();
    answers_.pop_back();
    return from;
  }

 private:
  std::vector<IpAddress> answers_;
};

TEST(PeerLink, AFellowTakesTheVipsOfOneThatLeavesBeforeItIsGone) {
  const uint16_t port = FreePort();
  Director b("b", "127.0.0.3", port, "key", std::make_unique<Reachable>());
  PeerGroup group = Two();
  group.grace = std::chrono::hours(1);
  b.link().Update(group, Vips(40), {true, {}});
  {
    Director a("a", "127.0.0.2", port, "key");
    a.link().Update(group, Vips(40), {true, {}});
    a.Start();
    b.Start();
    ASSERT_TRUE(b.WaitForClaims(40 - Owned("a", 40)));
    ASSERT_TRUE(a.WaitForClaims(Owned("a", 40)));
  }  // stopped as planned: b waits for it
  Director cleanup("a", "127.0.0.2", port, "key");
  std::set<IpAddress> of_a;
  for (const IpAddress& vip : Vips(40)) {
    if (OwnerOf(vip, {"a", "b"}) == "a") of_a.insert(vip);
  }
  ASSERT_TRUE(cleanup.link().Leave(group, of_a, std::chrono::hours(1)).ok());
  EXPECT_EQ(b.link().Claims(), Vips(40));
}

TEST(PeerLink, WhoIsNoMemberAnyMoreSaysSo) {
  const uint16_t port = FreePort();
  Director a("a", "127.0.0.2", port, "key"),
      b("b", "127.0.0.3", port, "key", std::make_unique<Reachable>());
  PeerGroup group = Two();
  group.grace = std::chrono::hours(1);
  for (Director* director : {&a, &b}) {
    director->link().Update(group, Vips(20), {true, {}});
    director->Start();
  }
  ASSERT_TRUE(a.WaitForClaims(Owned("a", 20)));
  ASSERT_TRUE(b.WaitForClaims(20 - Owned("a", 20)));
  a.link().Update({}, {}, {true, {}});
  EXPECT_TRUE(b.WaitForClaims(20));
}

TEST(PeerLink, WhoLeavesAndHearsNobodyDoesNotWaitLong) {
  const uint16_t port = FreePort();
  PeerGroup group = Two();
  group.misses = 2;
  Director a("a", "127.0.0.2", port, "key");
  EXPECT_TRUE(a.link().Leave(group, Vips(3), std::chrono::hours(1)).ok());
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

const SetupQuestion kQuestion = {
    *IpAddress::Parse("127.0.0.3"),
    {*IpAddress::Parse("198.51.100.1"), ForwardingMethod::kDirectRouting}};

std::function<bool(const SetupPeers::Answers&)> Says(const SetupQuestion& question, bool ready) {
  return [question, ready](const SetupPeers::Answers& heard) {
    const auto reply = heard.replies.find(question);
    return reply != heard.replies.end() && reply->second.state.ready == ready;
  };
}

TEST(PeerLink, ARealServerIsAskedUntilItIsReadyAndEachChangeIsTold) {
  const uint16_t port = FreePort();
  // Neither needs to be of a group for that.
  Director director("a", "127.0.0.2", port, "key"), server("b", "127.0.0.3", port, "key");
  director.Start();
  server.Start();
  director.link().Ask(*IpAddress::Parse("127.0.0.2"), {kQuestion});
  EXPECT_TRUE(director.WaitFor(Says(kQuestion, false)));
  server.link().Publish({{kQuestion.setup, {{false, "read-only"}}}});
  EXPECT_TRUE(director.WaitFor([](const SetupPeers::Answers& heard) {
    return heard.replies.at(kQuestion).state == SetupState{false, "read-only"};
  }));
  server.link().Publish({{kQuestion.setup, {{true, ""}}}});
  EXPECT_TRUE(director.WaitFor(Says(kQuestion, true)));
  EXPECT_EQ(director.link().Heard().agents, std::set<IpAddress>{kQuestion.real_server});
  EXPECT_EQ(director.link().Counters().garbage, 0u);
  EXPECT_EQ(server.link().Counters().garbage, 0u);
}

TEST(PeerLink, OverIpv6AnAgentThatHasOnlyStartedAnswersNotReady) {
  const uint16_t port = FreePort();
  const UniqueFd probe(socket(AF_INET6, SOCK_DGRAM, 0));
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  ASSERT_EQ(bind(probe.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)), 0)
      << "this machine has no ::1";
  Director server("b", "::1", port, "");
  server.Start();
  // A director on a port of its own, by hand: ::1 has room for one agent on that port.
  const SetupQuery query = {77, *IpAddress::Parse("::1"), {kQuestion.setup}};
  const auto bytes = EncodeSetupQuery(query, "");
  loopback.sin6_port = htons(port);
  std::array<uint8_t, kMaxMessageBytes> buffer;
  ssize_t size = -1;
  timeval patience = {0, 100'000};  // its socket may not be open yet
  setsockopt(probe.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  for (int i = 0; i < 100 && size < 0; ++i) {
    sendto(probe.get(), bytes->data(), bytes->size(), 0, reinterpret_cast<sockaddr*>(&loopback),
           sizeof(loopback));
    size = recv(probe.get(), buffer.data(), buffer.size(), 0);
  }
  ASSERT_GT(size, 0);
  const auto answer = DecodeSetupAnswer(std::span(buffer).first(static_cast<size_t>(size)), "");
  ASSERT_TRUE(answer.ok()) << Message(answer.status());
  EXPECT_EQ(answer->nonce, 77u);
  ASSERT_EQ(answer->entries.size(), 1u);
  EXPECT_FALSE(answer->entries[0].state.ready);
}

// A real server may be known by an address that is not the one its replies would leave by.
TEST(UdpSocket, AnswersFromTheAddressThatWasAsked) {
  const uint16_t port = FreePort();
  auto server = UdpSocket::Open(IpAddress{}, port);
  ASSERT_TRUE(server.ok()) << Message(server.status());
  // Bound to one of this machine's addresses, so that its port does not matter to the server's.
  const UniqueFd client(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.7", &to.sin_addr);
  ASSERT_EQ(sendto(client.get(), "?", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 1);
  std::array<uint8_t, 16> buffer;
  pollfd readable = {server->fd(), POLLIN, 0};
  ASSERT_EQ(poll(&readable, 1, 10'000), 1);
  const auto asked = server->Receive(buffer);
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->size, 1u);
  EXPECT_EQ(asked->to, *IpAddress::Parse("127.0.0.7"));
  server->Send(std::span(buffer).first(1), asked->from, asked->from_port, asked->to);
  sockaddr_in from = {};
  socklen_t length = sizeof(from);
  readable.fd = client.get();
  ASSERT_EQ(poll(&readable, 1, 10'000), 1);
  ASSERT_EQ(recvfrom(client.get(), buffer.data(), buffer.size(), 0,
                     reinterpret_cast<sockaddr*>(&from), &length),
            1);
  EXPECT_EQ(from.sin_addr.s_addr, to.sin_addr.s_addr);
  EXPECT_FALSE(server->Receive(buffer).has_value());
}

TEST(PeerLink, AnotherKeysAnswersAreCountedAndIgnored) {
  const uint16_t port = FreePort();
  Director director("a", "127.0.0.2", port, "key"), server("b", "127.0.0.3", port, "other");
  server.link().Publish({{kQuestion.setup, {{true, ""}}}});
  director.Start();
  server.Start();
  director.link().Ask(*IpAddress::Parse("127.0.0.2"), {kQuestion});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (server.link().Counters().unauthenticated < 3 &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_GE(server.link().Counters().unauthenticated, 3u);
  EXPECT_TRUE(director.link().Heard().replies.empty());
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
