#include "base/http_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/status.h"

namespace kube_lvs {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kMostConnections = 64;
constexpr size_t kLongestRequest = 16384;
constexpr std::chrono::seconds kLongest{5};

struct Connection {
  UniqueFd fd;
  SteadyClock::time_point deadline;
  std::string in;
  std::string out;
  size_t sent = 0;
};

sockaddr_storage AddressOf(const Endpoint& at, socklen_t& size) {
  sockaddr_storage out{};
  if (at.ip.IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(at.port);
    std::memcpy(&v4->sin_addr, at.ip.bytes.data(), 4);
    size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(at.port);
    std::memcpy(&v6->sin6_addr, at.ip.bytes.data(), 16);
    size = sizeof(sockaddr_in6);
  }
  return out;
}

const char* PhraseOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
  }
  return "Service Unavailable";
}

// Reads or writes what is possible now; false when the connection is over.
bool Advance(Connection& connection, const std::function<std::string(std::string_view)>& answer) {
  if (connection.out.empty()) {
    char buffer[4096];
    const ssize_t n = recv(connection.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    connection.in.append(buffer, static_cast<size_t>(n));
    if (connection.in.find("\r\n\r\n") == std::string::npos) {
      return connection.in.size() <= kLongestRequest;
    }
    connection.out = answer(connection.in);
  }
  const ssize_t n = send(connection.fd.get(), connection.out.data() + connection.sent,
                         connection.out.size() - connection.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  connection.sent += static_cast<size_t>(n);
  return connection.sent < connection.out.size();
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Listen(const Endpoint& at,
                                                                   Handler handler) {
  const auto failed = [&at](const char* what) {
    return absl::UnavailableError(at.ToString() + ": " + what + ": " + std::strerror(errno));
  };
  UniqueFd fd(socket(at.ip.IsV4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return failed("socket");
  const int one = 1;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0) {
    return failed("SO_REUSEADDR");
  }
  socklen_t size = 0;
  sockaddr_storage address = AddressOf(at, size);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return failed("bind");
  if (listen(fd.get(), 64) != 0) return failed("listen");
  size = sizeof(address);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return failed("getsockname");
  }
  const uint16_t port = ntohs(at.ip.IsV4() ? reinterpret_cast<sockaddr_in*>(&address)->sin_port
                                           : reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  UniqueFd waker(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!waker.ok()) return failed("eventfd");
  return std::unique_ptr<HttpEndpoint>(
      new HttpEndpoint(std::move(fd), std::move(waker), port, std::move(handler)));
}

std::string HttpEndpoint::Answer(std::string_view request) const {
  HttpAnswer answer;
  const size_t method_end = request.find(' ');
  const size_t path_end = request.find(' ', method_end + 1);
  const bool head = request.substr(0, method_end) == "HEAD";
  if (method_end == std::string_view::npos || path_end == std::string_view::npos ||
      request.substr(path_end + 1, 5) != "HTTP/") {
    answer = {.status = 400, .body = "this is not HTTP/1.1\n"};
  } else if (request.substr(0, method_end) != "GET" && !head) {
    answer = {.status = 405, .body = "only GET and HEAD\n"};
  } else {
    std::string_view path = request.substr(method_end + 1, path_end - method_end - 1);
    answer = handler_(path.substr(0, path.find('?')));
  }
  return "HTTP/1.1 " + std::to_string(answer.status) + " " + PhraseOf(answer.status) +
         "\r\nContent-Type: " + answer.content_type +
         "\r\nContent-Length: " + std::to_string(answer.body.size()) +
         "\r\nConnection: close\r\n\r\n" + (head ? "" : answer.body);
}

absl::Status HttpEndpoint::Run(std::stop_token stop) {
  const std::stop_callback wake(stop, [this] { eventfd_write(waker_.get(), 1); });
  const auto answer = [this](std::string_view request) { return Answer(request); };
  std::vector<Connection> connections;
  while (!stop.stop_requested()) {
    const bool full = connections.size() >= kMostConnections;
    std::vector<pollfd> polls = {
        {.fd = waker_.get(), .events = POLLIN, .revents = 0},
        {.fd = listener_.get(), .events = static_cast<short>(full ? 0 : POLLIN), .revents = 0}};
    for (const Connection& connection : connections) {
      polls.push_back({.fd = connection.fd.get(),
                       .events = static_cast<short>(connection.out.empty() ? POLLIN : POLLOUT),
                       .revents = 0});
    }
    if (poll(polls.data(), polls.size(), connections.empty() ? -1 : 1000) < 0 && errno != EINTR) {
      return absl::InternalError(std::string("poll: ") + std::strerror(errno));
    }
    const auto now = SteadyClock::now();
    std::vector<Connection> going;
    for (size_t i = 0; i < connections.size(); ++i) {
      const bool alive = polls[i + 2].revents == 0 || Advance(connections[i], answer);
      if (alive && now < connections[i].deadline) going.push_back(std::move(connections[i]));
    }
    connections = std::move(going);
    if ((polls[1].revents & POLLIN) != 0) {
      UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd.ok()) {
        connections.push_back(
            {.fd = std::move(fd), .deadline = now + kLongest, .in = {}, .out = {}, .sent = 0});
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs
