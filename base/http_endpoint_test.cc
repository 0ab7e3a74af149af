#include "base/http_endpoint.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace kube_lvs {
namespace {

class HttpEndpointTest : public testing::Test {
 protected:
  HttpEndpointTest() {
    auto endpoint = HttpEndpoint::Listen({.ip = *IpAddress::Parse("127.0.0.1"), .port = 0},
                                         [](std::string_view path) -> HttpAnswer {
                                           if (path == "/big")
                                             return {.body = std::string(3'000'000, 'x')};
                                           if (path == "/hello") return {.body = "hello\n"};
                                           return {.status = 404, .body = "no\n"};
                                         });
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
    thread_ =
        std::jthread([this](std::stop_token stop) { EXPECT_TRUE(endpoint_->Run(stop).ok()); });
  }

  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(endpoint_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  static std::string ReadAll(const UniqueFd& fd) {
    std::string out;
    char buffer[65536];
    while (true) {
      const ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
      if (n <= 0) return out;
      out.append(buffer, static_cast<size_t>(n));
    }
  }
  std::string Ask(const std::string& request) const {
    const UniqueFd fd = Connect();
    EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    return ReadAll(fd);
  }

  std::unique_ptr<HttpEndpoint> endpoint_;
  std::jthread thread_;
};

TEST_F(HttpEndpointTest, AnswersGetAndHead) {
  EXPECT_EQ(Ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n"
            "Connection: close\r\n\r\nhello\n");
  EXPECT_TRUE(Ask("GET /hello?a=b HTTP/1.0\r\n\r\n").ends_with("hello\n"));
  EXPECT_TRUE(Ask("HEAD /hello HTTP/1.1\r\n\r\n")
                  .ends_with("Content-Length: 6\r\nConnection: "
                             "close\r\n\r\n"));
  EXPECT_TRUE(Ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(Ask("POST /hello HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(Ask("hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

TEST_F(HttpEndpointTest, LongAnswersArriveWhole) {
  EXPECT_GT(Ask("GET /big HTTP/1.1\r\n\r\n").size(), 3'000'000u);
}

TEST_F(HttpEndpointTest, SilentClientsHoldNobodyUp) {
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(Connect());
  EXPECT_TRUE(Ask("GET /hello HTTP/1.1\r\n\r\n").ends_with("hello\n"));
}

TEST_F(HttpEndpointTest, EndlessRequestsAreCutOff) {
  const UniqueFd fd = Connect();
  const std::string bytes(4096, 'x');
  while (send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
  }
  EXPECT_EQ(ReadAll(fd), "");
}

TEST_F(HttpEndpointTest, AnAddressInUseIsAnError) {
  const auto second = HttpEndpoint::Listen(
      {.ip = *IpAddress::Parse("127.0.0.1"), .port = endpoint_->port()}, nullptr);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace kube_lvs
