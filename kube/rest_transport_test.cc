// The transport over cpprestsdk against a server on loopback: real sockets, injected faults.
#include "kube/rest_transport.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "kube/client.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

json Node(const std::string& name) { return {{"metadata", {{"name", name}}}}; }

class RestTransportTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = FakeApiServer::Start({.resources = {kNodes, kServices}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    transport_ = Connect(server_->Config());
  }

  std::unique_ptr<HttpTransport> Connect(const ClientConfig& config) {
    auto transport = NewRestTransport(config, clock_);
    EXPECT_TRUE(transport.ok()) << transport.status();
    return transport.ok() ? *std::move(transport) : nullptr;
  }

  absl::StatusOr<HttpResponse> Get(const std::string& target, milliseconds timeout = seconds(10),
                                   std::stop_token stop = {}) {
    return transport_->Send({.target = target, .timeout = timeout}, std::move(stop));
  }

  FakeClock clock_;
  std::unique_ptr<FakeApiServer> server_;
  std::unique_ptr<HttpTransport> transport_;
};

TEST_F(RestTransportTest, AnswersOfAnyStatusAreAnswers) {
  const auto found = Get("/readyz");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->status, 200);
  EXPECT_EQ(found->body, "ok");
  EXPECT_EQ(found->headers.at("content-type"), "text/plain");

  const auto missing = Get("/nothing/here");
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->status, 404);
}

TEST_F(RestTransportTest, QueryArrivesAsItWasEncoded) {
  ASSERT_TRUE(Get("/api/v1/nodes?labelSelector=a%3Db%2C%21c&limit=500").ok());
  EXPECT_EQ(server_->Requests().back(), "GET /api/v1/nodes?labelSelector=a%3Db%2C%21c&limit=500");
}

TEST_F(RestTransportTest, Ipv6AddressWorksAsWell) {
  auto server = FakeApiServer::Start({.resources = {kNodes}, .ipv6 = true});
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  transport_ = Connect(server_->Config());
  const auto got = Get("/readyz");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->body, "ok");
}

TEST_F(RestTransportTest, RefusedConnectionIsUnavailable) {
  const ClientConfig config = server_->Config();
  server_.reset();
  transport_ = Connect(config);
  EXPECT_TRUE(absl::IsUnavailable(Get("/readyz").status()));
}

TEST_F(RestTransportTest, HangingServerEndsWithTheTimeout) {
  server_->Inject({.type = FaultType::kHang});
  EXPECT_TRUE(absl::IsDeadlineExceeded(Get("/readyz", milliseconds(200)).status()));
  EXPECT_TRUE(Get("/readyz").ok());
}

TEST_F(RestTransportTest, StopEndsACallThatHangs) {
  server_->Inject({.type = FaultType::kHang});
  std::stop_source stop;
  std::jthread stopper([this, &stop] {
    while (server_->Requests().empty()) std::this_thread::yield();
    stop.request_stop();
  });
  EXPECT_TRUE(absl::IsCancelled(Get("/readyz", seconds(60), stop.get_token()).status()));
}

TEST_F(RestTransportTest, CloseWithoutAnswerOnAFirstRequestIsUnavailable) {
  server_->Inject({.type = FaultType::kClose});
  EXPECT_TRUE(absl::IsUnavailable(Get("/readyz").status()));
  EXPECT_EQ(server_->Requests().size(), 1u);
}

TEST_F(RestTransportTest, StalePooledConnectionIsTriedOnceMore) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Get("/readyz").ok());
    server_->CloseIdleConnections();
    const auto again = Get("/readyz");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->body, "ok");
  }
}

TEST_F(RestTransportTest, HalfAnAnswerIsUnavailableAndNotTriedAgain) {
  server_->Put(kNodes, Node("a"));
  ASSERT_TRUE(Get("/readyz").ok());
  server_->Inject({.type = FaultType::kTruncate});
  EXPECT_TRUE(absl::IsUnavailable(Get("/api/v1/nodes/a").status()));
  EXPECT_EQ(server_->Requests().size(), 2u);
  EXPECT_TRUE(Get("/api/v1/nodes/a").ok());
}

TEST_F(RestTransportTest, LargeAnswerIsWhole) {
  json big = Node("big");
  big["spec"]["text"] = std::string(3'000'000, 'x');
  server_->Put(kNodes, big);
  const auto got = Get("/api/v1/nodes/big");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(json::parse(got->body)["spec"]["text"].get<std::string>().size(), 3'000'000u);
}

TEST_F(RestTransportTest, StreamGivesLinesUntilTheServerEndsIt) {
  server_->Put(kNodes, Node("a"));
  server_->Put(kNodes, Node("b"));
  server_->Inject({.type = FaultType::kWatchDrop, .after_events = 2});
  std::vector<std::string> names;
  const auto end =
      transport_->Stream({.target = "/api/v1/nodes?watch=true"},
                         [&names](std::string_view line) {
                           names.push_back(json::parse(line)["object"]["metadata"]["name"]);
                           return absl::OkStatus();
                         },
                         {});
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->status, 200);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
}

TEST_F(RestTransportTest, StreamThatBreaksWithinALineIsUnavailable) {
  server_->Put(kNodes, Node("a"));
  server_->Inject({.type = FaultType::kWatchMidLine, .after_events = 1});
  int lines = 0;
  const auto end = transport_->Stream({.target = "/api/v1/nodes?watch=true"},
                                      [&lines](std::string_view) {
                                        ++lines;
                                        return absl::OkStatus();
                                      },
                                      {});
  EXPECT_TRUE(absl::IsUnavailable(end.status())) << end.status();
  EXPECT_EQ(lines, 1);
}

TEST_F(RestTransportTest, SilentStreamEndsWithTheQuietTimeout) {
  server_->Inject({.type = FaultType::kWatchSilent});
  const auto end =
      transport_->Stream({.target = "/api/v1/nodes?watch=true", .quiet_timeout = milliseconds(200)},
                         [](std::string_view) { return absl::OkStatus(); }, {});
  EXPECT_TRUE(absl::IsDeadlineExceeded(end.status())) << end.status();
}

TEST_F(RestTransportTest, StopEndsASilentStream) {
  server_->Inject({.type = FaultType::kWatchSilent});
  std::stop_source stop;
  std::jthread stopper([this, &stop] {
    while (server_->Requests().empty()) std::this_thread::yield();
    stop.request_stop();
  });
  const auto end = transport_->Stream(
      {.target = "/api/v1/nodes?watch=true"}, [](std::string_view) { return absl::OkStatus(); },
      stop.get_token());
  EXPECT_TRUE(absl::IsCancelled(end.status())) << end.status();
}

// The TCP_USER_TIMEOUT of our sockets that are connected to `port`.
std::vector<int> UserTimeouts(uint16_t port) {
  std::vector<int> out;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer = {};
    socklen_t length = sizeof(peer);
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != port) continue;
    int value = 0;
    length = sizeof(value);
    if (getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &length) == 0) out.push_back(value);
  }
  return out;
}

TEST_F(RestTransportTest, StreamsSocketNoticesAPeerThatVanished) {
  server_->Put(kNodes, Node("a"));
  const std::string url = server_->Url();
  const auto port = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  std::vector<int> timeouts;
  (void)transport_->Stream({.target = "/api/v1/nodes?watch=true"},
                           [&](std::string_view) {
                             timeouts = UserTimeouts(port);
                             return absl::CancelledError("enough");
                           },
                           {});
  EXPECT_EQ(timeouts, (std::vector<int>{15'000}));
}

TEST_F(RestTransportTest, TheSinksErrorEndsTheStream) {
  server_->Put(kNodes, Node("a"));
  const auto end = transport_->Stream(
      {.target = "/api/v1/nodes?watch=true"},
      [](std::string_view) { return absl::FailedPreconditionError("enough"); }, {});
  EXPECT_EQ(end.status(), absl::FailedPreconditionError("enough"));
}

TEST_F(RestTransportTest, RefusedStreamIsAnAnswer) {
  const auto end =
      transport_->Stream({.target = "/apis/none/v1/things?watch=true"},
                         [](std::string_view) { return absl::InternalError("not called"); }, {});
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->status, 404);
  EXPECT_EQ(end->body, "404 page not found\n");
}

TEST_F(RestTransportTest, RotatedTokenIsReadAtOnceAfter401) {
  const std::string file = testing::TempDir() + "/token-" + std::to_string(getpid());
  std::ofstream(file) << "first\n";
  server_->SetToken("first");
  ClientConfig config = server_->Config();
  config.token.clear();
  config.token_file = file;
  transport_ = Connect(config);
  EXPECT_EQ(Get("/readyz")->status, 200);

  server_->SetToken("second");
  EXPECT_EQ(Get("/readyz")->status, 401);  // the file still has the first
  std::ofstream(file) << "second\n";
  EXPECT_EQ(Get("/readyz")->status, 200);
  EXPECT_EQ(server_->Requests().size(), 4u);

  server_->SetToken("third");
  std::ofstream(file) << "third\n";
  EXPECT_EQ(transport_->Stream({.target = "/api/v1/none?watch=true"}, nullptr, {})->status, 404);
  std::remove(file.c_str());
}

TEST_F(RestTransportTest, ManyThreadsShareOneTransport) {
  server_->Put(kNodes, Node("a"));
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([this, &good] {
        for (int i = 0; i < 25; ++i) {
          const auto got = Get("/api/v1/nodes/a");
          if (got.ok() && got->status == 200) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 200);
}

TEST(NewRestTransportTest, RefusesWhatIsNotAnAddressOrNotPem) {
  const SystemClock clock;
  for (const char* server : {"", "nonsense", "ftp://x", "https://"}) {
    ClientConfig config;
    config.server = server;
    EXPECT_TRUE(absl::IsInvalidArgument(NewRestTransport(config, clock).status())) << server;
  }
  ClientConfig config;
  config.server = "https://127.0.0.1:1";
  config.certificate_authority.data = "not PEM";
  EXPECT_TRUE(absl::IsInvalidArgument(NewRestTransport(config, clock).status()));
}

}  // namespace
}  // namespace kube_lvs::kube
